"""Which slot each person has, by id, in a fifth of the memory of a dictionary."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# What changed since the arrays were made is in a dictionary until it is more than this, and than
# this part of the people: so a change costs the same in a large gallery as in a small one.
_FEW = 4096
_PART = 32

Ids = NDArray[np.int64]
_GONE = -1


class SlotIndex:
    """Ids, each once, with their slots: two sorted arrays, and a dictionary over them. Copies share
    the arrays, which do not change."""

    def __init__(self) -> None:
        self._ids: Ids = np.empty(0, np.int64)
        self._slots = np.empty(0, np.uint32)
        self._changed: dict[int, int] = {}
        self._count = 0

    @classmethod
    def of(cls, ids: Ids) -> SlotIndex:
        """People in the slots 0 to N."""
        made = cls()
        order = np.argsort(ids)
        made._ids, made._slots, made._count = ids[order], order.astype(np.uint32), len(ids)
        return made

    def copy(self) -> SlotIndex:
        other = SlotIndex()
        other._ids, other._slots, other._count = self._ids, self._slots, self._count
        other._changed = dict(self._changed)
        return other

    def __len__(self) -> int:
        return self._count

    def __contains__(self, person: int) -> bool:
        return self.get(person) is not None

    def __iter__(self) -> Iterator[int]:
        """The ids, in any order."""
        gone = np.isin(self._ids, np.fromiter(self._changed, np.int64, len(self._changed)))
        yield from self._ids[~gone].tolist()
        yield from (person for person, slot in self._changed.items() if slot != _GONE)

    def get(self, person: int) -> int | None:
        slot = self._changed.get(person)
        if slot is None:
            at = int(np.searchsorted(self._ids, person))
            there = at < len(self._ids) and self._ids[at] == person
            return int(self._slots[at]) if there else None
        return None if slot == _GONE else slot

    def of_each(self, ids: Ids) -> NDArray[np.intp]:
        """The slots (N,) of these people; -1: nobody has the id."""
        slots = np.full(len(ids), _GONE, np.intp)
        at, there = self._places(ids)
        slots[there] = self._slots[at[there]]
        if self._changed:
            changed = map(self._changed.get, ids.tolist())
            for n, slot in enumerate(changed):
                if slot is not None:
                    slots[n] = slot
        return slots

    def put(self, ids: Ids, slots: NDArray[np.intp]) -> None:
        """Give each of these people, each once, another slot."""
        self._count += int((self.of_each(ids) == _GONE).sum())
        self._changed.update(zip(ids.tolist(), slots.tolist(), strict=True))
        self._fold_many()

    def pop(self, person: int) -> int | None:
        """Forget who has the id; returns the slot."""
        slot = self.get(person)
        if slot is not None:
            self._changed[person] = _GONE
            self._count -= 1
            self._fold_many()
        return slot

    def _places(self, ids: Ids) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where these ids are or would be in the arrays, and whether they are there."""
        at = np.searchsorted(self._ids, ids)
        there = at < len(self._ids)
        there[there] = self._ids[at[there]] == ids[there]
        return at, there

    def _fold_many(self) -> None:
        if len(self._changed) <= max(_FEW, self._count // _PART):
            return
        ids = np.fromiter(self._changed, np.int64, len(self._changed))
        slots = np.fromiter(self._changed.values(), np.int64, len(self._changed))
        order = np.argsort(ids)
        ids, slots = ids[order], slots[order]
        at, there = self._places(ids)
        kept = np.ones(len(self._ids), np.bool_)
        kept[at[there]] = False
        base, base_slots = self._ids[kept], self._slots[kept]
        new = slots != _GONE
        at = np.searchsorted(base, ids[new])
        self._ids = np.insert(base, at, ids[new])
        self._slots = np.insert(base_slots, at, slots[new].astype(np.uint32))
        self._changed = {}
