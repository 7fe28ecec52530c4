"""Migration of people to another model's gallery: what is to be moved, and the commits that do it.

Embeddings of one model cannot be turned into those of another, so they are made again from photos;
names, metadata and times come from the old gallery. Every person keeps an `Origin`: so a repeated
migration knows what is done, what has changed in the old gallery since, and what another writer has
written into the new one.
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
    """State in the new gallery of a person from the old one."""

    MISSING = auto()
    DONE = auto()
    RENAMED = auto()  # moved; since then only name or metadata may differ
    CHANGED = auto()  # moved; since then the photos may have changed
    FOREIGN = auto()  # enrolled by another writer, or changed by one after the move


@dataclass(frozen=True)
class Move:
    """A person to be written into the new gallery.

    Attributes:
        person: as in the old gallery.
        photos: identifies this set of photos; empty: there are none.
        embeddings: float32 (P, D), unit length; None: the present ones stay.
    """

    person: Person
    photos: str
    embeddings: NDArray[np.float32] | None = None


@dataclass
class Plan:
    """What is to be done; the lists hold ids of people.

    Attributes:
        look: people whose photos have to be embedded.
        rename: people of whom only name and metadata are copied.
        done: number of people who need no change.
        foreign: people of another writer, who are not overwritten.
        without_photos: people who cannot be moved, since they have no photos.
        gone: people who were moved and are no longer in the old gallery.
        gone_foreign: the same, but changed by another writer since; they are left alone.
        unknown: people who have photos, but are not in the old gallery.
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
    """Moves people from the gallery ``old`` to the gallery ``new``, which is of another model.

    Args:
        replace: also overwrite people in the new gallery whom another writer wrote.
        erase: removes people from the new gallery, so that none of its objects holds them.

    Every method raises InvalidInput when the old gallery is empty, and Unavailable when the store
    is away; earlier commits stay.
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
        """Compare the galleries as they are now.

        Args:
            photos: for each id what identifies the person's photos; see `Move.photos`.
        """
        plan, old, new = Plan(), self._everybody(), self._new.refresh()
        seen: set[int] = set()
        for people in _pages(old):
            there = new.people([p.id for p in people])
            for person in people:
                seen.add(person.id)
                self._sort(plan, person, there.get(person.id), photos.get(person.id, ""))
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
        # A person who was deleted and enrolled again may be another one under the same id.
        return State.RENAMED if same and there.created == person.created else State.CHANGED

    def _untouched(self, there: Person) -> bool:
        """Whether this migration wrote the person last."""
        origin = there.origin
        return origin is not None and (origin.model, origin.updated) == (
            self._source,
            there.updated,
        )

    def _gone(self, old: Snapshot, new: Snapshot) -> tuple[list[int], list[int]]:
        """Moved people who are no longer in the old gallery: untouched here, or changed since."""
        gone: list[int] = []
        foreign: list[int] = []
        for people in _pages(new):
            moved = {p.id: p for p in people if p.origin and p.origin.model == self._source}
            for person in moved.keys() - old.people(moved).keys():
                (gone if self._untouched(moved[person]) else foreign).append(person)
        return sorted(gone), sorted(foreign)

    def commit(self, moves: Sequence[Move]) -> list[int]:
        """Write the people who are still in the old gallery, with their present names there.

        A person who is deleted from it at the same moment is not brought back, but erased again.

        Returns:
            The ids of the people who were written. The others are gone, or another writer was
            faster.
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
            described = {
                "name": person.name,
                "metadata": person.metadata or None,
                "expires_at": person.expires_at,
                "legal_basis": person.legal_basis,
            }
            photos, kind = move.photos, Kind.PUT
            if move.embeddings is None:
                kind = Kind.DESCRIBE
                photos = known.origin.photos if known and known.origin else photos
            elif known:
                # A put alone would keep the present time of enrolment.
                operations.append(Operation(Kind.DELETE, person.id, 0.0))
                people.append(person)
            origin = dataclasses.astuple(Origin(self._source, person.updated, photos))
            details = {**described, "origin": origin}
            operations.append(Operation(kind, person.id, 0.0, move.embeddings, details=details))
            people.append(person)
        segment = Segment.of(operations, self._new.dimension)
        return dataclasses.replace(
            segment,
            created=np.array([p.created for p in people], np.float64),
            updated=np.array([p.updated for p in people], np.float64),
        )

    def rename(self, people: Sequence[int], photos: Mapping[int, str]) -> list[int]:
        """Copy names and metadata; returns the ids of the people changed."""
        done: list[int] = []
        for start in range(0, len(people), _PEOPLE_AT_ONCE):
            part = people[start : start + _PEOPLE_AT_ONCE]
            old = self.of_old(part)
            done += self.commit([Move(p, photos.get(i, "")) for i, p in old.items()])
        return done

    def forget_gone(self) -> list[int]:
        """Erase moved people who are no longer in the old gallery; returns their ids."""
        gone, _ = self._gone(self._everybody(), self._new.refresh())
        self.forget(gone)
        return gone

    def forget(self, people: Collection[int]) -> None:
        """Erase, not only delete: people who were erased in the old gallery have a receipt."""
        if people:
            self._erase(people)

    def of_old(self, people: Collection[int]) -> dict[int, Person]:
        """Those of ``people`` who are in the old gallery now, by id."""
        return self._everybody().people(people)

    def _everybody(self) -> Snapshot:
        old = self._old.refresh()
        if not len(old):
            # An old gallery that was cleared after the switch must not clear the new one.
            raise InvalidInput(f"The gallery of {self._old.model} is empty: nobody can be moved.")
        return old


def _pages(snapshot: Snapshot) -> Iterator[list[Person]]:
    after = -1
    while people := snapshot.list(_PEOPLE_AT_ONCE, after):
        yield people
        after = people[-1].id
