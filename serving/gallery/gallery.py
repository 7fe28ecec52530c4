"""One gallery: commits to the store, and the people in memory that follow it."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from serving.errors import Conflict, GalleryCorrupt, GalleryError, Unavailable
from serving.gallery.manifest import Manifest, ManifestFile, SegmentRef
from serving.gallery.segment import Operation, Segment
from serving.gallery.state import People, Snapshot
from serving.gallery.store import NotFound, PreconditionFailed, Store

log = logging.getLogger(__name__)

_COMMIT_TRIES = 12
_FAILURES = 3  # of the store, in one commit
_LOAD_TRIES = 3
_PARALLEL_GETS = 8


@dataclass
class _Waiting:
    """Somebody's operations that wait to be committed, and what became of them."""

    operations: Sequence[Operation]
    version: int | None = None
    error: Exception | None = None


class Gallery:
    """The gallery of one collection and one model. Safe to use from several threads.

    Args:
        model: the model id; embeddings of another are refused.
        dimension: numbers in one embedding.
        clock: seconds since 1970.
        sleep: waits so many seconds.
    """

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
        self._store = store
        self._dimension = dimension
        self._clock = clock
        self._sleep = sleep
        self._file = ManifestFile(store, prefix, collection, model, dimension)
        self._refreshing = threading.Lock()
        self._people = People(dimension)
        self._snapshot = self._people.snapshot(0)
        self._loaded = False
        self._committing = threading.Lock()
        self._queue_lock = threading.Lock()
        self._queue: list[_Waiting] = []

    @property
    def snapshot(self) -> Snapshot:
        """The people as last refreshed; asks nobody."""
        return self._snapshot

    @property
    def loaded(self) -> bool:
        """Whether the store has been read: before that the snapshot is empty and says nothing."""
        return self._loaded

    def now(self) -> float:
        """Seconds since 1970, by the clock that this gallery was given."""
        return self._clock()

    # --- reading -------------------------------------------------------------------------------

    def refresh(self, at_least: int | None = None) -> Snapshot:
        """Follow the store.

        Args:
            at_least: a version that suffices; None: the store's version at the time of the call.

        Raises:
            GalleryCorrupt: an object is missing or damaged; the snapshot stays as it was.
            ModelMismatch: the gallery is another model's.
            Unavailable: the store is away.
        """
        if self._reached(at_least):
            return self._snapshot
        # Callers that waited for another one's refresh ask again: it may have begun too early.
        with self._refreshing:
            if self._reached(at_least):
                return self._snapshot
            for attempt in range(_LOAD_TRIES):
                manifest, _ = self._file.read()
                try:
                    self._follow(manifest)
                    break
                except NotFound as error:
                    # A compaction swept the segment while we read; a newer manifest knows.
                    if attempt + 1 == _LOAD_TRIES:
                        raise GalleryCorrupt(
                            f"The gallery's object {error} is missing; restore it from a backup."
                        ) from None
            return self._snapshot

    def _reached(self, at_least: int | None) -> bool:
        return self._loaded and at_least is not None and self._snapshot.version >= at_least

    def _follow(self, manifest: Manifest) -> None:
        segments = manifest.newer_than(self._snapshot.version)
        people = self._people
        if segments is None:
            segments, people = manifest.segments, People(self._dimension)
        if segments:
            with ThreadPoolExecutor(min(_PARALLEL_GETS, len(segments))) as pool:
                # All are there before the first is applied: a failure leaves nothing half done.
                loaded = list(pool.map(self._load, segments))
            for segment in loaded:
                people.apply(segment)
        self._people = people
        self._snapshot = people.snapshot(manifest.version)
        self._loaded = True

    def _load(self, ref: SegmentRef) -> Segment:
        key = self._segment_key(ref.name)
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
        except ValueError as error:
            raise GalleryCorrupt(f"The gallery's object {key} is damaged: {error}.") from error
        if segment.dimension != self._dimension:
            raise GalleryCorrupt(f"The gallery's object {key} holds another model's embeddings.")
        return segment

    # --- writing -------------------------------------------------------------------------------

    def commit(self, operations: Sequence[Operation]) -> int:
        """Write all of the operations or none; returns the version that contains them.

        Calls that arrive while another commit is under way are committed together.

        Raises:
            ValueError: embeddings are not unit vectors of this gallery's dimension.
            Conflict: other processes were faster each time; nothing was written.
            Unavailable: the store is away. When it went away during the last write, the error
                says that the outcome is not known.
        """
        Segment.of(operations, self._dimension)  # a bad one fails alone, not with its neighbours
        waiting = _Waiting(operations)
        with self._queue_lock:
            self._queue.append(waiting)
        with self._committing:
            if waiting.version is None and waiting.error is None:
                with self._queue_lock:
                    together, self._queue = self._queue, []
                self._commit_together(together)
        if waiting.error is not None:
            raise waiting.error
        assert waiting.version is not None
        return waiting.version

    def _commit_together(self, waiting: Sequence[_Waiting]) -> None:
        operations = [o for w in waiting for o in w.operations]
        try:
            version = self.commit_segment(Segment.of(operations, self._dimension))
        except Exception as error:
            for w in waiting:
                w.error = error
        else:
            for w in waiting:
                w.version = version

    def commit_segment(self, segment: Segment) -> int:
        """Commit one ready segment, for imports in bulk; see `commit`."""
        if segment.dimension != self._dimension:
            raise ValueError(f"embeddings of {segment.dimension} numbers, not {self._dimension}")
        commit = uuid.uuid4().hex
        data = segment.to_bytes()
        uploaded: SegmentRef | None = None
        failures = 0
        # The ETag of a replacement whose reply got lost. While the manifest still has it, the
        # store may yet carry that write out.
        doubted: str | Literal[False] | None = False
        for attempt in range(_COMMIT_TRIES):
            if attempt:
                self._sleep(random.uniform(0, min(2.0, 0.05 * 2**attempt)))
            replacing = False
            try:
                manifest, etag = self._file.read()
                if (version := manifest.version_of(commit)) is not None:
                    return version
                if etag != doubted:
                    doubted = False
                if uploaded is None or manifest.fence >= uploaded.first:
                    # Before a fence, sweeping may have taken what no manifest referred to.
                    uploaded = self._upload(segment, data, manifest.version + 1)
                after = manifest.after(commit, uploaded, self._clock())
                replacing = True
                self._file.replace(after, etag)
            except PreconditionFailed:
                continue
            except GalleryError:
                raise
            except Unavailable as error:
                log.warning("commit %s, attempt %d: %s", commit, attempt + 1, error)
                if replacing:
                    doubted = etag
                failures += 1
                if failures < _FAILURES:
                    continue
                if doubted is False:
                    raise Unavailable(f"{error} Nothing was written.") from error
                raise Unavailable(
                    f"{error} The write was not confirmed: look whether it is there before you "
                    "send it again."
                ) from error
            else:
                return after.version
        raise Conflict(
            f"Other writers were faster {_COMMIT_TRIES} times; nothing was written, try again."
        )

    def _upload(self, segment: Segment, data: bytes, version: int) -> SegmentRef:
        name = uuid.uuid4().hex
        self._store.put(self._segment_key(name), data)
        return SegmentRef(
            name=name,
            first=version,
            last=version,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            operations=len(segment),
            rows=len(segment.embeddings),
        )

    def _segment_key(self, name: str) -> str:
        return f"{self._file.folder}/segments/{name}.safetensors"
