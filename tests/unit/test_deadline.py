from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving import deadline
from serving.errors import TimedOut


def test_without_one_nothing_is_late() -> None:
    assert deadline.current() is None
    deadline.check()
    assert deadline.checked(lambda: 7)() == 7


def test_it_ends_with_its_block() -> None:
    with deadline.until(time.time() + 60):
        deadline.check()
        with deadline.until(time.time() - 1), pytest.raises(TimedOut):
            deadline.check()
        deadline.check()
    assert deadline.current() is None


def test_what_waits_for_a_thread_too_long_is_not_begun() -> None:
    begun = []
    with ThreadPoolExecutor(1) as pool:
        with deadline.until(time.time() + 1):
            blocking = pool.submit(deadline.checked(lambda: time.sleep(1.2)))
            late = pool.submit(deadline.checked(lambda: begun.append(1)))
        blocking.result()  # begun in time, and not broken off
        with pytest.raises(TimedOut):
            late.result()
    assert begun == []
