"""The gallery in memory: one centroid a person, updated by applying segments.

Every change of a person takes a new slot and leaves the old one as it was, see
`serving.gallery.slots`.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import GalleryTooLarge
from serving.gallery.centroids import summed, unit
from serving.gallery.columns import INDEX_BYTES, codes_of, ends_of
from serving.gallery.disk import Disk
from serving.gallery.distinct import Distinct
from serving.gallery.index import SlotIndex
from serving.gallery.retention import merged
from serving.gallery.segment import Kind, Segment, starts_of
from serving.gallery.slots import Slots
from serving.gallery.snapshot import Snapshot

_ROWS_AT_ONCE = 4096
# Below it dead slots cost too little to be worth copying the living.
_FEW_SLOTS = 1024


@dataclass
class _Made:
    """N people as they will be; see `serving.gallery.columns.Columns`. ``texts`` are their encoded
    details."""

    ids: NDArray[np.int64]
    photos: NDArray[np.int32]
    norms: NDArray[np.float32]
    centroids: NDArray[np.float16]
    created: NDArray[np.float64]
    updated: NDArray[np.float64]
    texts: list[bytes]


class People:
    """The mutable state that segments are applied to; one thread at a time.

    Args:
        disk: where the centroids lie; None: in memory.

    Raises:
        GalleryTooLarge: here and where people are added: the disk is full.
    """

    def __init__(self, dimension: int, disk: Disk | None = None) -> None:
        self._dimension, self._disk = dimension, disk
        self._slots = Slots(dimension, disk=disk)
        self._slot_of = SlotIndex()
        self._distinct = Distinct()
        # In a fork that began empty: where the other history has people, who may be the same here.
        self._before = SlotIndex()

    def __len__(self) -> int:
        return len(self._slot_of)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the people take, including slots that are no longer in use."""
        return self._slots.nbytes + len(self._slot_of) * INDEX_BYTES

    @property
    def disk_nbytes(self) -> int:
        """Bytes of local disk that the people take."""
        return self._slots.columns.centroids.disk_bytes

    def snapshot(self, version: int) -> Snapshot:
        # A copy for each change: there are few pairs, and those of a snapshot stay.
        return self._slots.snapshot(version, len(self._slot_of), self._distinct)

    @contextmanager
    def forked(self, *, empty: bool, expected: int = 0) -> Iterator[People]:
        """Another history of the same people, to take the place of this one; on an error nothing
        of it is left, and this one goes on. Whoever is the same in both is in memory once.

        Args:
            empty: it begins with nobody.
            expected: operations that will be applied; space for them is reserved at once.
        """
        slots, details = self._slots.fork(empty=empty), self._slots.details.nbytes
        fork = copy.copy(self)
        fork._slots = slots
        fork._slot_of = SlotIndex() if empty else self._slot_of.copy()
        fork._before = self._slot_of if empty else SlotIndex()
        fork._distinct = Distinct() if empty else self._distinct
        try:
            slots.reserve(max(0, expected - len(fork._before)))
            yield fork
        except BaseException:
            self._slots.undo(slots, details)
            raise
        fork._before = SlotIndex()

    def reserve(self, people: int) -> None:
        """Make room for that many more, so that adding them does not fail."""
        self._slots.reserve(people)

    def overwrite_dead(self) -> None:
        """Overwrite who is gone, and no search shows any more; then their slots are free."""
        self._slots.overwrite_dead()

    def pack(self) -> None:
        """Copy the living to slots of their own when most slots are of the dead."""
        if self._slots.used > _FEW_SLOTS and len(self._slot_of) < self._slots.used // 4:
            # A full disk has no room for them to lie twice: then they stay where they are.
            with suppress(GalleryTooLarge):
                self._slots, ids = self._slots.packed()
                self._slot_of = SlotIndex.of(ids)

    def apply(self, segment: Segment) -> None:
        """Raises ValueError when the segment's embeddings are of another dimension."""
        if segment.dimension != self._dimension:
            raise ValueError(f"embeddings of {segment.dimension} numbers, not {self._dimension}")
        if (segment.kind == Kind.PUT).all() and len(np.unique(segment.id)) == len(segment):
            self._put(segment)
        else:
            self._one_by_one(segment)

    def _put(self, segment: Segment) -> None:
        """A put for each of many different people, at once."""
        rows, texts = segment.row_starts(), starts_of(segment.details_length)
        start = 0
        while start < len(segment):
            # At least one person, whose rows may be more.
            end = int(np.searchsorted(rows, rows[start] + _ROWS_AT_ONCE, side="right")) - 1
            end = max(end, start + 1)
            part = slice(start, end)
            ids = segment.id[part]
            norms, centroids = summed(
                segment.embeddings[rows[start] : rows[end]], segment.count[part]
            )
            created, blob = segment.created[part].copy(), segment.details[texts[start] : texts[end]]
            encoded = _split(blob.tobytes(), segment.details_length[part].tolist())
            slots = self._slot_of.of_each(ids)
            for n in np.flatnonzero(slots >= 0).tolist():
                old = int(slots[n])
                created[n] = self._slots.columns.created[old]
                given = json.loads(encoded[n]) if encoded[n] else {}
                encoded[n] = self._described(old, given)
            updated = segment.updated[part]
            self._place(
                _Made(ids, segment.count[part], norms, centroids, created, updated, encoded)
            )
            start = end

    def _one_by_one(self, segment: Segment) -> None:
        rows, sources = segment.row_starts().tolist(), segment.source_starts().tolist()
        if self._distinct or (segment.kind == Kind.DISTINCT).any():
            self._distinct = Distinct(self._distinct)
        for n, details in enumerate(segment.each_details()):
            kind, person = Kind(segment.kind[n]), int(segment.id[n])
            created, updated = float(segment.created[n]), float(segment.updated[n])
            old = self._slot_of.get(person)
            if kind in (Kind.PUT, Kind.APPEND):
                new, photos = segment.embeddings[rows[n] : rows[n + 1]], rows[n + 1] - rows[n]
                if kind is Kind.APPEND and old is not None:
                    total = new.astype(np.float32).sum(axis=0) + self._sum(old)
                    photos += int(self._slots.columns.photos[old])
                    made = unit(total[None])
                else:
                    made = summed(new, np.array([photos]))
                self._replace(person, made, photos, created, updated, details)
            elif kind in (Kind.DELETE, Kind.SPLIT):
                self._drop(person)
            elif kind is Kind.MERGE:
                ids = segment.sources[sources[n] : sources[n + 1]].tolist()
                self._merge(person, ids, updated)
            elif kind is Kind.DISTINCT:
                other = int(segment.sources[sources[n]])
                if person in self._slot_of and other in self._slot_of:
                    self._distinct.set(person, other, details.get("threshold"))
            elif kind is Kind.DESCRIBE and old is not None:
                columns = self._slots.columns
                made = columns.norms[old : old + 1], columns.centroids[np.array([old])]
                photos = int(columns.photos[old])
                self._replace(person, made, photos, created, updated, details)
            elif kind is Kind.CLEAR:
                self._slots, self._slot_of = Slots(self._dimension, disk=self._disk), SlotIndex()
                self._distinct = Distinct()
                self._before = SlotIndex()

    def _merge(self, person: int, sources: list[int], updated: float) -> None:
        people = [person, *(s for s in dict.fromkeys(sources) if s != person)]
        slots = [slot for p in people if (slot := self._slot_of.get(p)) is not None]
        if not slots:
            return
        columns = self._slots.columns
        total = np.sum([self._sum(s) for s in slots], axis=0)
        photos = int(columns.photos[slots].sum())
        created = float(columns.created[slots].min())
        details = merged(map(self._slots.details_of, slots))
        self._distinct.merge(person, people)
        for p in people[1:]:
            self._drop(p)
        self._kill(person)
        self._replace(person, unit(total[None]), photos, created, updated, details)

    def _replace(
        self,
        person: int,
        made: tuple[NDArray[np.float32], NDArray[np.float16]],
        photos: int,
        created: float,
        updated: float,
        details: dict[str, Any],
    ) -> None:
        """Put one person, with the length and the unit vector (1, D) of the sum of the photos."""
        old = self._slot_of.get(person)
        if old is None:
            text = json.dumps(details).encode() if details else b""
        else:
            created = float(self._slots.columns.created[old])
            text = self._described(old, details)
        norms, centroids = made
        one = np.array([photos], np.int32), norms, centroids
        ids = np.array([person], np.int64)
        self._place(_Made(ids, *one, np.array([created]), np.array([updated]), [text]))

    def _place(self, made: _Made) -> None:
        """Put people, each once, into slots of their own: new ones, or those that they have in the
        other history, where they are the same."""
        slots = self._same(made)
        fresh = np.flatnonzero(slots < 0)
        if len(fresh):
            texts = [made.texts[n] for n in fresh.tolist()]
            slots[fresh] = new = self._slots.take(len(fresh))
            columns = self._slots.columns
            columns.ids[new] = made.ids[fresh]
            columns.photos[new] = made.photos[fresh]
            columns.norms[new] = made.norms[fresh]
            columns.centroids[new] = centroids = made.centroids[fresh]
            columns.codes[new] = codes_of(centroids)
            columns.created[new] = made.created[fresh]
            columns.updated[new] = made.updated[fresh]
            columns.ends[new] = ends_of(texts)
            columns.details_length[new] = lengths = [len(text) for text in texts]
            start = self._slots.details.add(b"".join(texts))
            columns.details_start[new] = start + starts_of(lengths)[:-1]
        old = self._slot_of.of_each(made.ids)
        self._slots.kill(old[(old >= 0) & (old != slots)])
        self._slot_of.put(made.ids, slots)

    def _same(self, made: _Made) -> NDArray[np.intp]:
        """(N,): the slots in the other history of who is exactly the same there, now alive in this
        one, too; -1 for the others."""
        if not self._before:
            return np.full(len(made.ids), -1, np.intp)
        slots = self._before.of_each(made.ids)
        some = np.flatnonzero(slots >= 0)
        old, columns = slots[some], self._slots.columns
        same = (
            (columns.photos[old] == made.photos[some])
            & (columns.norms[old] == made.norms[some])
            & (columns.created[old] == made.created[some])
            & (columns.updated[old] == made.updated[some])
            & (columns.centroids[old] == made.centroids[some]).all(axis=1)
        )
        for n, text in zip(
            np.flatnonzero(same).tolist(), self._slots.texts_of(old[same]), strict=True
        ):
            same[n] = text == made.texts[some[n]]
        slots[some[~same]] = -1
        self._slots.revive(old[same])
        return slots

    def _described(self, slot: int, details: dict[str, Any]) -> bytes:
        """The encoded details of who is in this slot, changed by ``details``."""
        merged = {**self._slots.details_of(slot), **details}
        return json.dumps(merged).encode() if merged else b""

    def _drop(self, person: int) -> None:
        self._distinct.forget(person)
        self._kill(person)

    def _kill(self, person: int) -> None:
        slot = self._slot_of.pop(person)
        if slot is not None:
            self._slots.kill(slot)

    def _sum(self, slot: int) -> NDArray[np.float32]:
        columns = self._slots.columns
        total: NDArray[np.float32] = columns.centroids.row(slot).astype(np.float32)
        total *= columns.norms[slot]
        return total


def _split(blob: bytes, lengths: Sequence[int]) -> list[bytes]:
    ends = starts_of(lengths).tolist()
    return [blob[start:end] for start, end in itertools.pairwise(ends)]
