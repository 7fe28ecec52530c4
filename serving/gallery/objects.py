"""Segments as objects of the store: written once, read with their checksum verified."""

from __future__ import annotations

import hashlib
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from serving.errors import GalleryCorrupt, GalleryTooNew
from serving.gallery.manifest import INDEXES, SegmentRef, key_of
from serving.gallery.segment import NewerSegment, Segment
from serving.gallery.store import Entry, NotFound, Store

_PARALLEL_GETS = 8
# Of segments that are read ahead. Two of the size that a compaction writes, see `Limits`.
_AHEAD_BYTES = 128 * 2**20


class SegmentObjects:
    """The objects of the gallery in ``folder``. Safe to use from several threads.

    Args:
        dimension: numbers in one embedding.
        executor: makes a pool of a number of threads, in which segments are read.
    """

    def __init__(
        self,
        store: Store,
        folder: str,
        dimension: int,
        executor: Callable[[int], Executor] = ThreadPoolExecutor,
    ) -> None:
        self._executor = executor
        self._store = store
        self._folder = folder
        self.dimension = dimension

    def write(self, segment: Segment, first: int, last: int, name: str | None = None) -> SegmentRef:
        """Write a new object; its reference covers the versions ``first`` to ``last``.

        Args:
            name: None: a new one.
        """
        data = segment.to_bytes()
        name = name or uuid.uuid4().hex
        self._store.put(self.key(name), data)
        return SegmentRef(
            name=name,
            first=first,
            last=last,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            operations=len(segment),
            rows=len(segment.embeddings),
            ends=segment.first_end,
        )

    def read(self, ref: SegmentRef) -> Segment:
        """Raises NotFound with the key; GalleryCorrupt, naming it, when the object is damaged."""
        key = self.key(ref.name)
        try:
            data = self._store.get(key).data
        except NotFound:
            raise NotFound(key) from None
        if len(data) != ref.bytes or hashlib.sha256(data).hexdigest() != ref.sha256:
            raise GalleryCorrupt(
                f"The gallery's object {key} is damaged: its checksum differs from the manifest's."
            )
        try:
            segment = Segment.from_bytes(data)
        except NewerSegment as error:
            raise GalleryTooNew(
                f"A newer version of this software wrote {key}: {error}; upgrade this one."
            ) from error
        except ValueError as error:
            raise GalleryCorrupt(f"The gallery's object {key} is damaged: {error}.") from error
        if segment.dimension != self.dimension:
            raise GalleryCorrupt(f"The gallery's object {key} holds another model's embeddings.")
        return segment

    def ids_in(self, name: str) -> set[int]:
        """The ids of people in a segment that no manifest lists; none if it is gone or damaged."""
        try:
            segment = Segment.from_bytes(self._store.get(self.key(name)).data)
        except (NotFound, ValueError):
            return set()
        return {*segment.id.tolist(), *segment.sources.tolist()}

    def read_all(self, refs: Sequence[SegmentRef]) -> Iterator[Segment]:
        """The segments in order, read ahead in parallel.

        Those that are read ahead, and the one that was given out last, have at most `_AHEAD_BYTES`
        together, or are one.
        """
        if not refs:
            return
        with self._executor(min(_PARALLEL_GETS, len(refs))) as pool:
            pending: deque[Future[Segment]] = deque()
            held = 0
            try:
                for n, ref in enumerate(refs):
                    for other in refs[n + len(pending) : n + _PARALLEL_GETS]:
                        if held and held + other.bytes > _AHEAD_BYTES:
                            break
                        pending.append(pool.submit(self.read, other))
                        held += other.bytes
                    yield pending.popleft().result()
                    held -= ref.bytes
            finally:
                for future in pending:
                    future.cancel()

    def all(self) -> Iterator[tuple[str, Entry]]:
        """The names and entries of all segments and indexes, listed in the manifest or not. What
        else lies in their folders is not the gallery's."""
        for prefix in ("segments/", INDEXES):
            for entry in self._store.list(f"{self._folder}/{prefix}"):
                stem = entry.key.rpartition("/")[2].partition(".")[0]
                name = f"{INDEXES}{stem}" if prefix == INDEXES else stem
                if stem and self.key(name) == entry.key:
                    yield name, entry

    def remove(self, name: str) -> None:
        """Remove the object and, where the bucket keeps them, its old versions."""
        self._store.purge(self.key(name))

    def key(self, name: str) -> str:
        return key_of(self._folder, name)


class Uploads:
    """New objects that may come to nothing: others who are in them may be erased meanwhile."""

    def __init__(self, objects: SegmentObjects) -> None:
        self._objects = objects
        self._names: list[str] = []

    def write(self, segment: Segment, first: int, last: int) -> SegmentRef:
        """See `SegmentObjects.write`."""
        # Noted before it is sent: when the reply is lost, it may have arrived.
        self._names.append(uuid.uuid4().hex)
        return self._objects.write(segment, first, last, self._names[-1])

    def discard(self) -> None:
        """Remove all, when they were not committed."""
        while self._names:
            self._objects.remove(self._names[-1])
            self._names.pop()
