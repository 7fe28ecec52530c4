"""Metrics of the events; docs/observability.md says what each means."""

from __future__ import annotations

from ray.serve import metrics

from serving.telemetry.metrics import counter

_OUTCOMES = ("queued", "delivered", "failed", "dead", "lost", "gap")


class EventMetrics:
    """A `serving.events.dispatcher.Watch`."""

    def __init__(self) -> None:
        self._events = counter(
            "faces_events",
            "Events: queued, delivered, tries that failed, given up, lost, and gaps.",
            ("outcome",),
            *({"outcome": outcome} for outcome in _OUTCOMES),
        )
        self._lag = metrics.Gauge(
            "faces_events_lag_seconds", description="Age of the oldest event not delivered."
        )
        self._problem = metrics.Gauge(
            "faces_events_problem", description="1 while events cannot be queued or delivered."
        )
        self.state(0.0, False)

    def queued(self, events: int) -> None:
        self._events.inc(events, {"outcome": "queued"})

    def delivered(self) -> None:
        self._events.inc(1, {"outcome": "delivered"})

    def failed(self) -> None:
        self._events.inc(1, {"outcome": "failed"})

    def dead(self) -> None:
        self._events.inc(1, {"outcome": "dead"})

    def lost(self, events: int) -> None:
        self._events.inc(events, {"outcome": "lost"})

    def gap(self, gaps: int) -> None:
        self._events.inc(gaps, {"outcome": "gap"})

    def state(self, lag_s: float, problem: bool) -> None:
        self._lag.set(lag_s)
        self._problem.set(1 if problem else 0)
