"""One gallery: the people in memory, kept up to date with the store, and commits to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from serving.gallery.contents import Contents
from serving.gallery.corrections import segment_of
from serving.gallery.disk import Disk
from serving.gallery.fold import fold
from serving.gallery.following import Following
from serving.gallery.interchange import ROWS_AT_ONCE
from serving.gallery.limits import DEFAULT_LIMITS, Limits
from serving.gallery.location import Location
from serving.gallery.manifest import Manifest
from serving.gallery.observer import NOBODY, Observer, outcome_of
from serving.gallery.ownership import Owners
from serving.gallery.records import Records, read, read_now
from serving.gallery.segment import Operation, Segment
from serving.gallery.snapshot import Snapshot
from serving.gallery.store import Store
from serving.gallery.stored import StoredGallery
from serving.gallery.version import Version
from serving.gallery.writer import Precondition, Requirements, Writer


class Gallery:
    """The gallery of one collection and one model. Safe to use from several threads.

    Args:
        location: collection, model and dimension; embeddings of another model are refused.
        clock: seconds since 1970.
        sleep: waits for a number of seconds.
        observer: is called after refreshes and commits.
        executor: makes a pool of a number of threads, to read segments in parallel.
        room: called with the bytes of memory and of disk that the people take, while many are read
            and after each refresh; raises GalleryTooLarge when they are too many, Overloaded when
            others took their place.
        disk: where the centroids lie; None: in memory.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        location: Location,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        observer: Observer = NOBODY,
        limits: Limits = DEFAULT_LIMITS,
        executor: Callable[[int], Executor] = ThreadPoolExecutor,
        room: Callable[[int, int], None] = lambda memory, disk: None,
        disk: Disk | None = None,
    ) -> None:
        self.location = location
        self._observer = observer
        self._stored = StoredGallery(
            store,
            prefix,
            location,
            clock=clock,
            sleep=sleep,
            observer=observer,
            limits=limits,
            executor=executor,
        )
        self._writer = Writer(self._stored, observer)
        self._refreshing = threading.Lock()
        self._giving = threading.Lock()
        self._given = -1
        self._following = Following(self._stored.objects, room, disk)

    @property
    def model(self) -> str:
        """The id of the model that makes the embeddings."""
        return self.location.model

    @property
    def dimension(self) -> int:
        """Numbers in one embedding."""
        return self.location.dimension

    @property
    def snapshot(self) -> Snapshot:
        """The people as last refreshed; sends no request."""
        return self._following.snapshot

    @property
    def loaded(self) -> bool:
        """Whether the store has been read; until then the snapshot is empty and means nothing."""
        return self._following.loaded

    @property
    def owners(self) -> dict[str, Owners]:
        """See `serving.gallery.following.Following`."""
        return self._following.owners

    @property
    def waiting(self) -> int:
        """Commits that wait for the one that is under way."""
        return self._writer.waiting

    def now(self) -> float:
        """Seconds since 1970, by this gallery's clock."""
        return self._stored.now()

    def new_id(self) -> int:
        """An id for somebody new, by the people as last refreshed. Each call returns another one;
        that no other process gave it to somebody is for the commit to check."""
        with self._giving:
            self._given = self.snapshot.free_id(self._given)
            return self._given

    def refresh(self, at_least: int | None = None) -> Snapshot:
        """Load the people of the store's newest version, unless that which is loaded suffices.

        Args:
            at_least: a version that suffices; nothing is read when it is loaded. None: the store's
                version at the time of the call.

        Raises:
            GalleryCorrupt: an object is missing or damaged; the snapshot stays as it was.
            GalleryTooLarge: there is no room for the people; the snapshot stays as it was, or is
                not `loaded` any more.
            ModelMismatch: the gallery belongs to another model.
            Unavailable: the store is away.
        """
        if self._reached(at_least):
            return self._following.snapshot
        # A caller that waited for another refresh reads again: that one may have begun too early.
        with self._refreshing:
            if self._reached(at_least):
                return self._following.snapshot
            start, failure = time.perf_counter(), None
            try:
                self._stored.file.reading(self._following.follow)
            except Exception as error:
                failure = error
                raise
            finally:
                self._observer.refreshed(outcome_of(failure), time.perf_counter() - start)
            return self._following.snapshot

    def _reached(self, at_least: int | None) -> bool:
        return self.loaded and at_least is not None and self.snapshot.answers(at_least)

    def everybody(self) -> tuple[Version, Iterator[Segment]]:
        """A version, and all people with all of their embeddings in it, as one put a person.

        Memory holds only one centroid a person, so this reads all segments again and holds them.
        """
        version, segments = self._stored.file.reading(
            lambda manifest: (
                manifest.at,
                list(self._stored.objects.read_all(manifest.segments)),
            )
        )
        return version, fold(segments, from_nothing=True, max_rows=ROWS_AT_ONCE)

    def commit(
        self,
        operations: Sequence[Operation],
        require: Sequence[int] = (),
        precondition: Precondition | None = None,
    ) -> Version:
        """Write all of the operations or none; returns the version that contains them.

        Calls that arrive while another commit is under way are committed together.

        Args:
            require: ids that must be enrolled before the operations.
            precondition: called with the people before the operations, and with the operations
                that will be committed together with these and before them. An error that it
                raises is raised here, and nothing is written. It is called for every attempt,
                possibly in the thread of another caller.

        Raises:
            ValueError: embeddings are not unit vectors of this gallery's dimension.
            UnknownIdentity: one of ``require`` is not enrolled; nothing was written.
            CommitConflict: other processes were faster each time; nothing was written.
            Unavailable: the store is away; nothing was written.
            NotConfirmed: the store went away during the last write, and the outcome is not known.
        """
        if not require and precondition is None:
            return self._writer.commit(operations)
        return self._writer.commit(operations, Requirements(self._people_at, require, precondition))

    def commit_made(self, make: Callable[[Snapshot], Segment | None]) -> Version:
        """Commit the segment that ``make`` returns for the current people; called again when
        another writer was faster. So a write can depend on what is enrolled; see `commit`.

        Args:
            make: returns the same for the same people; None: there is nothing to commit.
        """
        return self._writer.commit_made(make, self._people_at)

    def commit_segments(
        self,
        segments: Callable[[], Iterable[Segment]],
        written: Callable[[Segment], None] = lambda segment: None,
    ) -> Version:
        """Commit any number of ready segments as one version, for imports in bulk; see `commit`.

        Args:
            segments: makes the segments; the same ones each time, since after a failure or a fence
                they may have to be written again. One is held at a time.
            written: called with each segment that is in the store; they count only once this
                method returns.
        """
        return self._writer.commit_segments(segments, written)

    def records(self, ids: Collection[int]) -> tuple[Version, Records]:
        """Those of ``ids`` who are enrolled, with every embedding, and the version that was read.

        Raises:
            Unavailable: the store is away, or an object is missing or damaged.
        """
        contents = Contents(self._stored, self.owners)
        return self._stored.file.reading(lambda now: (now.at, read(contents, now, ids)))

    def correct(
        self, ids: Collection[int], change: Callable[[Records], Records], action: str
    ) -> Version:
        """Commit what ``change`` makes of the people with these ids; called again when another
        writer was faster; see `commit`.

        Args:
            change: what it leaves out is gone; an error that it raises is raised here, and nothing
                is written.
            action: what the commit does, in the record of who did what.
        """

        def both(contents: Contents, now: Manifest) -> tuple[Records, Records]:
            before = read_now(contents, now, ids)
            return before, change(before)

        return self.correct_from(both, action)

    def correct_from(
        self, make: Callable[[Contents, Manifest], tuple[Records, Records]], action: str
    ) -> Version:
        """`correct`, with people whom ``make`` chooses: as they are, and as they are to be."""
        contents = Contents(self._stored, self.owners)

        def segment(manifest: Manifest) -> Segment | None:
            return segment_of(*make(contents, manifest), self.dimension, self.now())

        return self._writer.commit_from(segment, action)

    def _people_at(self, version: Version) -> Snapshot:
        return self.refresh(at_least=version)
