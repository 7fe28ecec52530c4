"""Trails with a clock that a test sets, on a store in memory or another one, and records."""

from __future__ import annotations

import time
from typing import Any

from serving.gallery.store import DescribedStore
from serving.settings import AuditObjectSettings
from serving.trail.places import Places
from serving.trail.records import Record
from serving.trail.writer import Trail
from tests.support.memory_store import MemoryStore

DAY_S = 86_400.0
# 2026-11-29, at noon
NOON = 1_795_953_600.0
PREFIX = "audit"


class Watched:
    """A `serving.trail.writer.Watch` that counts."""

    def __init__(self) -> None:
        self.records = {"written": 0, "lost": 0}
        self.problem = False

    def written(self, records: int) -> None:
        self.records["written"] += records

    def lost(self, records: int) -> None:
        self.records["lost"] += records

    def state(self, waiting: int, problem: bool) -> None:
        self.problem = problem


class Trails:
    """Trails of one bucket, one after the other.

    Args:
        records: a bucket for the records alone.
    """

    def __init__(
        self,
        store: DescribedStore,
        prefix: str = PREFIX,
        *,
        records: DescribedStore | None = None,
    ) -> None:
        self.now = NOON
        self.places = Places(records or store, store, prefix)
        self.watched = Watched()

    def start(self, replica: str = "ingress", **settings: Any) -> Trail:
        """A trail that writes when it is flushed or closed, unless the settings say otherwise."""
        own = AuditObjectSettings(**{"enabled": True, "flush_s": 3600.0, **settings})
        return Trail(own, lambda: self.places, replica, self.watched, clock=lambda: self.now)

    def write(self, *batches: list[Record], **settings: Any) -> str:
        """A chain with an object for each batch, and its end; returns its name."""
        trail = self.start(**settings)
        for batch in batches:
            for record in batch:
                trail.add(record)
            assert trail.flush(10)
        trail.close(10)
        return trail.chain


class MemoryTrails(Trails):
    """On a store in memory, with the same clock."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        super().__init__(self.store)
        self.store.clock = lambda: self.now

    @property
    def keys(self) -> list[str]:
        """Of the objects of records, in order."""
        return sorted(k for k in self.store.objects if k.startswith(f"{PREFIX}/records/"))


def looked_up(person: int | None = 7, **more: Any) -> Record:
    """A record of an identification with one face, and 8 as its second candidate."""
    similarity = None if person is None else 0.75
    candidates = [{"id": person or 9, "similarity": 0.75}, {"id": 8, "similarity": 0.3}]
    face = {"id": person, "similarity": similarity, "candidates": candidates}
    return {
        "action": "identify",
        "outcome": "done",
        "key": "gate",
        "collection": "default",
        "ids": [] if person is None else [person],
        "gallery_version": 17,
        "request_id": "r-1",
        "began": "2026-11-29T11:59:59.000Z",
        "ended": "2026-11-29T12:00:00.000Z",
        "faces": 1,
        "model": "m@0123456789ab",
        "answers": [{"input": "ab" * 32, "threshold": 0.6, "faces": [face]}],
        **more,
    }


def wait_until(condition: Any, timeout_s: float = 10.0) -> None:
    """Until it holds; another thread makes it so."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)
