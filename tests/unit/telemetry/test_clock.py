from __future__ import annotations

import pytest
from ray.serve import metrics

from serving.telemetry.clock import ClockGauge


def test_the_clocks_difference_is_that_of_the_fastest_call_of_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values: list[float] = []
    monkeypatch.setattr(metrics.Gauge, "set", lambda self, value: values.append(value))
    now = 0.0
    gauge = ClockGauge(clock=lambda: now)
    for ahead in (-2.0, -3.0, -2.5):
        gauge.seen(ahead)
    now = 6.0
    gauge.seen(0.5)
    assert values == [-2.0, -3.0, -3.0, 0.5]
