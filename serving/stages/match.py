"""The match stage: embeddings -> the nearest people of a gallery; and changes of galleries."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.errors import ServingError
from serving.gallery import Operation, Snapshot
from serving.gallery.disk import Disk
from serving.gallery.erasure import Erasure, erase_everywhere
from serving.gallery.location import Location, names, open_store
from serving.gallery.observer import Observer
from serving.gallery.store import Store
from serving.matching import corrections, faces, quota, retention
from serving.matching.corrections import Move, PhotosOf, Tell, Undo, Undone
from serving.matching.duplicates import compare_people
from serving.matching.enrolment import enrol
from serving.matching.faces import Alike, FacesPage, Removal
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
from serving.matching.subjects import Renamed, enrol_subject, people_of, rename
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.settings import GallerySettings, MatchSettings, TracingSettings, TritonSettings
from serving.stages import calls, proxy, refs
from serving.stages.galleries import Galleries
from serving.stages.pool import Bounded, Together, work
from serving.telemetry import replica
from serving.telemetry.metrics import GalleryGauges, StoreMetrics

log = logging.getLogger(__name__)

T = TypeVar("T")

_PRELOAD_TRIES = 5
# Probes of different photos in one search. More save nothing, and other threads need work, too.
_PROBES = 16


def _one_core() -> None:
    faiss.omp_set_num_threads(1)


@calls.stage
class Matcher:
    """The deployment, a `serving.stages.interfaces.Match`. Each replica holds the galleries that
    were asked for last.

    Args:
        connect: opens the bucket of the settings.
        embedder: makes the client of Triton that reads the model's card before the first request.
        gauges: makes the metrics of the galleries that are held.
        preload_tries: attempts to load the default gallery at the start.
        clock: seconds since 1970; each look-up compares with it whose retention has ended.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        settings: MatchSettings,
        gallery: GallerySettings,
        triton: TritonSettings,
        traces: TracingSettings,
        *,
        connect: Callable[[GallerySettings, Observer], Store] = open_store,
        embedder: Callable[[TritonSettings], Embedder] = Embedder,
        gauges: Callable[[], GalleryGauges] = GalleryGauges,
        preload_tries: int = _PRELOAD_TRIES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        replica.start("match", traces)
        self._settings = settings
        self._gallery_settings = gallery
        self._clock = clock
        self._observer = StoreMetrics()
        self._pool = ThreadPoolExecutor(
            settings.threads,
            thread_name_prefix="match",
            # One core a search: several searches share the replica's cores better than the threads
            # of one.
            initializer=_one_core,
        )
        self._searches = Together(self._pool, settings.threads, self._search, _PROBES)
        # Apart from searching: a store that hangs must not keep the threads from answering.
        self._store_pool = ThreadPoolExecutor(
            settings.store_threads, thread_name_prefix="gallery", initializer=_one_core
        )
        # What takes seconds and memory: one at a time, and never in a thread that identifies.
        self._duplicates = Bounded(
            ThreadPoolExecutor(1, thread_name_prefix="long", initializer=_one_core),
            settings.long_calls,
            "Other searches for duplicates are under way; try again in a moment.",
        )
        self._erasures = Bounded(
            ThreadPoolExecutor(1, thread_name_prefix="erasure", initializer=_one_core),
            settings.long_calls,
            "Other erasures are under way; try again in a moment.",
        )
        self._corrections = Bounded(
            ThreadPoolExecutor(1, thread_name_prefix="correction", initializer=_one_core),
            settings.long_calls,
            "Other corrections are under way; try again in a moment.",
        )
        shown = gauges()
        self._keeping = asyncio.create_task(shown.keep())
        self._galleries = Galleries(
            gallery,
            settings.galleries,
            settings.memory_bytes,
            lambda: connect(gallery, self._observer),
            self._store_pool,
            shown,
            self._observer,
            _disk(settings),
        )
        await self._preload(embedder(triton), preload_tries)
        await asyncio.to_thread(proxy.wait)

    async def _preload(self, embedder: Embedder, tries: int) -> None:
        """Load the default gallery before the first request, so that no caller waits for it.

        Triton and the store may come up later than this replica; it then loads when asked.
        """
        try:
            for attempt in range(tries):
                try:
                    card = (await embedder.served()).card
                    default = self._gallery_settings.collection
                    await self._galleries.load(Location(default, card.id, card.dimension))
                    return
                except ServingError as error:
                    log.warning("cannot load the gallery yet: %s", error)
                    await asyncio.sleep(0.2 * 2**attempt)
        finally:
            await embedder.close()

    async def identify(
        self,
        location: Location,
        probes: NDArray[np.float32],
        top_k: int,
        at_least: int | None,
    ) -> refs.Ref[Matches]:
        snapshot = await self._galleries.snapshot(location, at_least)
        matches = await self._searches.work((snapshot, top_k), probes)
        # A thousand faces with a hundred candidates each are more than a message.
        return refs.made(matches.result, matches.result.nbytes, matches.ms)

    def _search(
        self, among: tuple[Snapshot, int], photos: Sequence[NDArray[np.float32]]
    ) -> list[Matches]:
        snapshot, top_k = among
        return nearest(snapshot, photos, top_k, self._clock())

    async def enrol(self, location: Location, enrolment: Enrolment) -> Enrolled | Refused:
        await self._galleries.snapshot(location, 0)  # so that it is read there, and counted
        gallery = await self._galleries.gallery(location)
        settings = self._settings
        write = enrol_subject if enrolment.by_name else enrol
        return await _in(self._store_pool, lambda: write(gallery, enrolment, settings))

    async def duplicates(
        self,
        location: Location,
        card: ModelCard,
        threshold: float | None,
        limit: int,
        after: int,
        at_least: int | None,
    ) -> refs.Ref[DuplicatesPage]:
        settings = self._settings
        with self._duplicates.place() as place:
            snapshot = await self._galleries.snapshot(location, at_least)
            page = await place.work(
                lambda: compare_people(
                    snapshot, card, threshold, limit, after, settings, now=self._clock()
                )
            )
        # With their metadata a thousand pairs are more than a message.
        return refs.made(page.result)

    async def people(
        self,
        location: Location,
        limit: int,
        after: int,
        at_least: int | None,
        ending: float | None = None,
    ) -> PeoplePage:
        snapshot = await self._galleries.snapshot(location, at_least)

        def page() -> PeoplePage:
            people = snapshot if ending is None else snapshot.ending(ending)
            return PeoplePage(people.list(limit, after), len(people), snapshot.version)

        return await _in(self._pool, page)

    async def change(
        self,
        location: Location,
        operations: Sequence[Operation],
        require: Sequence[int],
        default_end: str | None = None,
    ) -> int:
        gallery = await self._galleries.gallery(location)
        most = self._settings.max_people

        def change() -> int:
            quota.check(gallery, operations, most)
            if default_end is None:
                return retention.commit(gallery, operations, require)
            (operation,) = operations
            return retention.commit_with_end(gallery, operation, default_end)

        return await _in(self._store_pool, change)

    async def photos(self, location: Location, person: int) -> PhotosOf:
        gallery = await self._galleries.gallery(location)
        return await self._correct(lambda: corrections.photos(gallery, person))

    async def move(self, location: Location, move: Move) -> int:
        await self._galleries.snapshot(location, 0)  # so that it is read there, and counted
        gallery = await self._galleries.gallery(location)
        most = self._settings.max_people
        return await self._correct(lambda: corrections.move(gallery, move, most))

    async def undo(self, location: Location, undo: Undo) -> Undone:
        await self._galleries.snapshot(location, 0)
        gallery = await self._galleries.gallery(location)
        most = self._settings.max_people
        return await self._correct(lambda: corrections.undo(gallery, undo, most))

    async def tell(self, location: Location, tell: Tell) -> int:
        await self._galleries.snapshot(location, 0)
        gallery = await self._galleries.gallery(location)
        return await _in(self._store_pool, lambda: corrections.tell(gallery, tell))

    async def _correct(self, call: Callable[[], T]) -> T:
        with self._corrections.place() as place:
            return (await place.work(call)).result

    async def named(self, location: Location, subject: str) -> PeoplePage:
        await self._galleries.snapshot(location, 0)
        gallery = await self._galleries.gallery(location)

        def find() -> PeoplePage:
            people = gallery.refresh()
            return PeoplePage(people_of(people, subject), len(people), people.version)

        return await _in(self._store_pool, find)

    async def rename(self, location: Location, subject: str, new: str) -> Renamed:
        await self._galleries.snapshot(location, 0)
        gallery = await self._galleries.gallery(location)
        return await _in(self._store_pool, lambda: rename(gallery, subject, new))

    async def faces(
        self, location: Location, subject: str | None, first: int, limit: int
    ) -> FacesPage:
        await self._galleries.snapshot(location, 0)
        gallery = await self._galleries.gallery(location)
        return await self._correct(lambda: faces.page(gallery, subject, first, limit))

    async def remove(self, location: Location, removal: Removal) -> int:
        gallery = await self._galleries.gallery(location)
        return await self._correct(lambda: faces.remove(gallery, removal))

    async def alike(
        self, location: Location, person: int, photo: str, probes: NDArray[np.float32]
    ) -> Alike:
        gallery = await self._galleries.gallery(location)
        return await self._correct(lambda: faces.alike(gallery, person, photo, probes))

    async def erase(self, collection: str, person: int) -> Erasure:
        prefix = self._gallery_settings.prefix
        with self._erasures.place() as place:
            store = await self._galleries.store()
            known = self._galleries.owners
            receipts = await place.work(
                lambda: erase_everywhere(store, prefix, collection, [person], known)
            )
        return receipts.result

    async def collections(self) -> list[tuple[str, str]]:
        store = await self._galleries.store()
        prefix = self._gallery_settings.prefix
        return await _in(self._store_pool, lambda: list(names(store, prefix)))

    async def status(self, location: Location) -> GalleryStatus:
        return await self._galleries.status(location)


def _disk(settings: MatchSettings) -> Disk | None:
    """Where the vectors lie; None: in memory."""
    if settings.vectors == "memory":
        return None
    return Disk(Path(settings.vectors_folder), settings.vectors_bytes)


async def _in(pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    return (await work(pool, call)).result
