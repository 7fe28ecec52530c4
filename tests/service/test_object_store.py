"""No photo outlives its request, in Ray's object store or on the disk; and a store that is full."""

from __future__ import annotations

import io
import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image

from serving.stack.config import StackSettings
from serving.stack.process import Process
from tests.support import leftovers
from tests.support.load import Answer, ask, replicas, stopped

PHOTOS = int(os.environ.get("FACES_PHOTOS", "200"))
CLIENTS = 4
# Decoded each takes 147 MB, so that 1 GiB holds seven of them.
SIDE, HUGE = 7000, 12


@contextmanager
def watched(processes: list[Process]) -> Iterator[set[str]]:
    """Files without a name that the stack had open meanwhile."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            seen.update(leftovers.unlinked(processes))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@pytest.mark.timeout(300)
def test_nothing_is_left_of_photos(stack: StackSettings, processes: list[Process]) -> None:
    began = time.time()
    leftovers.rest()
    before = leftovers.object_store(stack.port)
    photos = list(itertools.islice(leftovers.mixed(), PHOTOS))
    with (
        httpx.Client(base_url=stack.url, timeout=60) as client,
        ThreadPoolExecutor(CLIENTS) as pool,
        watched(processes) as unlinked,
    ):
        answered = list(pool.map(lambda photo: photo.send(client), photos))
    wrong = Counter(
        (photo.kind, status)
        for photo, status in zip(photos, answered, strict=True)
        # One that was to be given up may be faster than its caller.
        if status != photo.status and photo.status is not None
    )
    assert wrong == Counter()

    after, _ = leftovers.rested(stack.port, before)
    assert not after.holds_more(before), (before, after)
    assert after.spilled == after.on_disk == 0
    assert unlinked == set()
    where = leftovers.folders(processes[-1], stack.folder)
    assert leftovers.photos_on_disk(where, began) == []
    spilled = [f for folder in where for f in leftovers.files(folder) if "ray_spilled" in str(f)]
    assert [path for path in spilled if path.stat().st_mtime >= began] == []


def test_what_may_hold_photos_is_the_users_alone(
    stack: StackSettings, processes: list[Process]
) -> None:
    (scratch,) = (
        folder
        for folder in leftovers.folders(processes[-1], stack.folder)
        if folder.name.startswith("faces-")
    )
    assert scratch.stat().st_mode & 0o777 == 0o700
    assert (scratch / "ray" / "session_latest").exists()
    modes = leftovers.shared_memory(processes)
    assert modes  # Triton's
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


@pytest.fixture(scope="module")
def huge() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.timeout(300)
def test_a_store_that_is_full_refuses_at_once(
    stack: StackSettings, processes: list[Process], huge: bytes, data: Path
) -> None:
    (detector,) = replicas(processes[-1].pid, "detect")
    answers: list[Answer] = []

    def send(person: int) -> None:
        # Look-ups would be refused before, since they would have to wait too long.
        with httpx.Client(base_url=stack.url, timeout=120) as client:
            answers.append(ask(client, "enrol", huge, person))

    threads = [threading.Thread(target=send, args=(person,)) for person in range(HUGE)]
    # What is decoded waits for it.
    with stopped(detector):
        for thread in threads:
            thread.start()
        # Serve takes one that does not answer for half a minute for dead.
        full = time.monotonic() + 20
        while time.monotonic() < full and len(answers) < 3:
            time.sleep(0.1)
        refused = list(answers)
    for thread in threads:
        thread.join()
    assert refused, "the store was not full"
    assert {answer.kind for answer in refused} == {"503 no-room"}
    assert {answer.retry_after for answer in refused} == {1}
    assert {answer.kind for answer in answers} == {"422 no-usable-face", "503 no-room"}
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        photo = (data / "id_is_2576.jpg").read_bytes()
        assert ask(client, "identify", photo).kind == "200"
