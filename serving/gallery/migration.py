"""People of one model's gallery in another's: who is missing there, and the commits that change it.

Embeddings of one model cannot be turned into those of another, so these are made anew from photos;
names, metadata and times come from the old gallery. With every person is kept what he was moved
from (`Origin`), so that doing it again finds what is done, what has changed in the old gallery
since, and what somebody else has written into the new one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidInput
from serving.gallery.gallery import Gallery
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.snapshot import Origin, Person, Snapshot

_PEOPLE_AT_ONCE = 10_000


class State(Enum):
    """Of somebody of the old gallery, in the new one."""

    MISSING = auto()
    DONE = auto()
    RENAMED = auto()  # moved; since then only name or metadata may differ
    CHANGED = auto()  # moved; his photos may be others now
    FOREIGN = auto()  # enrolled, or changed since he was moved, by somebody else


@dataclass(frozen=True)
class Move:
    """Somebody to be written into the new gallery.

    Attributes:
        person: as the old gallery has him.
        photos: tells these photos from others; empty: there are none.
        embeddings: float32 (P, D), unit length; None: those that are there stay.
    """

    person: Person
    photos: str
    embeddings: NDArray[np.float32] | None = None


@dataclass
class Plan:
    """What is to be done; people by their ids.

    Attributes:
        look: whose photos have to be looked at.
        rename: of whom only name and metadata are taken over.
        done: how many are as they should be.
        foreign: who is not overwritten.
        without_photos: who cannot be moved.
        gone: moved once, and no longer in the old gallery.
        gone_foreign: the same, but changed by somebody else since; they are left alone.
        unknown: in the photos, but not in the old gallery.
    """

    look: list[int] = field(default_factory=list)
    rename: list[int] = field(default_factory=list)
    done: int = 0
    foreign: list[int] = field(default_factory=list)
    without_photos: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    gone_foreign: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)


class Migration:
    """From the gallery ``old`` into the gallery ``new``, which is of another model.

    Args:
        replace: overwrite those in the new gallery, too, whom somebody else wrote.
        erase: takes people out of the new gallery, so that none of its objects holds them.

    Every method raises InvalidInput when the old gallery is empty, and Unavailable when the store
    is away; what was committed before stays.
    """

    def __init__(
        self,
        old: Gallery,
        new: Gallery,
        *,
        erase: Callable[[Collection[int]], None],
        replace: bool = False,
    ) -> None:
        self._old, self._new, self._erase, self._replace = old, new, erase, replace
        self._source = old.model.rpartition("@")[2]

    def plan(self, photos: Mapping[int, str]) -> Plan:
        """What is to be done, as of now.

        Args:
            photos: by id, what tells a person's photos from others; see `Move.photos`.
        """
        plan, old, new = Plan(), self._everybody(), self._new.refresh()
        seen: set[int] = set()
        for people in _pages(old):
            there = new.people([p.id for p in people])
            for person in people:
                seen.add(person.id)
                told = photos.get(person.id, "")
                self._sort(plan, person, there.get(person.id), told)
        plan.unknown = sorted(photos.keys() - seen)
        plan.gone, plan.gone_foreign = self._gone(old, new)
        return plan

    def _sort(self, plan: Plan, person: Person, there: Person | None, photos: str) -> None:
        state = self._state(person, there, photos)
        if state is State.DONE:
            plan.done += 1
        elif state is State.RENAMED:
            plan.rename.append(person.id)
        elif state is State.FOREIGN and not self._replace:
            plan.foreign.append(person.id)
        elif not photos:
            plan.without_photos.append(person.id)
        else:
            plan.look.append(person.id)

    def _state(self, person: Person, there: Person | None, photos: str) -> State:
        if there is None:
            return State.MISSING
        if not self._untouched(there):
            return State.FOREIGN
        assert there.origin is not None
        same = photos in ("", there.origin.photos)
        if same and there.origin.updated == person.updated:
            return State.DONE
        # Who was forgotten and enrolled anew is another one, whatever the id.
        return State.RENAMED if same and there.created == person.created else State.CHANGED

    def _untouched(self, there: Person) -> bool:
        """Whether he is as this migration has left him."""
        origin = there.origin
        return origin is not None and (origin.model, origin.updated) == (
            self._source,
            there.updated,
        )

    def _gone(self, old: Snapshot, new: Snapshot) -> tuple[list[int], list[int]]:
        """Who was moved and is no longer in the old gallery: untouched here, or changed since."""
        gone: list[int] = []
        foreign: list[int] = []
        for people in _pages(new):
            moved = {p.id: p for p in people if p.origin and p.origin.model == self._source}
            for person in moved.keys() - old.people(moved).keys():
                (gone if self._untouched(moved[person]) else foreign).append(person)
        return sorted(gone), sorted(foreign)

    def commit(self, moves: Sequence[Move]) -> list[int]:
        """Write those who are still in the old gallery, with the name that they have there now.

        Who is forgotten in it at the same moment is not brought back: he is erased again.

        Returns:
            The ids of those who were written. The others are gone, or somebody else was faster.
        """
        old = self.of_old([m.person.id for m in moves])
        moves = [
            dataclasses.replace(m, person=old[m.person.id]) for m in moves if m.person.id in old
        ]
        wanted: list[Move] = []

        def make(people: Snapshot) -> Segment | None:
            nonlocal wanted
            there = people.people([m.person.id for m in moves])
            wanted = [m for m in moves if self._is_due(m, there.get(m.person.id))]
            return self._segment(wanted, there) if wanted else None

        if moves:
            self._new.commit_made(make)
        ids = [m.person.id for m in wanted]
        still = self._old.refresh().people(ids)
        self.forget([i for i in ids if i not in still])
        return [i for i in ids if i in still]

    def _is_due(self, move: Move, there: Person | None) -> bool:
        state = self._state(move.person, there, move.photos)
        if move.embeddings is None:
            return state is State.RENAMED
        return state is not State.DONE and (state is not State.FOREIGN or self._replace)

    def _segment(self, moves: Sequence[Move], there: Mapping[int, Person]) -> Segment:
        operations: list[Operation] = []
        people: list[Person] = []
        for move in moves:
            person, known = move.person, there.get(move.person.id)
            told = {"name": person.name, "metadata": person.metadata or None}
            photos, kind = move.photos, Kind.PUT
            if move.embeddings is None:
                kind = Kind.DESCRIBE
                photos = known.origin.photos if known and known.origin else photos
            elif known:
                # A put alone would keep the day of enrolment that is there.
                operations.append(Operation(Kind.DELETE, person.id, 0.0))
                people.append(person)
            origin = dataclasses.astuple(Origin(self._source, person.updated, photos))
            details = {**told, "origin": origin}
            operations.append(Operation(kind, person.id, 0.0, move.embeddings, details=details))
            people.append(person)
        segment = Segment.of(operations, self._new.dimension)
        return dataclasses.replace(
            segment,
            created=np.array([p.created for p in people], np.float64),
            updated=np.array([p.updated for p in people], np.float64),
        )

    def rename(self, people: Sequence[int], photos: Mapping[int, str]) -> list[int]:
        """Take over name and metadata; returns whose."""
        done: list[int] = []
        for start in range(0, len(people), _PEOPLE_AT_ONCE):
            part = people[start : start + _PEOPLE_AT_ONCE]
            old = self.of_old(part)
            done += self.commit([Move(p, photos.get(i, "")) for i, p in old.items()])
        return done

    def forget_gone(self) -> list[int]:
        """Erase those who were moved and are no longer in the old gallery; returns whom."""
        gone, _ = self._gone(self._everybody(), self._new.refresh())
        self.forget(gone)
        return gone

    def forget(self, people: Collection[int]) -> None:
        """Erase, and not only delete: whoever was erased in the old gallery has a receipt."""
        if people:
            self._erase(people)

    def of_old(self, people: Collection[int]) -> dict[int, Person]:
        """Who of them is in the old gallery now."""
        return self._everybody().people(people)

    def _everybody(self) -> Snapshot:
        old = self._old.refresh()
        if not len(old):
            # One that was cleared after the switch must not clear the new one.
            raise InvalidInput(f"The gallery of {self._old.model} is empty: nobody can be moved.")
        return old


def _pages(snapshot: Snapshot) -> Iterator[list[Person]]:
    after = -1
    while people := snapshot.list(_PEOPLE_AT_ONCE, after):
        yield people
        after = people[-1].id
