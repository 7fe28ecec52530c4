"""A gallery in memory, and a store that is unavailable."""

from __future__ import annotations

from serving.errors import Unavailable
from serving.gallery import Gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import LOCATION


def open_gallery(store: MemoryStore) -> Gallery:
    """The gallery at `LOCATION`."""
    return Gallery(store, "galleries", LOCATION, sleep=lambda s: None)


def away(request: str, key: str) -> None:
    """For `MemoryStore.before`."""
    raise Unavailable("The store is away.")
