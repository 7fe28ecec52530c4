"""A gallery in the bucket: its manifest and segments, without the people in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor

from serving import actor
from serving.gallery.commit import apply
from serving.gallery.limits import DEFAULT_LIMITS, Limits
from serving.gallery.location import Location
from serving.gallery.manifest import Act, Manifest
from serving.gallery.manifest_file import ManifestFile
from serving.gallery.objects import SegmentObjects
from serving.gallery.observer import NOBODY, Observer
from serving.gallery.store import Store
from serving.gallery.version import Version


def act_of(action: str) -> Act:
    """The action, by the present actor."""
    return Act(action=action, who=actor.current() or "unknown")


class StoredGallery:
    """Manifest and segments, for commits, compaction, sweeping, erasure and checking. Safe to use
    from several threads, and beside other processes that write.

    Args:
        clock: seconds since 1970.
        sleep: waits for a number of seconds.
        observer: called for conflicts of commits.
        executor: makes a pool of a number of threads, to read segments in parallel.
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
    ) -> None:
        self.location = location
        self.limits = limits
        self.file = ManifestFile(store, prefix, location, limits)
        self.objects = SegmentObjects(store, self.file.folder, location.dimension, executor)
        self._clock = clock
        self._sleep = sleep
        self._observer = observer

    @property
    def dimension(self) -> int:
        """Numbers in one embedding."""
        return self.location.dimension

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock()

    def commit(
        self,
        mutate: Callable[[Manifest, str], Manifest | None],
        acts: Callable[[], Iterable[Act]],
    ) -> Version:
        """Replace the manifest; see `serving.gallery.commit.apply`.

        Args:
            acts: called after ``mutate``: what the commit does, and by whom.
        """

        def signed(manifest: Manifest, commit: str) -> Manifest | None:
            after = mutate(manifest, commit)
            return None if after is None else after.by(acts())

        return apply(self.file, signed, self._sleep, self._observer, self.limits)

    def commit_as(self, action: str, mutate: Callable[[Manifest, str], Manifest | None]) -> Version:
        """`commit` of one action, by the present actor."""
        act = act_of(action)
        return self.commit(mutate, lambda: [act])
