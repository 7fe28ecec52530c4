from __future__ import annotations

import time

import pytest

from serving import deadline
from serving.errors import TimedOut


def test_without_one_nothing_is_late() -> None:
    assert deadline.current() is None
    deadline.check()
    assert deadline.missed(None) is None


def test_it_ends_with_its_block() -> None:
    with deadline.until(time.time() + 60):
        deadline.check()
        with deadline.until(time.time() - 1), pytest.raises(TimedOut):
            deadline.check()
        deadline.check()
    assert deadline.current() is None
