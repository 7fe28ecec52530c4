"""`faces gallery restore`, on a bucket in memory."""

from __future__ import annotations

from tests.support.memory_store import MemoryStore
from tests.support.people import MANIFEST
from tests.unit.cli.gallery.faces import OTHER, Faces, people


def test_a_version_is_brought_back(faces: Faces, store: MemoryStore) -> None:
    faces("delete", 1)
    assert "version 2, by those of version 1?" in faces(
        "restore", "--version", 1, code=1, typed="n\n"
    )
    assert list(people(store)) == [2, 3]
    assert "its version is 3" in faces("restore", "--version", 1, "--yes")
    assert list(people(store)) == [1, 2, 3]
    assert "1 to 3" in faces.fails("restore", "--version", 9)


def test_a_manifest_of_a_backup(faces: Faces, store: MemoryStore) -> None:
    file = faces.folder / "manifest.json"
    file.write_bytes(store.objects[MANIFEST].data)
    faces("delete", "--all", "--yes")
    del store.objects[MANIFEST]
    assert "its version is 2" in faces("restore", file, "--yes")
    assert list(people(store)) == [1, 2, 3]
    assert f"not of {OTHER}" in faces.fails("restore", file, "--model", OTHER)
    file.write_text("{}")
    assert "no manifest" in faces.fails("restore", file, "--yes")
    assert "or --version" in faces("restore", code=2)
