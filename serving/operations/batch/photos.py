"""The photos below a prefix, page by page: the keys of a million of them are never in memory."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from serving.errors import StoreUnfit
from serving.gallery.store import DescribedStore, Entry
from serving.operations.folders import SUFFIXES


@dataclass(frozen=True)
class Photo:
    """A photo; ``passed_over`` objects before it, since the last photo, are none."""

    entry: Entry
    passed_over: int


class Photos:
    """Iterates once over the photos whose keys follow ``after``, in the store's order of keys.

    Attributes:
        passed_over: objects since the last photo that are none, at the end of the iteration.

    Raises:
        StoreUnfit: the store does not list keys in their order, or does not go on after a key, so
            photos would come twice, or the listing would never end.
        Unavailable: the store is away.
    """

    def __init__(self, store: DescribedStore, prefix: str, after: str = "") -> None:
        self._store = store
        self._prefix = prefix
        self._after = after
        self.passed_over = 0

    def __iter__(self) -> Iterator[Photo]:
        for entry in entries(self._store, self._prefix, self._after):
            if not is_photo(entry.key):
                self.passed_over += 1
                continue
            yield Photo(entry, self.passed_over)
            self.passed_over = 0


def entries(store: DescribedStore, prefix: str, after: str = "") -> Iterator[Entry]:
    """The objects below a prefix whose keys follow ``after``, a page at a time."""
    before = {after}
    # A store need not list keys in the order of their bytes (SeaweedFS does not, beside folders),
    # but what follows a page must not have been in it.
    while page := store.page(prefix, after):
        if any(entry.key in before for entry in page):
            raise StoreUnfit(
                "The object store lists objects again that it has listed already: it ignores "
                "StartAfter, or has no order of keys."
            )
        before = {entry.key for entry in page}
        yield from page
        after = page[-1].key


def is_photo(key: str) -> bool:
    """As `serving.operations.folders` takes a file for a photo by its name."""
    # Not pathlib, which interns each part of a path: a million keys leave their mark.
    name = posixpath.basename(key)  # empty for the key that some tools write for a folder
    return not name.startswith(".") and posixpath.splitext(name)[1].lower() in SUFFIXES
