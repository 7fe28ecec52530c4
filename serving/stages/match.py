"""Matching: embeddings -> the people in the gallery who are nearest, and enrolling new ones."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.errors import GalleryCorrupt, ModelMismatch, ServingError, Unavailable
from serving.gallery import Gallery, Operation, Snapshot
from serving.gallery.erasure import Receipt, erase_everywhere
from serving.gallery.location import Location, locate, open_store
from serving.gallery.store import Store
from serving.matching.duplicates import compare_people
from serving.matching.enrolment import enrol
from serving.matching.records import (
    DuplicatesPage,
    Enrolled,
    Enrolment,
    GalleryStatus,
    Matches,
    PeoplePage,
    Refused,
)
from serving.matching.search import nearest
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.settings import GallerySettings, MatchSettings, TracingSettings, TritonSettings
from serving.stages import calls, refs
from serving.stages.pool import Together, work
from serving.telemetry import replica
from serving.telemetry.metrics import GalleryGauges, StoreMetrics

log = logging.getLogger(__name__)

T = TypeVar("T")

_PRELOAD_TRIES = 5
# Of different photos in one search. More save nothing, and the other threads want some, too.
_PROBES = 16


def _one_core() -> None:
    faiss.omp_set_num_threads(1)


def _search(among: tuple[Snapshot, int], photos: Sequence[NDArray[np.float32]]) -> list[Matches]:
    snapshot, top_k = among
    return nearest(snapshot, photos, top_k)


@calls.stage
class Matcher:
    """The deployment. Each replica holds the galleries that were asked for last."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        settings: MatchSettings,
        gallery: GallerySettings,
        triton: TritonSettings,
        traces: TracingSettings,
    ) -> None:
        replica.start("match", traces)
        self._settings = settings
        self._gallery_settings = gallery
        # The one that was asked for last comes last.
        self._galleries: OrderedDict[Location, Gallery] = OrderedDict()
        self._store: Store | None = None
        self._opening = asyncio.Lock()
        self._problem: str | None = None
        self._gauges = GalleryGauges()
        self._keeping = asyncio.create_task(self._gauges.keep())
        self._observer = StoreMetrics()
        self._pool = ThreadPoolExecutor(
            settings.threads,
            thread_name_prefix="match",
            # One core a search: several searches share the replica's cores better than the threads
            # of one.
            initializer=_one_core,
        )
        self._searches = Together(self._pool, settings.threads, _search, _PROBES)
        # Apart from searching: a store that hangs must not keep the threads from answering.
        self._store_pool = ThreadPoolExecutor(
            settings.store_threads, thread_name_prefix="gallery", initializer=_one_core
        )
        # What takes seconds: one at a time, and never in a thread that identifies.
        self._long_pool = ThreadPoolExecutor(1, thread_name_prefix="long", initializer=_one_core)
        await self._preload(triton)

    async def _preload(self, triton: TritonSettings) -> None:
        """Load before the first request, so that no caller waits for it; if that can be done.

        Triton and the store may come up later than this replica. It then loads when asked.
        """
        embedder = Embedder(triton)
        try:
            for attempt in range(_PRELOAD_TRIES):
                try:
                    card = (await embedder.served()).card
                    default = self._gallery_settings.collection
                    gallery = await self._gallery(Location(default, card.id, card.dimension))
                    await self._follow(gallery, None)
                    return
                except ServingError as error:
                    self._problem = str(error)
                    log.warning("cannot load the gallery yet: %s", error)
                    await asyncio.sleep(0.2 * 2**attempt)
        finally:
            await embedder.close()

    async def identify(
        self,
        where: Location,
        probes: NDArray[np.float32],
        top_k: int,
        at_least: int | None,
    ) -> refs.Ref[Matches]:
        """The candidates of each probe, float32 (F, D).

        Args:
            where: the gallery; of the model that made the probes.
            at_least: the gallery's version when the request arrived; None: the store could not
                be asked, and what is in memory must do.
        """
        gallery = await self._gallery(where)
        snapshot = await self._snapshot(gallery, at_least)
        found = await self._searches.work((snapshot, top_k), probes)
        # A thousand faces with a hundred candidates each are more than a message.
        return await refs.put(found.result, found.result.nbytes, found.ms)

    async def enrol(self, where: Location, person: Enrolment) -> Enrolled | Refused:
        gallery = await self._gallery(where)
        settings = self._settings
        return await self._in(self._store_pool, lambda: enrol(gallery, person, settings))

    async def duplicates(
        self,
        where: Location,
        card: ModelCard,
        threshold: float | None,
        limit: int,
        after: int,
        at_least: int | None,
    ) -> refs.Ref[DuplicatesPage]:
        """See `compare_people`."""
        gallery = await self._gallery(where)
        snapshot = await self._snapshot(gallery, at_least)
        settings = self._settings
        page = await self._in(
            self._long_pool,
            lambda: compare_people(snapshot, card, threshold, limit, after, settings),
        )
        # With their metadata a thousand pairs are more than a message.
        return await refs.put(page)

    async def people(
        self, where: Location, limit: int, after: int, at_least: int | None
    ) -> PeoplePage:
        """A page of the people enrolled, in the order of their ids."""
        gallery = await self._gallery(where)
        snapshot = await self._snapshot(gallery, at_least)
        page = await self._in(self._pool, lambda: snapshot.list(limit, after))
        return PeoplePage(page, len(snapshot), snapshot.version)

    async def change(
        self, where: Location, operations: Sequence[Operation], require: Sequence[int]
    ) -> int:
        """Commit operations; see `Gallery.commit`."""
        gallery = await self._gallery(where)
        return await self._in(self._store_pool, lambda: gallery.commit(operations, require))

    async def erase(self, collection: str, person: int) -> list[Receipt]:
        """Remove a person's embeddings from the bucket; see `erase_everywhere`."""
        store = await self._checked_store()
        prefix = self._gallery_settings.prefix
        return await self._in(
            self._store_pool, lambda: erase_everywhere(store, prefix, collection, [person])
        )

    async def collections(self) -> list[Location]:
        """The galleries in the bucket."""
        store = await self._checked_store()
        prefix = self._gallery_settings.prefix
        return await self._in(self._store_pool, lambda: list(locate(store, prefix)))

    async def status(self, where: Location) -> GalleryStatus:
        """What this replica holds of the gallery, after it has looked for news.

        Whoever watches over the service does not wait for a store that hangs.
        """
        try:
            gallery = await self._gallery(where)
            snapshot = await self._soon(self._follow(gallery, None))
        except ServingError as error:
            self._problem = str(error)
            known = self._galleries.get(where)
            if known is None:
                return GalleryStatus(False, 0, 0, 0, self._problem)
            self._note(known, error)
            snapshot, loaded = known.snapshot, known.loaded
        else:
            loaded = True
        return GalleryStatus(
            loaded, snapshot.version, len(snapshot), snapshot.photos, self._problem
        )

    async def _gallery(self, where: Location) -> Gallery:
        if where not in self._galleries:
            try:
                store = await self._checked_store()
            except ServingError:
                if self._is_default(where):
                    self._gauges.unopened(where)
                raise
            # No await from here on, so two callers do not open it twice.
            if where not in self._galleries:
                prefix = self._gallery_settings.prefix
                self._galleries[where] = Gallery(store, prefix, where, observer=self._observer)
        self._galleries.move_to_end(where)
        while len(self._galleries) > self._settings.galleries:
            gone = self._least_wanted(where)
            del self._galleries[gone]
            self._gauges.forget(gone)
        return self._galleries[where]

    def _least_wanted(self, but: Location) -> Location:
        """One in which nobody ever was, for callers may make up as many as they like; or else the
        one that was asked for longest ago."""
        others = [where for where in self._galleries if where != but]
        held = self._galleries
        empty = (w for w in others if held[w].loaded and not held[w].snapshot.version)
        return next(empty, others[0])

    async def _checked_store(self) -> Store:
        async with self._opening:
            if self._store is None:
                self._store = await self._in(
                    self._store_pool, lambda: open_store(self._gallery_settings, self._observer)
                )
            return self._store

    async def _snapshot(self, gallery: Gallery, at_least: int | None) -> Snapshot:
        """The people of ``at_least``; None: of what is in memory, since the store is away."""
        if at_least is None and gallery.loaded:
            self._gauges.unconfirmed()
            return gallery.snapshot
        return await self._follow(gallery, at_least)

    async def _follow(self, gallery: Gallery, at_least: int | None) -> Snapshot:
        try:
            snapshot = await self._in(self._store_pool, lambda: gallery.refresh(at_least))
        except ServingError as error:
            self._note(gallery, error)
            if not isinstance(error, GalleryCorrupt) or not gallery.loaded:
                raise
            # The people who were read before the damage are as good as they were.
            log.error("serving version %d: %s", gallery.snapshot.version, error)
            return gallery.snapshot
        self._note(gallery, None)
        return snapshot

    async def _soon(self, work: Awaitable[T]) -> T:
        """The result of a look for news. Raises Unavailable when it takes too long; its thread
        then goes on, so that what is read for the first time is there in the end."""
        limit = self._gallery_settings.freshness_timeout_s
        try:
            return await asyncio.wait_for(work, limit)
        except asyncio.TimeoutError:
            raise Unavailable(
                f"The object store has not told what is new within {limit:g} s."
            ) from None

    def _note(self, gallery: Gallery, error: ServingError | None) -> None:
        self._problem = None if error is None else str(error)
        where = gallery.location
        # A collection that a caller made up must not become a label.
        exists = gallery.snapshot.version or isinstance(error, (GalleryCorrupt, ModelMismatch))
        if exists or self._is_default(where):
            self._gauges.show(where, gallery.snapshot, self._problem)

    def _is_default(self, where: Location) -> bool:
        return where.collection == self._gallery_settings.collection

    @staticmethod
    async def _in(pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return (await work(pool, call)).result
