"""`faces events`: what was given up is listed, queued again or removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.events.queue import Queue
from tests.support.events import made
from tests.support.memory_store import MemoryStore
from tests.unit.cli.gallery.faces import Faces


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def queue(store: MemoryStore) -> Queue:
    queue = Queue(store, "events", lambda: 1_796_000_000.0)
    for person in (7, 8):
        queue.bury(made(person), 1_795_900_000.0 + person, 30, "status 500\x1b[2J")
    return queue


@pytest.fixture
def faces(tmp_path: Path, store: MemoryStore, queue: Queue) -> Faces:
    made = Faces(tmp_path, store)
    made.configure()
    made.group = "events"
    return made


def test_what_was_given_up_is_listed(faces: Faces) -> None:
    first, second = faces("dead").splitlines()
    assert first.startswith(f"1795900007000-{made(7)['id']} faces.person.enrolled of 7 in ")
    assert "after 30 tries: status 500" in second
    assert "\x1b" not in second
    told = [json.loads(line) for line in faces("dead", "--json").splitlines()]
    assert [t["event"] for t in told] == [made(7), made(8)]


def test_it_is_queued_again_and_removed(faces: Faces, queue: Queue) -> None:
    first, second = (line.split()[0] for line in faces("dead").splitlines())
    assert faces("redeliver", first) == "1 events are queued again.\n"
    (key,) = queue.listed()
    found = queue.read(key)
    assert found is not None
    assert list(found.events) == [made(7)]
    assert faces("discard", "--all") == "1 events are removed.\n"
    assert faces("dead") == ""
    assert len(queue.listed()) == 1
    assert f"no event {second}" in faces.fails("discard", second)


def test_which_ones_has_to_be_said(faces: Faces) -> None:
    assert "Give names, or --all." in faces("redeliver", code=2)
    assert "Give names, or --all." in faces("discard", "a", "--all", code=2)
