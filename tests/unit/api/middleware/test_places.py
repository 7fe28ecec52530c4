"""The places of requests in flight, and each caller's share of them."""

from __future__ import annotations

import contextlib

from serving.api.middleware.places import Places


def test_one_key_cannot_take_the_places_of_the_others() -> None:
    places = Places(8, 0.25)
    with places.taken("a"):
        assert places.refusal("a", alone=False) is None
        with places.taken("a"):
            refusal = places.refusal("a", alone=False)
            assert refusal is not None
            assert refusal.status == 429
            assert "'a' has 2" in str(refusal)
            assert places.refusal("b", alone=False) is None
    assert places.refusal("a", alone=False) is None


def test_all_keys_together_take_no_more_than_there_are() -> None:
    places = Places(4, 0.25)
    with contextlib.ExitStack() as taken:
        for key in "abcd":
            assert places.refusal(key, alone=False) is None
            taken.enter_context(places.taken(key))
        refusal = places.refusal("e", alone=False)
        assert refusal is not None
        assert (refusal.status, refusal.type) == (503, "overloaded")


def test_who_is_alone_may_take_all() -> None:
    places = Places(2, 0.25)
    with places.taken("x"):
        assert places.refusal("x", alone=True) is None
        with places.taken("x"):
            refusal = places.refusal("x", alone=True)
            assert refusal is not None
            assert refusal.status == 503


def test_a_share_is_one_place_at_least() -> None:
    assert Places(1, 0.01).of_one == 1


def test_streams_are_counted_by_themselves_and_leave_room_for_those_of_others() -> None:
    places = Places(32, 0.25)  # 8 streams, and 2 of one key
    with contextlib.ExitStack() as taken:
        for key in "aabb":
            assert places.stream_refusal(key, alone=False) is None
            taken.enter_context(places.streaming(key))
        refusal = places.stream_refusal("a", alone=False)
        assert refusal is not None
        assert (refusal.status, "may have 2" in str(refusal)) == (429, True)
        assert places.refusal("a", alone=False) is None
        for key in "ccdd":
            taken.enter_context(places.streaming(key))
        refusal = places.stream_refusal("e", alone=False)
        assert refusal is not None
        assert (refusal.status, refusal.type) == (503, "overloaded")
        for _ in range(8):
            taken.enter_context(places.taken("x"))
        assert places.stream_refusal("e", alone=True) is not None
    assert places.stream_refusal("a", alone=False) is None
