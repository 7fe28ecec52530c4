"""Metrics of the events."""

from __future__ import annotations

import pytest
from ray.serve import metrics

from serving.telemetry.event_metrics import EventMetrics


def test_counts_what_becomes_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float, object]] = []
    monkeypatch.setattr(
        metrics.Counter, "inc", lambda self, n, tags: seen.append((self._name, n, tags["outcome"]))
    )
    monkeypatch.setattr(metrics.Gauge, "set", lambda self, n: seen.append((self._name, n, None)))
    events = EventMetrics()
    events.queued(3)
    events.delivered()
    events.failed()
    events.dead()
    events.lost(2)
    events.gap(1)
    events.state(12.5, True)
    name, lag, problem = "faces_events", "faces_events_lag_seconds", "faces_events_problem"
    assert seen == [
        (lag, 0.0, None),
        (problem, 0, None),
        (name, 3, "queued"),
        (name, 1, "delivered"),
        (name, 1, "failed"),
        (name, 1, "dead"),
        (name, 2, "lost"),
        (name, 1, "gap"),
        (lag, 12.5, None),
        (problem, 1, None),
    ]
