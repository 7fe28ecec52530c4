"""Metrics of the audit's objects."""

from __future__ import annotations

import pytest
from ray.serve import metrics

from serving.telemetry.audit_metrics import AuditMetrics


def test_counts_what_was_written_and_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float, object]] = []
    monkeypatch.setattr(
        metrics.Counter, "inc", lambda self, n, tags: seen.append((self._name, n, tags))
    )
    monkeypatch.setattr(metrics.Gauge, "set", lambda self, n: seen.append((self._name, n, None)))
    audit = AuditMetrics()
    audit.written(0)  # the end of a chain; a counter takes no 0
    audit.written(3)
    audit.lost(2)
    audit.state(5, True)
    names = ("faces_audit_records", "faces_audit_waiting", "faces_audit_problem")
    records, waiting, problem = names
    assert seen == [
        (waiting, 0, None),
        (problem, 0, None),
        (records, 3, {"outcome": "written"}),
        (records, 2, {"outcome": "lost"}),
        (waiting, 5, None),
        (problem, 1, None),
    ]
