"""The follower: turns the versions of every gallery into queued events.

A change is a commit of the gallery, so nothing that was acknowledged can be missing: a cursor in
the bucket says up to which version the events of a gallery are queued. They are written before the
cursor, which is replaced only if nobody else has: a process that is killed between the two, or two
processes at once, queue events twice, with the same ids.

A compaction folds segments together; until the sweep their indexes and objects are still there, and
are read instead. What is gone by then, or was restored, is told as an event of its own: a gap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from serving.errors import GalleryError, ServingError
from serving.events.changes import deleted_in, events_of
from serving.events.event import BULK, GAP, Event, batches, event, sequence_of
from serving.events.event import TYPES as EVENT_TYPES
from serving.events.queue import BATCH, Queue
from serving.gallery.erased import ErasedTogether
from serving.gallery.formats import Stored, read_json
from serving.gallery.location import Location, locate, names
from serving.gallery.manifest import INDEXES, Index, Manifest, SegmentRef
from serving.gallery.segment import Kind, Segment
from serving.gallery.store import NotFound, PreconditionFailed
from serving.gallery.stored import StoredGallery

log = logging.getLogger(__name__)

# How often it looks for new galleries: a listing of the bucket.
_DISCOVER_S = 10.0
# Deleted people of whom the end of an erasure is waited for. It comes within minutes, and one that
# is repeated deletes them again.
_MOST_DELETED = 10_000
_DELETED_S = 86_400.0
# What the commits of an erasure say that they do.
_ERASE = "erase"


class Cursor(Stored):
    """Up to where the events of a gallery are queued.

    Attributes:
        commit, segment: the commit of the version, and the last segment: either shows that a
            manifest continues it.
        told: the times of the erasures that were told.
        deleted: people who were deleted and perhaps are being erased, and when: for a day.
    """

    format: Literal["faces-events-cursor/1"] = "faces-events-cursor/1"
    version: int
    commit: str | None = None
    segment: str | None = None
    told: tuple[float, ...] = ()
    deleted: tuple[tuple[int, float], ...] = ()

    @classmethod
    def at(cls, manifest: Manifest) -> Cursor:
        return cls(
            version=int(manifest.at),
            commit=manifest.at.commit,
            segment=manifest.segments[-1].name if manifest.segments else None,
            told=_erasures_of(manifest),
        )


@dataclass
class _Followed:
    """One gallery; ``cursor`` is None until it is read, and ``etag`` until it is written once."""

    location: Location
    stored: StoredGallery
    cursor: Cursor | None = None
    etag: str | None = None


class Follower:
    """For one thread.

    Args:
        galleries: the prefix of the galleries in the queue's bucket.
        kinds: of the events that are wanted.
        collections: None: all.
        monotonic: seconds, from any start.
    """

    def __init__(
        self,
        queue: Queue,
        galleries: str,
        kinds: Collection[str],
        collections: Collection[str] | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._galleries = galleries
        self._types = {EVENT_TYPES[kind] for kind in (*kinds, GAP, BULK)}
        self._collections = collections
        self._clock = clock
        self._monotonic = monotonic
        self._discovered: float | None = None
        self._began = self._unlocated = False
        self._followed: dict[tuple[str, str], _Followed] = {}
        self.gaps = 0
        self.problem = False

    def follow(self, alive: Callable[[], bool] = lambda: True) -> int:
        """Queue the events of what has changed; returns how many.

        Args:
            alive: asked now and then; False: another process has taken over.

        Raises:
            Unavailable: the store is away.
        """
        now = self._monotonic()
        if self._discovered is None or now - self._discovered >= _DISCOVER_S:
            self._discover()
            self._discovered = now
        count, problem = 0, self._unlocated
        for followed in list(self._followed.values()):
            if not alive():
                break
            try:
                while (more := self._follow(followed, alive)) is not None:
                    count += more
            except ServingError as error:
                # One damaged gallery must not keep the events of the others back.
                problem = True
                if not self.problem:
                    log.error("events of %s are not told: %s", followed.location, error)
                followed.cursor = None
        self.problem = problem
        return count

    def forget(self) -> None:
        """Read all cursors again: another process has written them."""
        self._followed.clear()
        self._discovered = None

    def _discover(self) -> None:
        """Find the galleries by the names of their manifests, which are read once: `_follow` asks
        only whether they have changed."""
        store, unlocated = self._queue.store, False
        found: dict[tuple[str, str], _Followed] = {}
        for collection, model in names(store, self._galleries):
            if self._collections is not None and collection not in self._collections:
                continue
            known = self._followed.get((collection, model))
            try:
                for at in [] if known else locate(store, self._galleries, collection, model):
                    known = _Followed(at, StoredGallery(store, self._galleries, at))
            except GalleryError as error:
                unlocated = True
                if not self._unlocated:
                    log.error("events of %s/%s are not told: %s", collection, model, error)
            if known:
                found[collection, model] = known
        if not self._began:
            self._begin(found.values())
            self._began = True
        self._followed, self._unlocated = found, unlocated

    def _begin(self, galleries: Collection[_Followed]) -> None:
        """Once for a queue: what was there before is no event; what comes from now on is."""
        store, began = self._queue.store, f"{self._queue.prefix}/began.json"
        try:
            store.get(began)
        except NotFound:
            for followed in galleries:
                manifest, _ = followed.stored.file.read()
                data = Cursor.at(manifest).model_dump_json().encode()
                with suppress(PreconditionFailed):
                    store.put(self._key(followed.location), data, if_absent=True)
            store.put(began, b"{}")

    def _key(self, location: Location) -> str:
        return f"{self._queue.prefix}/cursors/{location}.json"

    def _follow(self, followed: _Followed, alive: Callable[[], bool]) -> int | None:
        """Queue the events of some newer versions; None: there are none."""
        if followed.cursor is None:
            self._read_cursor(followed)
        cursor = followed.cursor
        assert cursor is not None
        manifest, _ = followed.stored.file.read()
        if (cursor.version, cursor.commit) == (manifest.version, manifest.at.commit):
            return None
        count = 0
        after = cursor

        def found() -> Iterator[Event]:
            nonlocal after
            after = yield from self._events(followed, cursor, manifest)

        wanted = (e for e in found() if e["type"] in self._types)
        for batch in batches(wanted, BATCH):
            if not alive():
                return None
            self._queue.put(batch)
            count += len(batch)
        try:
            followed.etag = self._queue.store.put(
                self._key(followed.location),
                after.model_dump_json().encode(),
                if_match=followed.etag,
                if_absent=followed.etag is None,
            )
        except PreconditionFailed:
            followed.cursor = None  # another process was faster
            return None
        followed.cursor = after
        return count

    def _read_cursor(self, followed: _Followed) -> None:
        key = self._key(followed.location)
        try:
            stored = self._queue.store.get(key)
        except NotFound:
            # It is new: all that is in it is an event.
            followed.cursor, followed.etag = Cursor(version=0), None
        else:
            followed.cursor, followed.etag = read_json(key, stored.data, Cursor), stored.etag

    def _events(
        self, followed: _Followed, cursor: Cursor, manifest: Manifest
    ) -> Generator[Event, None, Cursor]:
        """The events from the cursor to some version; returns the cursor there."""
        stored, location = followed.stored, followed.location
        segments: list[tuple[SegmentRef, Segment]] | None = None
        after = Cursor.at(manifest)
        for refs in self._plans(stored, cursor, manifest):
            try:
                # All, before the first is told: a sweep may have removed one of them.
                read = (segment.bare() for segment in stored.objects.read_all(refs))
                segments = list(zip(refs, read, strict=True))
            except NotFound:
                continue
            if not set(refs) <= set(manifest.segments):
                after = _between(refs[-1], manifest, cursor)
            break
        deleted = dict(cursor.deleted)
        if segments is None:
            yield self._gap(location, cursor, manifest)
        for ref, segment in segments or ():
            deleted.update(deleted_in(segment))
            yield from events_of(segment, ref.last, location)
        told = set(cursor.told)
        for erasure in _over(manifest):
            # One of a later version comes with its deletion.
            if erasure.time not in told and (erasure.version or 0) <= after.version:
                told.add(erasure.time)
                yield from self._erased(location, manifest, erasure, deleted)
        since = self._clock() - _DELETED_S
        kept = [(person, time) for person, time in deleted.items() if time > since]
        # Those that the manifest has forgotten need not be remembered.
        known = tuple(time for time in _erasures_of(manifest) if time in told)
        return after.model_copy(update={"told": known, "deleted": tuple(kept[-_MOST_DELETED:])})

    def _plans(
        self, stored: StoredGallery, cursor: Cursor, manifest: Manifest
    ) -> Iterator[Sequence[SegmentRef]]:
        """Segments that may tell what came after the cursor, the best first."""
        continues = cursor.version == 0 or any(c.id == cursor.commit for c in manifest.commits)
        refs = _newer(manifest.segments, cursor, continues=continues)
        if refs is not None:
            yield refs
            return
        first = manifest.segments[:1]
        if first and first[0].first == 1 and cursor.version < first[0].last and continues:
            try:
                begins = stored.objects.read(first[0])
            except NotFound:
                begins = None
            if begins is not None and len(begins) and begins.kind[0] == Kind.CLEAR:
                yield manifest.segments
        # The lists of segments from before a compaction, until they are swept.
        older: list[Sequence[SegmentRef]] = []
        for segments in _lists_before(stored, manifest):
            at = continues and any(ref.last == cursor.version for ref in segments)
            if refs := _newer(segments, cursor, continues=at):
                older.append(refs)
        yield from sorted(older, key=lambda refs: -refs[-1].last)

    def _gap(self, location: Location, cursor: Cursor, manifest: Manifest) -> Event:
        self.gaps += 1
        log.error(
            "the changes of %s from version %d to %d cannot be told: they were swept, or another "
            "state was restored",
            location,
            cursor.version,
            manifest.version,
        )
        versions = {"from_version": cursor.version, "to_version": manifest.version}
        return event(
            GAP,
            location.collection,
            key=[location.model, cursor.version, manifest.version, manifest.at.commit],
            time=self._clock(),
            sequence=sequence_of(manifest.version),
            data={"model": location.model, **versions},
        )

    def _erased(
        self,
        location: Location,
        manifest: Manifest,
        erasure: ErasedTogether,
        deleted: dict[int, float],
    ) -> Iterator[Event]:
        """The events of an erasure; takes its people out of ``deleted``."""
        assert manifest.erased is not None
        hash_of, hashes = manifest.erased.hash_of, set(erasure.hashes)
        version = erasure.version or manifest.version
        people = [person for person in deleted if hash_of(person) in hashes]
        for number, person in enumerate(people):
            del deleted[person]
            yield event(
                "erased",
                location.collection,
                key=[location.model, person, erasure.time],
                time=erasure.time,
                # After the deletion, which the version has already.
                sequence=sequence_of(version, 10**7 + number),
                data={"gallery_version": version, "model": location.model},
                person=person,
            )


def _lists_before(stored: StoredGallery, manifest: Manifest) -> Iterator[Sequence[SegmentRef]]:
    """The segments of the indexes that are still there, without those that no manifest ever listed:
    a writer that was too slow for its commit has left an index, too."""
    indexes: list[Index] = []
    for name, _ in stored.objects.all():
        if name.startswith(INDEXES):
            with suppress(NotFound):  # swept by another process
                indexes.append(stored.file.read_index(name))
    # What an index drops was in the manifest that it was made from.
    committed = manifest.names.union(*(index.dropped for index in indexes))
    for index in indexes:
        yield [ref for ref in index.segments if ref.name in committed]


def _newer(
    segments: Sequence[SegmentRef], cursor: Cursor, *, continues: bool = False
) -> Sequence[SegmentRef] | None:
    """Those of the segments that came after the cursor; None: they do not tell.

    Args:
        continues: it is known that they are of the same history.
    """
    if not continues and all(ref.name != cursor.segment for ref in segments):
        return None
    if any(ref.first <= cursor.version < ref.last for ref in segments):
        return None  # folded with what is told already
    return tuple(ref for ref in segments if ref.first > cursor.version)


def _between(last: SegmentRef, manifest: Manifest, cursor: Cursor) -> Cursor:
    """The cursor after this segment, which the manifest lists no more."""
    commits = [c.id for c in manifest.commits if c.version == last.last]
    commit = commits[0] if commits else None
    return Cursor(version=last.last, commit=commit, segment=last.name, told=cursor.told)


def _over(manifest: Manifest) -> Iterator[ErasedTogether]:
    """The erasures whose objects are removed: an erasure ends with a commit in a later version."""
    commits = manifest.commits
    for erasure in () if manifest.erased is None else manifest.erased.erasures:
        version = manifest.version if erasure.version is None else erasure.version
        ends = any(act.action == _ERASE for c in commits if c.version > version for act in c.acts)
        # It may be among those that are forgotten.
        if ends or erasure.version is None or (commits and commits[0].version > version):
            yield erasure


def _erasures_of(manifest: Manifest) -> tuple[float, ...]:
    return () if manifest.erased is None else tuple(e.time for e in manifest.erased.erasures)
