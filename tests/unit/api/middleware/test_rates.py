"""Token buckets, one for each key."""

from __future__ import annotations

import pytest

from serving.api.middleware.rates import Rates
from serving.keys import Key, Scope, hash_of


def test_a_bucket_fills_with_time_and_holds_one_second() -> None:
    now = [0.0]
    rates = Rates(clock=lambda: now[0])
    key = Key(name="k", hash=hash_of("k"), scopes=frozenset({Scope.IDENTIFY}), rate=4)
    assert [rates.take(key) == 0 for _ in range(5)] == [True] * 4 + [False]
    now[0] += 0.25
    assert rates.take(key) == 0
    assert rates.take(key) == pytest.approx(0.25)
    now[0] += 100
    assert [rates.take(key) == 0 for _ in range(5)] == [True] * 4 + [False]


def test_what_a_request_costs_more_is_paid_before_the_next_one() -> None:
    now = [0.0]
    rates = Rates(clock=lambda: now[0])
    key = Key(name="k", hash=hash_of("k"), scopes=frozenset({Scope.IDENTIFY}), rate=2)
    assert rates.take(key) == 0
    rates.spend(key, 9)
    assert rates.take(key) == pytest.approx((1 - (2 - 1 - 9)) / 2)
    now[0] += 4.5
    assert rates.take(key) == 0
    unlimited = Key(name="u", hash=hash_of("u"), scopes=frozenset({Scope.IDENTIFY}))
    rates.spend(unlimited, 1000)
    assert rates.take(unlimited) == 0
