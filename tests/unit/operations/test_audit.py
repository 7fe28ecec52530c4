"""A line and an entry in the manifest for every command that writes."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest

from serving.gallery import Gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import LOCATION, MANIFEST, put, whole_manifest
from tests.unit.cli.gallery.faces import Faces

COMMANDS: dict[str, tuple[list[object], list[int]]] = {
    "describe": (["rename", 2, "Bob"], [2]),
    "merge": (["merge", 1, 2], [1, 2]),
    "delete": (["delete", 1, 2], [1, 2]),
    "delete-all": (["delete", "--all", "--yes"], []),
    "erase": (["erase", 2, "--yes"], [2]),
    "restore": (["restore", "--version", 1, "--yes"], []),
    "compact": (["compact"], []),
    "sweep": (["sweep", "--grace", 0], []),
}


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for people in ([put(1, name="Ada")], [put(2)], [put(3)]):
        Gallery(store, "galleries", LOCATION).commit(people)
    key = MANIFEST.replace("manifest.json", f"segments/{'a' * 32}.safetensors")
    store.put(key, b"left")
    return store


@pytest.mark.parametrize("action", COMMANDS)
def test_a_command_leaves_a_line_and_an_entry(
    action: str, store: MemoryStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words, ids = COMMANDS[action]
    Faces(tmp_path, store)(*words)
    who = f"cli:{getpass.getuser()}"
    (line,) = [vars(r) for r in caplog.records if r.name == "faces.audit"]
    told: dict[str, Any] = {"action": action, "who": who, "ids": ids, "collection": "default"}
    assert told.items() <= line.items()
    assert "Ada" not in str(line)
    acts = [
        (act.action, act.who)
        for commit in whole_manifest(store, store.objects[MANIFEST].data).commits
        for act in commit.acts
    ]
    assert (action, who) in acts


@pytest.mark.parametrize("words", [["list"], ["show", 1], ["check"], ["sweep", "--dry-run"]])
def test_a_command_that_only_looks_leaves_none(
    words: list[object], store: MemoryStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Faces(tmp_path, store)(*words)
    assert [r for r in caplog.records if r.name == "faces.audit"] == []
