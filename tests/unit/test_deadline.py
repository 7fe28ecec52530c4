from __future__ import annotations

import pickle
import time

import pytest

from serving import deadline
from serving.errors import TimedOut


def test_without_one_nothing_is_late() -> None:
    assert deadline.current() is None
    deadline.check()
    assert deadline.missed(None) is None


def test_it_ends_with_its_block() -> None:
    with deadline.until(time.monotonic() + 60):
        deadline.check()
        with deadline.until(time.monotonic() - 1), pytest.raises(TimedOut):
            deadline.check()
        deadline.check()
    assert deadline.current() is None


def test_a_step_of_the_wall_clock_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wall = time.time
    with deadline.until(time.monotonic() + 60):
        for step in (3600, -3600):
            monkeypatch.setattr(time, "time", lambda step=step: wall() + step)
            deadline.check()


def test_what_is_left_is_sent_and_counted_on_by_the_receivers_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = pickle.dumps(deadline.Left(time.monotonic() + 60))
    began = time.monotonic()
    # Another machine, which has run for longer, and whose wall clock is an hour behind.
    monotonic, wall = time.monotonic, time.time
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 1e6)
    monkeypatch.setattr(time, "time", lambda: wall() - 3600)
    left = pickle.loads(sent)
    assert left.until == pytest.approx(began + 1e6 + 60, abs=1)
    assert left.ahead_s == pytest.approx(-3600, abs=1)
    assert deadline.missed(left.until) is None
