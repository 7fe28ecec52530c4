"""The galleries that a match replica holds: opened when asked for, followed, evicted.

What is held is counted and given up in the threads that read galleries, too: a large one takes its
memory there, part by part.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serving import deadline
from serving.errors import (
    GalleryCorrupt,
    GalleryTooLarge,
    GalleryTooNew,
    ModelMismatch,
    Overloaded,
    ServingError,
    Unavailable,
)
from serving.gallery import Gallery, Snapshot
from serving.gallery.disk import Disk
from serving.gallery.location import Location
from serving.gallery.observer import NOBODY, Observer
from serving.gallery.ownership import Owners
from serving.gallery.store import Store
from serving.matching.records import GalleryStatus
from serving.settings import GallerySettings
from serving.stages.pool import work
from serving.telemetry.metrics import GalleryGauges

log = logging.getLogger(__name__)

T = TypeVar("T")


# Galleries that are read into memory at once. Each holds some segments beside its people.
_LOADS = 2
# With these, what was read before is served.
_LASTING = (GalleryCorrupt, GalleryTooNew, GalleryTooLarge)


class Galleries:
    """The galleries of one store that were asked for last.

    Args:
        most: how many are held.
        memory: bytes that they may take together.
        open_store: opens the bucket; called once, in a thread, when the first gallery is asked for.
        pool: the threads that wait for the store.
        gauges: show every gallery that is held.
        observer: called for every request to the store.
        disk: where their vectors lie, and how much they may take of it; None: in memory.
    """

    def __init__(
        self,
        settings: GallerySettings,
        most: int,
        memory: int,
        open_store: Callable[[], Store],
        pool: ThreadPoolExecutor,
        gauges: GalleryGauges,
        observer: Observer = NOBODY,
        disk: Disk | None = None,
    ) -> None:
        self._settings = settings
        self._most = most
        self._memory = memory
        self._open_store = open_store
        self._pool = pool
        self._gauges = gauges
        self._observer = observer
        self._disk = disk
        # The one that was asked for last comes last.
        self._held: OrderedDict[Location, Gallery] = OrderedDict()
        self._bytes: dict[Location, tuple[int, int]] = {}  # of memory, and of disk
        self._lock = threading.Lock()  # of these two
        self._loop: asyncio.AbstractEventLoop  # of the callers
        self._loading: dict[Location, asyncio.Task[None]] = {}
        self._loads = asyncio.Semaphore(_LOADS)
        self._store: Store | None = None
        self._opening = asyncio.Lock()

    async def store(self) -> Store:
        """The bucket, which was checked for what a gallery needs when it was opened.

        Raises:
            StoreUnfit, Unavailable: see `serving.gallery.location.open_store`; the next call tries
                again.
        """
        async with self._opening:
            if self._store is None:
                self._store = await self._in_thread(self._open_store)
            return self._store

    async def gallery(self, location: Location) -> Gallery:
        """The gallery, not necessarily loaded; opening one may evict another."""
        try:
            store = await self.store()
        except ServingError:
            if self._is_default(location):
                self._gauges.unopened(location)
            raise
        self._loop = asyncio.get_running_loop()
        with self._lock:
            if location not in self._held:
                self._held[location] = self._made(location, store)
            self._held.move_to_end(location)
            while len(self._held) > self._most:
                self._forget(self._evicted(location))
            return self._held[location]

    def _made(self, location: Location, store: Store) -> Gallery:
        gallery = Gallery(
            store,
            self._settings.prefix,
            location,
            observer=self._observer,
            room=lambda memory, disk: self._make_room(location, gallery, memory, disk),
            disk=self._disk,
        )
        return gallery

    def _make_room(self, location: Location, gallery: Gallery, memory: int, disk: int) -> None:
        """Evict others until all have room beside this gallery of so many bytes.

        Raises:
            GalleryTooLarge: it has no room, even alone.
            Overloaded: it was evicted while it was read.
        """
        with self._lock:
            if self._held.get(location) is not gallery:
                raise Overloaded(
                    "Other galleries took the memory of this one while it was read; try again in "
                    "a moment."
                )
            self._bytes[location] = memory, disk
            while self._are_too_many() and len(self._bytes) > 1:
                self._loop.call_soon_threadsafe(self._forget, self._evicted(location))
            if memory > self._memory:
                raise GalleryTooLarge(
                    f"The gallery {location} takes more memory than a matcher has for galleries, "
                    f"{self._memory / 1e6:,.0f} MB; give the matchers more."
                )
            if self._disk is not None and disk > self._disk.most_bytes:
                raise GalleryTooLarge(
                    f"The gallery {location} takes more disk than a matcher has for vectors, "
                    f"{self._disk.most_bytes / 1e6:,.0f} MB; give the matchers more."
                )

    def _are_too_many(self) -> bool:
        memory, disk = (sum(part) for part in zip(*self._bytes.values(), strict=True))
        return memory > self._memory or (self._disk is not None and disk > self._disk.most_bytes)

    def _evicted(self, but: Location) -> Location:
        evicted = self._least_wanted(but)
        del self._held[evicted]
        self._bytes.pop(evicted, None)
        return evicted

    def _forget(self, location: Location) -> None:
        if location not in self._held:  # asked for again meanwhile
            self._gauges.forget(location)

    def _least_wanted(self, but: Location) -> Location:
        """The gallery to evict: an empty one, since callers may make up as many collections as they
        like; else the one that was asked for longest ago."""
        others = [location for location in self._held if location != but]
        empty = (
            location
            for location in others
            if self._held[location].loaded and not self._held[location].snapshot.version
        )
        return next(empty, others[0])

    def owners(self, location: Location) -> dict[str, Owners]:
        """Who owns what in the gallery's segments, as far as it is held and they were read."""
        with self._lock:
            gallery = self._held.get(location)
        return {} if gallery is None else gallery.owners

    async def load(self, location: Location) -> None:
        """Read the gallery's newest version into memory."""
        await self._follow(location, await self.gallery(location), None)

    async def snapshot(self, location: Location, at_least: int | None) -> Snapshot:
        """The people as of version ``at_least`` or later.

        None: the store could not be asked; what is in memory is served, unless nothing is.
        """
        gallery = await self.gallery(location)
        if at_least is None and gallery.loaded:
            self._gauges.unconfirmed()
            return gallery.snapshot
        snapshot, _ = await self._follow(location, gallery, at_least)
        return snapshot

    async def status(self, location: Location) -> GalleryStatus:
        """What is held of the gallery, after a look for a newer version.

        A health check must not wait for a store that hangs, so the look has a limit of its own.
        """
        try:
            gallery = await self.gallery(location)
        except ServingError as error:
            return GalleryStatus(False, 0, 0, 0, str(error))
        try:
            snapshot, problem = await self._soon(self._follow(location, gallery, None))
        except ServingError as error:
            self._show(location, gallery, error)
            snapshot, problem, loaded = gallery.snapshot, str(error), gallery.loaded
        else:
            loaded = True
        return GalleryStatus(loaded, snapshot.version, len(snapshot), snapshot.photos, problem)

    async def _follow(
        self, location: Location, gallery: Gallery, at_least: int | None
    ) -> tuple[Snapshot, str | None]:
        """The refreshed snapshot; with the problem when an older one has to do."""
        try:
            if not gallery.loaded:
                await self._load(location, gallery)
            snapshot = await self._in_thread(lambda: gallery.refresh(at_least))
        except ServingError as error:
            self._show(location, gallery, error)
            if not isinstance(error, _LASTING) or not gallery.loaded:
                raise
            # The people who were read before are as good as they were.
            log.error("serving version %d: %s", gallery.snapshot.version, error)
            return gallery.snapshot, str(error)
        self._show(location, gallery, None)
        return snapshot, None

    async def _load(self, location: Location, gallery: Gallery) -> None:
        """Read a gallery for the first time, for all who wait for it: they occupy no threads."""
        task = self._loading.get(location)
        if task is None:
            task = self._loading[location] = asyncio.create_task(self._read(gallery))

            def done(task: asyncio.Task[None]) -> None:
                del self._loading[location]
                if not task.cancelled():
                    task.exception()  # all who waited may have gone

            task.add_done_callback(done)
        await asyncio.shield(task)

    async def _read(self, gallery: Gallery) -> None:
        with deadline.until(None):  # the first caller's is not that of the others
            async with self._loads:
                await self._in_thread(lambda: gallery.refresh(0))

    async def _soon(self, look: Awaitable[T]) -> T:
        """The result of a look for a newer version. Raises Unavailable when it takes too long; its
        thread then goes on, so that a first load is finished nevertheless."""
        limit = self._settings.freshness_timeout_s
        try:
            return await asyncio.wait_for(look, limit)
        except asyncio.TimeoutError:
            raise Unavailable(f"The object store has not answered within {limit:g} s.") from None

    def _show(self, location: Location, gallery: Gallery, error: ServingError | None) -> None:
        # A collection that a caller made up must not become a label.
        exists = gallery.snapshot.version or isinstance(error, (*_LASTING, ModelMismatch))
        if exists or self._is_default(location):
            self._gauges.show(location, gallery.snapshot, None if error is None else str(error))

    def _is_default(self, location: Location) -> bool:
        return location.collection == self._settings.collection

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return (await work(self._pool, call)).result
