from __future__ import annotations

import numpy as np
import pytest

from serving.gallery.kept import Kept

ALIVE = np.array([True, True, False, True])
ENDS = np.array([10.0, np.inf, 5.0, 20.0])


@pytest.mark.parametrize(
    ("now", "who"), [(0, [0, 1, 3]), (5, [0, 1, 3]), (10, [1, 3]), (19.9, [1, 3]), (20, [1])]
)
def test_whoever_has_ended_is_left_out_from_that_second_on(now: float, who: list[int]) -> None:
    mask, people = Kept().of(ALIVE, ENDS, now)
    assert (np.flatnonzero(mask).tolist(), people) == (who, len(who))
    assert (mask is ALIVE) == (len(who) == 3)


def test_it_goes_by_the_clock_each_time_also_when_that_is_set_back() -> None:
    kept = Kept()
    counts = [kept.of(ALIVE, ENDS, now)[1] for now in (0, 9, 10, 15, 25, 12, 3, 20)]
    assert counts == [3, 3, 2, 2, 1, 2, 3, 1]


def test_between_two_ends_nobody_is_counted_again() -> None:
    kept = Kept()
    first, _ = kept.of(ALIVE, ENDS, 11)
    assert kept.of(ALIVE, ENDS, 19)[0] is first
    assert kept.of(ALIVE, ENDS, 20)[0] is not first
