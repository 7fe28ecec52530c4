"""Metrics of the audit's objects; docs/observability.md says what each means."""

from __future__ import annotations

from ray.serve import metrics

from serving.telemetry.metrics import counter


class AuditMetrics:
    """A `serving.trail.writer.Watch`."""

    def __init__(self) -> None:
        self._records = counter(
            "faces_audit_records",
            "Records of the audit: written to objects, or lost.",
            ("outcome",),
            {"outcome": "written"},
            {"outcome": "lost"},
        )
        self._waiting = metrics.Gauge(
            "faces_audit_waiting", description="Records that are not written yet."
        )
        self._problem = metrics.Gauge(
            "faces_audit_problem", description="1 while records cannot be written."
        )
        self.state(0, False)

    def written(self, records: int) -> None:
        if records:  # the end of a chain has none
            self._records.inc(records, {"outcome": "written"})

    def lost(self, records: int) -> None:
        self._records.inc(records, {"outcome": "lost"})

    def state(self, waiting: int, problem: bool) -> None:
        self._waiting.set(waiting)
        self._problem.set(1 if problem else 0)
