"""Freshness of the galleries: one look at the store for all requests that arrive together."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from serving.errors import Unavailable
from serving.gallery.location import Location
from serving.gallery.manifest_file import ManifestFile
from serving.gallery.observer import NOBODY, Observer
from serving.gallery.s3 import connect
from serving.gallery.store import Store
from serving.gallery.version import Version
from serving.settings import GallerySettings

log = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = 8  # looks at once, each at another gallery
_REMEMBERED = 1024  # galleries; a look at any other reads its whole manifest, instead of a 304


class Shared(Generic[T]):
    """An asynchronous call whose result is shared by callers that arrive at the same time.

    A caller never gets the result of a call that started before it asked. Callers that arrive while
    a call runs share the next one.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        # Shielded: a caller that goes away must not cancel it for the others.
        return await asyncio.shield(self._next)

    async def _after(self, previous: asyncio.Task[T] | None) -> T:
        if previous is not None and not previous.done():
            await asyncio.wait([previous])
        self._running, self._next = self._next, None
        return await self._call()


class Versions:
    """The versions of the galleries in the store.

    Args:
        connect: makes the client of the store; called in a thread, before the first look.
    """

    def __init__(
        self,
        settings: GallerySettings,
        observer: Observer = NOBODY,
        *,
        connect: Callable[[GallerySettings, Observer], Store] = connect,
    ) -> None:
        self._settings = settings
        # A look that nobody waits for any more must not keep the next one waiting.
        limit = settings.freshness_timeout_s
        hasty = settings.model_copy(
            update={
                "connect_timeout_s": min(limit, settings.connect_timeout_s),
                "read_timeout_s": min(limit, settings.read_timeout_s),
            }
        )
        self._connect = lambda: connect(hasty, observer)
        self._store: Store | None = None
        self._connecting = asyncio.Lock()
        # A pool of its own: a store that hangs must not take the threads that read requests.
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="version")
        self._shared: OrderedDict[Location, Shared[Version | None]] = OrderedDict()

    async def now(self, location: Location) -> Version | None:
        """The gallery's version in the store; None when the store is away or too slow.

        Identification then uses what is in memory.
        """
        store = await self._opened()
        if location not in self._shared:
            self._shared[location] = Shared(self._look(store, location))
        self._shared.move_to_end(location)
        shared = self._shared[location]
        if len(self._shared) > _REMEMBERED:
            self._shared.popitem(last=False)
        limit = self._settings.freshness_timeout_s
        try:
            return await asyncio.wait_for(shared(), limit)
        except asyncio.TimeoutError:
            log.warning("the store has not answered with the gallery's version within %g s", limit)
            return None

    async def _opened(self) -> Store:
        """The client of the store. Making it takes a while, but no request: it has no limit."""
        async with self._connecting:
            if self._store is None:
                loop = asyncio.get_running_loop()
                self._store = await loop.run_in_executor(self._pool, self._connect)
            return self._store

    def _look(self, store: Store, location: Location) -> Callable[[], Awaitable[Version | None]]:
        file = ManifestFile(store, self._settings.prefix, location)

        async def look() -> Version | None:
            context = contextvars.copy_context()  # with the request's id and trace
            loop = asyncio.get_running_loop()
            try:
                manifest, _ = await loop.run_in_executor(self._pool, context.run, file.read)
            except Unavailable as error:
                log.warning("cannot read the gallery's version: %s", error)
                return None
            return manifest.at

        return look
