"""A gallery in a bucket with a clock, for the tests of what works on the bucket alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from serving.gallery import Gallery
from serving.gallery.manifest import Manifest
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.stored import StoredGallery
from tests.support.memory_store import MemoryStore
from tests.support.people import (
    LOCATION,
    MANIFEST,
    whole_manifest,
)
from tests.unit.gallery.beside import AtOnce


class Bucket:
    """A bucket with a clock, and what one does with it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.now = 1000.0
        self.store.clock = lambda: self.now

    def gallery(self) -> Gallery:
        return Gallery(*self._which(), **self._how())

    def stored(self) -> StoredGallery:
        return StoredGallery(*self._which(), **self._how())

    def write(self, *commits: Operation) -> None:
        for operation in commits:
            self.gallery().commit([operation])

    def people(self) -> list[int]:
        return [p.id for p in self.gallery().refresh().list(1000)]

    def manifest(self) -> Manifest:
        return whole_manifest(self.store, self.store.objects[MANIFEST].data)

    def segments(self) -> list[str]:
        return [k for k in self.store.objects if "/segments/" in k]

    def holds(self, rows: Any) -> bool:
        """Whether any object holds one of these embeddings."""
        wanted = {row.tobytes() for row in np.asarray(rows, np.float16)}
        return any(
            row.tobytes() in wanted
            for key in self.segments()
            for row in Segment.from_bytes(self.store.objects[key].data).embeddings
        )

    def meanwhile(self, number: int, request: str, do: Callable[[], Any]) -> None:
        """Before the ``number``-th such request from now, do something else."""
        numbers = itertools.count(1)

        def before(name: str, key: str) -> None:
            if name == request and next(numbers) == number:
                self.store.before = lambda name, key: None
                do()

        self.store.before = before

    def _which(self) -> tuple[Any, ...]:
        return self.store, "galleries", LOCATION

    def _how(self) -> dict[str, Any]:
        return {"clock": lambda: self.now, "sleep": lambda s: None, "executor": AtOnce}


def delete(person: int) -> Operation:
    return Operation(Kind.DELETE, person, 5.0)


def merge(person: int, *sources: int) -> Operation:
    return Operation(Kind.MERGE, person, 5.0, sources=sources)
