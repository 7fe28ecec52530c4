"""Which slot each person has: as a dictionary would say it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gallery import index
from serving.gallery.index import SlotIndex

CHANGES = st.lists(
    st.one_of(
        st.dictionaries(st.integers(0, 30), st.integers(0, 2**32 - 1), max_size=8),
        st.integers(0, 30),
    ),
    max_size=30,
)


def put(slots: SlotIndex, new: dict[int, int]) -> None:
    slots.put(np.array(list(new), np.int64), np.array(list(new.values()), np.intp))


def same(slots: SlotIndex, expected: dict[int, int]) -> None:
    ids = np.arange(-1, 32)
    assert slots.of_each(ids).tolist() == [expected.get(n, -1) for n in ids.tolist()]
    assert [slots.get(n) for n in ids.tolist()] == [expected.get(n) for n in ids.tolist()]
    assert (len(slots), sorted(slots)) == (len(expected), sorted(expected))


@pytest.mark.parametrize("few", [0, 2, 4096])
@given(changes=CHANGES)
def test_it_says_what_a_dictionary_says(few: int, changes: list[dict[int, int] | int]) -> None:
    before = index._FEW
    index._FEW = few
    try:
        slots, expected = SlotIndex(), dict[int, int]()
        for change in changes:
            copied, then = slots.copy(), dict(expected)
            if isinstance(change, int):
                assert slots.pop(change) == expected.pop(change, None)
            else:
                put(slots, change)
                expected |= change
            same(slots, expected)
            same(copied, then)
    finally:
        index._FEW = before


def test_people_can_be_given_the_slots_in_their_order() -> None:
    same(SlotIndex.of(np.array([7, 3, 30])), {7: 0, 3: 1, 30: 2})


def size(slots: dict[int, int]) -> int:
    each = sum(sys.getsizeof(person) + sys.getsizeof(slot) for person, slot in slots.items())
    return sys.getsizeof(slots) + each


def test_many_take_a_fifth_of_what_a_dictionary_takes() -> None:
    slots, dictionary = SlotIndex(), dict[int, int]()
    for start in range(0, 400_000, 4096):
        places = np.arange(start, start + 4096)
        slots.put(places * 1_000_003, places)
        dictionary.update(zip((places * 1_000_003).tolist(), places.tolist(), strict=True))
    taken = slots._ids.nbytes + slots._slots.nbytes + size(slots._changed)
    print(taken / len(slots), size(dictionary) / len(slots))
    assert taken < size(dictionary) / 5
