"""The budget of memory for bodies: nothing is taken twice, and all comes back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.api.memory import JSON_FACTOR, RAW_FACTOR, Lease, Memory, check_room, cost_of
from serving.errors import NoRoom
from serving.settings import LimitSettings


def test_what_is_taken_comes_back() -> None:
    memory = Memory(100)
    first, second = Lease(memory), Lease(memory)
    first.take(60)
    with pytest.raises(NoRoom):
        second.take(41)
    second.take(40)
    first.keep(10)
    second.take(50)
    assert memory.taken == 100
    first.keep(1000)  # it keeps what it has
    first.end()
    first.end()
    second.end()
    assert memory.taken == 0


def test_a_key_has_a_share_but_for_one_request() -> None:
    memory = Memory(100)
    first, second, other = Lease(memory, "a"), Lease(memory, "a"), Lease(memory, "b")
    first.take(60)  # alone it may have more than its share
    first.take(10)
    with pytest.raises(NoRoom, match="of this key"):
        second.take(1)
    other.take(30)
    for lease in (first, other):
        lease.end()
    first.take(20)
    second.take(30)
    with pytest.raises(NoRoom, match="of this key"):
        second.take(1)
    with pytest.raises(NoRoom, match="of this key"):
        first.take(1)
    anybody, more = Lease(memory), Lease(memory)
    anybody.take(30)
    more.take(20)
    for lease in (first, second, anybody, more):
        lease.end()
    assert memory.taken == 0


def test_many_threads_take_no_more_than_there_is() -> None:
    memory = Memory(1000)

    def take(_: int) -> bool:
        try:
            memory.take(1, None, 0)
        except NoRoom:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(3000))) == memory.taken == 1000


@pytest.mark.parametrize(
    ("kind", "factor"),
    [
        ("image/png", RAW_FACTOR),
        ("application/octet-stream", RAW_FACTOR),
        ("multipart/form-data", RAW_FACTOR),
        ("application/json", JSON_FACTOR),
        ("", JSON_FACTOR),
    ],
)
def test_a_form_that_is_not_known_costs_most(kind: str, factor: float) -> None:
    assert cost_of(kind, 1000) == int(1000 * factor)


def test_memory_in_which_the_largest_body_finds_no_room_is_refused() -> None:
    check_room(LimitSettings())
    check_room(LimitSettings(max_body_bytes=1000, body_memory_bytes=4400))
    with pytest.raises(ValueError, match=r"body_memory_bytes \(4399\) .*4400"):
        check_room(LimitSettings(max_body_bytes=1000, body_memory_bytes=4399))
