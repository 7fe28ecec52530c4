"""`faces audit`: searches, checks, exports and expires what the service has written."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from serving.gallery import Kind, Operation
from serving.gallery.retention import text_of
from serving.trail.inputs import hash_of
from tests.support.memory_store import MemoryStore
from tests.support.people import put
from tests.support.trails import MemoryTrails, looked_up
from tests.unit.cli.gallery.faces import Faces, gallery

ON = {"audit": {"objects": {"enabled": True}}}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def trails(store: MemoryStore) -> MemoryTrails:
    made = MemoryTrails(store)
    made.write([looked_up(7), looked_up(None, request_id="r-2", verifiers=["ann", "bob"])])
    return made


@pytest.fixture
def faces(tmp_path: Path, trails: MemoryTrails, store: MemoryStore) -> Faces:
    made = Faces(tmp_path, store)
    made.configure(**ON)
    made.group = "audit"
    return made


def test_search_prints_a_line_for_each_record(faces: Faces) -> None:
    assert faces("search").splitlines() == [
        "2026-11-29T12:00:00.000Z identify 7 in default version 17 by gate: done [r-1]",
        "2026-11-29T12:00:00.000Z identify - in default version 17 by gate: done "
        "verified by ann, bob [r-2]",
    ]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--person", "7"], ["r-1"]),
        (["--request-id", "r-2"], ["r-2"]),
        (["--since", "2026-11-29T12:00Z", "--until", "2026-11-30"], ["r-1", "r-2"]),
        (["--until", "2026-11-29"], []),
        (["--collection", "shop"], []),
        (["--key", "gate", "--action", "identify"], ["r-1", "r-2"]),
    ],
)
def test_search_takes_filters(faces: Faces, options: list[str], found: list[str]) -> None:
    lines = faces("search", "--json", *options).splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == found


def test_search_takes_a_photo(
    faces: Faces, trails: MemoryTrails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"photo")
    assert "FACES_AUDIT_KEY" in faces.fails("search", "--photo", photo)
    monkeypatch.setenv("FACES_AUDIT_KEY", "k" * 32)
    assert faces("search", "--photo", photo) == ""
    record = looked_up(7, request_id="r-3")
    record["answers"][0]["input"] = hash_of(b"photo", b"k" * 32)
    trails.write([record])
    (line,) = faces("search", "--photo", photo).splitlines()
    assert "[r-3]" in line


@pytest.mark.parametrize(
    "time", ["yesterday", "2026-02-30", "2026-11-29 10:00", "2026-11-29T10:00+02:00"]
)
def test_a_time_is_utc(faces: Faces, time: str) -> None:
    assert "is no time in UTC" in faces("search", "--since", time, code=2)


def test_export_writes_lines_of_json_to_a_new_file(faces: Faces, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    assert faces("export", file) == f"2 records written to {file}.\n"
    first, second = map(json.loads, file.read_text().splitlines())
    assert first == looked_up(7)
    assert second["verifiers"] == ["ann", "bob"]
    assert "File exists" in faces("export", file, code=1)


def test_an_export_that_fails_leaves_no_part(
    faces: Faces, trails: MemoryTrails, tmp_path: Path
) -> None:
    trails.store.put(trails.keys[1], b"damaged")
    file = tmp_path / "records.jsonl"
    assert "cannot be read" in faces.fails("export", file)
    assert not file.exists()


def test_verify_says_what_there_is(faces: Faces, trails: MemoryTrails) -> None:
    chain = trails.keys[0].split("/")[3]
    assert faces("verify") == f"{chain}: objects 1 to 2, 2 records, 0 lost, ended\n"


def test_verify_finds_what_was_removed_since_the_heads_were_noted(
    faces: Faces, trails: MemoryTrails, tmp_path: Path
) -> None:
    heads = tmp_path / "heads.json"
    heads.write_text(faces("verify", "--json"))
    assert "ended" in faces("verify", "--heads", heads)
    trails.store.delete(trails.keys[-1])
    assert "without an end" in faces("verify")
    assert "it ends with 1, and 2 was noted" in faces("verify", "--heads", heads, code=1)
    heads.write_text("[]")
    assert "is not what" in faces("verify", "--heads", heads, code=1)


def test_verify_fails_when_an_object_was_changed(faces: Faces, trails: MemoryTrails) -> None:
    first = trails.keys[0]
    trails.store.put(first, trails.store.get(first).data.replace(b'"gate"', b'"door"'))
    assert "object 1 was changed" in faces("verify", code=1)


def test_expire_removes_what_is_too_old(faces: Faces, trails: MemoryTrails) -> None:
    assert "0 objects and 0 pseudonyms' ids removed" in faces("expire")  # none is configured
    faces.configure(audit={"objects": {"enabled": True, "retention_days": 30}})
    trails.now = 0.0  # long ago
    trails.write([looked_up()])
    assert "2 objects older than" in faces("expire", "--dry-run")
    assert len(trails.keys) == 4
    assert "2 objects older than" in faces("expire")
    assert len(trails.keys) == 2
    assert faces("verify").startswith("What is older than")


def test_expire_does_nothing_where_no_objects_are_written(faces: Faces) -> None:
    faces.configure()
    assert "writes no objects" in faces("expire")


def test_forget_removes_the_ids(faces: Faces, trails: MemoryTrails) -> None:
    assert faces("forget", 7, 8) == "2 pseudonyms name nobody any more.\n"
    assert faces("search", "--person", "7") == ""
    assert len(faces("search").splitlines()) == 2


def test_an_erasure_by_command_forgets_in_the_audit_too(
    faces: Faces, trails: MemoryTrails, store: MemoryStore
) -> None:
    gallery(store).commit([put(7)])
    faces.group = "gallery"
    faces("erase", 7, "--yes")
    faces.group = "audit"
    assert faces("search", "--person", "7") == ""


@pytest.mark.parametrize("command", [("withdraw", 7, "--yes"), ("expire",)])
def test_so_does_the_end_of_a_retention(
    faces: Faces, trails: MemoryTrails, store: MemoryStore, command: tuple[object, ...]
) -> None:
    ended = {"expires_at": text_of(time.time() - 1)} if command == ("expire",) else None
    gallery(store).commit([put(7), Operation(Kind.DESCRIBE, 7, time.time(), details=ended or {})])
    faces.group = "gallery"
    assert '"ids": [\n      7' in faces.run(*command).stdout
    faces.group = "audit"
    assert faces("search", "--person", "7") == ""


def test_what_a_command_changes_is_recorded_as_a_chain_of_its_own(
    faces: Faces, store: MemoryStore
) -> None:
    gallery(store).commit([put(1), put(2), put(3)])
    faces.group = "gallery"
    faces("list")  # changes nothing
    faces("rename", 1, "Ada")
    faces("delete", 2, 3)
    faces.group = "audit"
    found = map(json.loads, faces("search", "--json").splitlines())
    by_command = [r for r in found if r["key"].startswith("cli:")]
    records = sorted(by_command, key=lambda r: str(r["ended"]))
    told = [(r["action"], r["ids"], r["collection"]) for r in records]
    assert told == [("describe", [1], "default"), ("delete", [2, 3], "default")]
    chains = json.loads(faces("verify", "--json"))["chains"]
    assert [c["ended"] for c in chains.values()] == [True] * 3  # with that of the fixture


def test_an_erasure_by_command_leaves_a_pseudonym_in_its_own_record(
    faces: Faces, store: MemoryStore
) -> None:
    gallery(store).commit([put(4711)])
    faces.group = "gallery"
    faces("erase", 4711, "--yes")
    faces.group = "audit"
    (line,) = faces("search", "--json", "--action", "erase").splitlines()
    assert json.loads(line)["ids"][0].startswith("p-")
