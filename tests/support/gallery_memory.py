"""What a matcher's galleries take at rest, in a reload while it serves, and in an erasure.

    python -m tests.support.gallery_memory FOLDER PERSON [VECTORS]

measures it in a process of its own, over the gallery that `fill` has written to a folder; with
vectors on disk in a third one.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.gallery import Gallery, Kind, Operation, Segment
from serving.gallery import objects as segment_objects
from serving.gallery.compaction import compact
from serving.gallery.disk import Disk
from serving.gallery.erasure import erase_everywhere
from serving.gallery.limits import Limits
from serving.gallery.location import Location
from serving.gallery.store import Store
from serving.gallery.stored import StoredGallery
from tests.support.folder_store import FolderStore
from tests.support.memory import Peak, memory_mib

LOCATION = Location("default", "facenet-test@0123456789ab", 512)
PREFIX = "galleries"


def rows(count: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors, made quickly."""
    made = np.random.default_rng(seed).random((count, LOCATION.dimension), np.float32) - 0.5
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def fill(store: Store, people: int, at_once: int) -> None:
    """Import named people with one photo each, in segments of so many."""

    def segments() -> Iterator[Segment]:
        for start in range(0, people, at_once):
            ids = np.arange(start, min(start + at_once, people))
            times = np.full(len(ids), time.time())
            yield Segment.of_people(
                Kind.PUT,
                ids,
                np.ones(len(ids), np.int32),
                rows(len(ids), start),
                created=times,
                updated=times,
                details=[{"name": f"Person {n}"} for n in ids.tolist()],
            )

    Gallery(store, PREFIX, LOCATION).commit_segments(segments)


def measure(
    store: Store, location: Location, limits: Limits, person: int, disk: Disk | None = None
) -> dict[str, float]:
    """Load the gallery; load it anew while it serves; erase a person; as a matcher does."""
    figures = {"bare_mib": memory_mib("VmRSS")}
    anonymous = memory_mib("RssAnon")
    gallery = Gallery(store, PREFIX, location, limits=limits, disk=disk)
    with Peak() as loading:
        people = len(gallery.refresh())
    figures |= {"load_mib": loading.mib, "load_s": loading.seconds}
    figures["rest_mib"] = memory_mib("VmRSS") - figures["bare_mib"]
    # What the system cannot drop.
    figures["anonymous_mib"] = memory_mib("RssAnon") - anonymous
    figures["bytes_a_person"] = figures["rest_mib"] * 2**20 / people

    # A compaction folds what the matcher has read with what it has not.
    writer, keeper = Gallery(store, PREFIX, location), StoredGallery(store, PREFIX, location)
    new = time.time_ns()
    for n in range(4):
        writer.commit([Operation(Kind.PUT, new + n, time.time(), rows(1, n))])
        if n == 1:
            gallery.refresh()
    compact(keeper)
    with _searching(gallery), Peak() as reloading:
        assert len(gallery.refresh()) == people + 4
    figures |= {"reload_mib": reloading.mib, "reload_s": reloading.seconds}

    with _searching(gallery), Peak() as erasing:
        erased = erase_everywhere(
            store, PREFIX, location.collection, [person], lambda location: gallery.owners
        )
        assert person not in gallery.refresh()
    assert erased.receipts[0].embeddings == 1
    return figures | {"erase_mib": erasing.mib, "erase_s": erasing.seconds}


@contextmanager
def _searching(gallery: Gallery) -> Iterator[None]:
    """One search after the other, each in the newest people."""
    stop, probes, failures = threading.Event(), rows(1, 7), list[BaseException]()

    def search() -> None:
        try:
            while not stop.is_set():
                assert gallery.snapshot.search(probes, 1).ids.shape == (1, 1)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures


def main() -> None:
    folder, person = Path(sys.argv[1]), int(sys.argv[2])
    disk = Disk(Path(sys.argv[3]), 2**40) if sys.argv[3:] else None
    # As much smaller than in production as the gallery is.
    segment_objects._AHEAD_BYTES = 8 * 2**20
    limits = Limits(segment_bytes=4 * 2**20)
    print(json.dumps(measure(FolderStore(folder), LOCATION, limits, person, disk)))


if __name__ == "__main__":
    main()
