"""Keeping a gallery's objects few and no more than needed: compaction, sweeping, erasure, checking.

Works on the bucket alone, beside the service and whatever else writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from serving.errors import Conflict, GalleryError, UnknownIdentity
from serving.gallery.commit import apply
from serving.gallery.fold import fold
from serving.gallery.manifest import INDEXES, Manifest, SegmentRef
from serving.gallery.manifest_file import ManifestFile
from serving.gallery.objects import SegmentObjects
from serving.gallery.ownership import Ownership
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.snapshot import Snapshot
from serving.gallery.store import Entry, NotFound, Store
from serving.gallery.writer import Writer

MAX_SEGMENT_BYTES = 256 * 2**20
_SMALL_BYTES = 2**20
# An older segment is folded with the newer ones when it is at most so many times as heavy as they
# are together. So each embedding is rewritten a number of times that grows only with the logarithm
# of the gallery, and what is dead in a large segment goes when much has changed since.
_FACTOR = 2
_ERASE_TRIES = 5


@dataclass(frozen=True)
class Compaction:
    """Segments before and after, and the bytes that were read and written."""

    before: int
    after: int
    bytes_read: int
    bytes_written: int


@dataclass(frozen=True)
class Sweep:
    """Objects that were removed, or would be in a dry run, and their bytes."""

    removed: Sequence[str]
    bytes: int


@dataclass(frozen=True)
class Receipt:
    """What an erasure has removed; the embeddings are in no object of the gallery any more."""

    model: str
    ids: Sequence[int]
    embeddings: int
    objects_rewritten: Sequence[str]
    objects_removed: Sequence[str]
    gallery_version: int
    time: float


@dataclass(frozen=True)
class Check:
    """What is wrong with a gallery, in sentences; and objects that nothing refers to."""

    version: int
    segments: int
    operations: int
    embeddings: int
    problems: Sequence[str]
    orphans: Sequence[str]


class Maintenance:
    """The maintenance of one gallery; every method raises `serving.errors.Unavailable`."""

    def __init__(
        self,
        store: Store,
        prefix: str,
        collection: str,
        model: str,
        dimension: int,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._dimension = dimension
        self._clock = clock
        self._sleep = sleep
        self._file = ManifestFile(store, prefix, collection, model, dimension)
        self._objects = SegmentObjects(store, self._file.folder, dimension)

    def compact(self) -> Compaction:
        """Fold the newer segments, so that a new replica needs few requests.

        What it costs is in proportion to what was written since, not to the gallery.
        """
        manifest, run, folded = self._file.reading(self._fold)
        before = len(manifest.segments)
        if not run:
            return Compaction(before, before, 0, 0)
        names = [s.name for s in run]
        done = False

        def mutate(now: Manifest, commit: str) -> Manifest | None:
            nonlocal done
            listed = [s.name for s in now.segments]
            at = listed.index(names[0]) if names[0] in listed else 0
            # Somebody else may have folded them, or swept what was just written.
            done = listed[at : at + len(names)] == names and now.fence <= manifest.version
            if not done:
                return None
            segments = (*now.segments[:at], *folded, *now.segments[at + len(names) :])
            return now.folded(commit, segments, self._clock())

        apply(self._file, mutate, self._sleep)
        if not done:
            # Somebody who is in it may have been erased meanwhile.
            for ref in folded:
                self._objects.remove(ref.name)
        after = len(self._file.read()[0].segments)
        return Compaction(before, after, sum(s.bytes for s in run), sum(s.bytes for s in folded))

    def _fold(self, manifest: Manifest) -> tuple[Manifest, Sequence[SegmentRef], list[SegmentRef]]:
        """The run that is worth folding, if any, and the segments that do the same."""
        run = to_fold(manifest.segments, self._dimension)
        if len(run) < 2:
            return manifest, (), []
        first, last = run[0].first, run[-1].last
        from_nothing = run[0] is manifest.segments[0]
        max_rows = MAX_SEGMENT_BYTES // (2 * self._dimension)
        segments = list(self._objects.read_all(run))
        folded = [
            self._objects.write(segment, first, last)
            for segment in fold(segments, from_nothing=from_nothing, max_rows=max_rows)
        ]
        # When nothing is left, an empty one still says that these versions are folded.
        folded = folded or [self._objects.write(Segment.of([], self._dimension), first, last)]
        return manifest, run, folded

    def sweep(self, grace_s: float, *, dry_run: bool = False) -> Sweep:
        """Remove the objects that no manifest within the last ``grace_s`` seconds referred to."""
        manifest, _ = self._file.read()
        # Without a grace time whatever the clocks say: the bucket's may be ahead of ours.
        before = self._clock() - grace_s if grace_s else math.inf
        objects = dict(self._objects.all())
        unlisted = {n: e for n, e in objects.items() if n not in manifest.names}
        since = self._unlisted_since(objects) if unlisted and grace_s else {}
        candidates = {
            name: entry.size
            for name, entry in unlisted.items()
            if max(entry.modified, since.get(name, 0.0)) <= before
        }
        if dry_run or not candidates:
            return Sweep(sorted(candidates), sum(candidates.values()))
        swept: frozenset[str] = frozenset()

        def mutate(now: Manifest, commit: str) -> Manifest:
            nonlocal swept
            swept = frozenset(candidates) - now.names
            return now.fenced(commit, self._clock())

        # The fence comes first: a writer that has uploaded, but not yet committed, begins anew.
        apply(self._file, mutate, self._sleep)
        # Indexes last: they tell since when the segments are not listed.
        removed = sorted(swept, key=lambda name: (name.startswith(INDEXES), name))
        for name in removed:
            self._objects.remove(name)
        return Sweep(removed, sum(candidates[n] for n in removed))

    def _unlisted_since(self, objects: Mapping[str, Entry]) -> dict[str, float]:
        """By name, when the last index was written that dropped it; by the bucket's clock."""
        since: dict[str, float] = {}
        for name, entry in objects.items():
            if not name.startswith(INDEXES):
                continue
            with suppress(NotFound):  # swept by somebody else
                for dropped in self._file.read_index(name).dropped:
                    since[dropped] = max(since.get(dropped, 0.0), entry.modified)
        return since

    def held(self, ids: Collection[int]) -> set[int]:
        """Those of whom the bucket holds anything: enrolled, deleted, or in what is to be swept."""
        manifest, owned = self._file.reading(lambda manifest: self._owned(manifest, ids))
        held = {i for i in ids if owned.ever(i)}
        for name, _ in self._objects.all():
            if name not in manifest.names and len(held) < len(ids):
                held.update(set(ids).intersection(self._objects.ids_in(name)))
        return held

    def erase(self, ids: Collection[int]) -> Receipt:
        """Forget these people for good: delete them, and remove their embeddings from the bucket.

        Also those of people who are deleted already, whose embeddings are still in its objects.

        Raises:
            UnknownIdentity: no object holds anything of one of them; nothing was written.
            Conflict: compactions came between too often; they are deleted, but not yet erased.
        """
        unknown = set(ids) - self.held(ids)
        if unknown:
            raise UnknownIdentity(f"The gallery holds nothing of the id {min(unknown)}.")
        return self.erase_held(ids)

    def erase_held(self, ids: Collection[int]) -> Receipt:
        """`erase` for ids that `held` has found already, which reads the whole gallery."""
        writer = Writer(
            self._file, self._objects, self._dimension, _no_people, self._clock, self._sleep
        )
        writer.commit([Operation(Kind.DELETE, i, self._clock()) for i in ids])
        for _ in range(_ERASE_TRIES):
            rewritten = self._rewrite_without(ids)
            if rewritten is not None:
                break
        else:
            raise Conflict("Compactions came between; the people are deleted, erase them again.")
        removed = self.sweep(grace_s=0).removed
        after, _ = self._file.read()
        return Receipt(
            model=after.model,
            ids=sorted(ids),
            embeddings=rewritten[1],
            objects_rewritten=rewritten[0],
            objects_removed=removed,
            gallery_version=after.version,
            time=self._clock(),
        )

    def _rewrite_without(self, ids: Collection[int]) -> tuple[list[str], int] | None:
        """The names of the segments that held them and how many rows; None: lost a race."""
        manifest, instead, rows = self._file.reading(lambda now: self._without(now, ids))
        done = False

        def mutate(now: Manifest, commit: str) -> Manifest | None:
            nonlocal done
            # Somebody may have folded them, or swept what was just written.
            listed = instead.keys() <= {s.name for s in now.segments}
            done = listed and now.fence <= manifest.version
            if not done or not instead:
                return None
            segments = tuple(instead.get(s.name, s) for s in now.segments)
            return now.folded(commit, segments, self._clock())

        apply(self._file, mutate, self._sleep)
        return (sorted(instead), rows) if done else None

    def _without(
        self, manifest: Manifest, ids: Collection[int]
    ) -> tuple[Manifest, dict[str, SegmentRef], int]:
        """By name, what to list instead of the segments that hold them; and how many rows less."""
        _, owned = self._owned(manifest, ids)
        instead: dict[str, SegmentRef] = {}
        rows = 0
        for number, operations in owned.dead(ids).items():
            ref = manifest.segments[number]
            segment = self._objects.read(ref)
            keep = np.ones(len(segment), np.bool_)
            keep[operations] = False
            rest = segment.select(keep)
            rows += len(segment.embeddings) - len(rest.embeddings)
            instead[ref.name] = self._objects.write(rest, ref.first, ref.last)
        return manifest, instead, rows

    def _owned(self, manifest: Manifest, ids: Collection[int]) -> tuple[Manifest, Ownership]:
        return manifest, Ownership.of(self._objects.read_all(manifest.segments), ids)

    def check(self) -> Check:
        """Read everything, and say what is wrong."""
        manifest, _ = self._file.read()
        problems = list(_order_problems(manifest))
        missing: dict[str, str] = {}
        operations = embeddings = 0
        for ref in manifest.segments:
            try:
                segment = self._objects.read(ref)
            except NotFound as error:
                missing[ref.name] = f"The object {error} is missing."
            except GalleryError as error:
                problems.append(str(error))
            else:
                operations += len(segment)
                embeddings += len(segment.embeddings)
                if (len(segment), len(segment.embeddings)) != (ref.operations, ref.rows):
                    key = self._objects.key(ref.name)
                    problems.append(f"The manifest has other counts than the object {key}.")
        if missing:
            # Not what was folded and swept meanwhile.
            listed = {s.name for s in self._file.read()[0].segments}
            problems += [text for name, text in missing.items() if name in listed]
        objects = dict(self._objects.all())
        known = manifest.names | self._unlisted_since(objects).keys()
        return Check(
            version=manifest.version,
            segments=len(manifest.segments),
            operations=operations,
            embeddings=embeddings,
            problems=problems,
            orphans=sorted(objects.keys() - known),
        )


def to_fold(segments: Sequence[SegmentRef], dimension: int) -> Sequence[SegmentRef]:
    """The newest segments that are worth folding together; fewer than two: none are."""

    def weight(ref: SegmentRef) -> int:
        # A deletion is small, but makes an embedding elsewhere dead.
        return max(ref.bytes, ref.operations * 2 * dimension)

    total, start = 0, len(segments)
    for ref in reversed(segments):
        large = ref.bytes >= MAX_SEGMENT_BYTES // 2
        if weight(ref) > _FACTOR * total and (large or (total and weight(ref) > _SMALL_BYTES)):
            break
        total += weight(ref)
        start -= 1
    # What was split to be written covers the same versions, and is folded together or not at all.
    while 0 < start < len(segments) and segments[start - 1].last == segments[start].last:
        start += 1
    return segments[start:]


def _order_problems(manifest: Manifest) -> Iterator[str]:
    before: SegmentRef | None = None
    for ref in manifest.segments:
        if not ref.first <= ref.last <= manifest.version:
            yield f"The segment {ref.name} covers the versions {ref.first} to {ref.last}."
        together = before and (before.first, before.last) == (ref.first, ref.last)
        if before and not together and ref.first <= before.last:
            yield f"The segments {before.name} and {ref.name} cover the same versions."
        before = ref


def _no_people(version: int) -> Snapshot:
    raise AssertionError("deletions require nobody")
