"""How new the gallery is: one question to the store for all requests that arrive together."""

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
from serving.settings import GallerySettings

log = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = 8  # questions at once, each for another gallery
_REMEMBERED = 1024  # galleries; of another one the whole manifest is read, and not a 304


class Shared(Generic[T]):
    """An asynchronous call whose result is shared by those who ask at the same time.

    Nobody gets the result of a call that began before he asked: who asks while one is under way
    waits for the next one, together with all who ask until that begins.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        # Shielded: one caller who goes away must not cancel it for the others.
        return await asyncio.shield(self._next)

    async def _after(self, previous: asyncio.Task[T] | None) -> T:
        if previous is not None and not previous.done():
            await asyncio.wait([previous])
        self._running, self._next = self._next, None
        return await self._call()


class Versions:
    """The versions of the galleries in the store.

    Args:
        store: what is asked; by default a client of the settings' own store.
    """

    def __init__(
        self, settings: GallerySettings, observer: Observer = NOBODY, store: Store | None = None
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._store = store
        # Of its own: a store that hangs must not take the threads that read requests.
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="version")
        self._shared: OrderedDict[Location, Shared[int | None]] = OrderedDict()

    async def now(self, where: Location) -> int | None:
        """The gallery's version; None while the store is away or slower than the settings allow.

        Identification then goes on from what is in memory.
        """
        if where not in self._shared:
            self._shared[where] = Shared(self._question(where))
        self._shared.move_to_end(where)
        shared = self._shared[where]
        if len(self._shared) > _REMEMBERED:
            self._shared.popitem(last=False)
        limit = self._settings.freshness_timeout_s
        try:
            return await asyncio.wait_for(shared(), limit)
        except asyncio.TimeoutError:
            log.warning("the store has not told the gallery's version within %g s", limit)
            return None

    def _question(self, where: Location) -> Callable[[], Awaitable[int | None]]:
        if self._store is None:
            # A question that nobody waits for any more must not keep the next one waiting.
            settings, limit = self._settings, self._settings.freshness_timeout_s
            hasty = {
                "connect_timeout_s": min(limit, settings.connect_timeout_s),
                "read_timeout_s": min(limit, settings.read_timeout_s),
            }
            self._store = connect(settings.model_copy(update=hasty), self._observer)
        file = ManifestFile(self._store, self._settings.prefix, where)

        async def ask() -> int | None:
            context = contextvars.copy_context()  # with the request's id and trace
            loop = asyncio.get_running_loop()
            try:
                manifest, _ = await loop.run_in_executor(self._pool, context.run, file.read)
            except Unavailable as error:
                log.warning("cannot ask for the gallery's version: %s", error)
                return None
            return manifest.version

        return ask
