"""`faces gallery compact`, `sweep` and `check`, on a bucket in memory."""

from __future__ import annotations

import json

import pytest

from serving.errors import StoreUnfit
from serving.gallery.store import StoredObject
from tests.support.memory_store import MemoryStore
from tests.support.people import MODEL, put
from tests.unit.cli.gallery.faces import OTHER, Faces, gallery


def test_what_is_kept_in_order_are_all_galleries(faces: Faces, store: MemoryStore) -> None:
    for collection in ("default", "staff"):
        for n in range(3):
            gallery(store, OTHER, collection).commit([put(n)])
    out = faces("compact").splitlines()
    assert [line.partition(":")[0] for line in out] == [
        f"default/{OTHER}",
        f"default/{MODEL}",
        f"staff/{OTHER}",
    ]
    assert "3 segments before, 1 after" in out[0]
    assert "1 segments before, 1 after" in out[1]
    assert "0 objects of 0 bytes would be removed" in faces("sweep", "--dry-run")
    dry = faces("sweep", "--grace", 0, "--dry-run", "--collection", "staff")
    assert dry.count("\n") == 1
    assert "4 objects" in dry  # the segments, and the list of them that a compaction leaves
    assert dry.replace("would be removed", "removed") == faces(
        "sweep", "--grace", 0, "--collection", "staff"
    )
    assert faces("check").count("no problems") == 3


def test_a_damaged_gallery_is_told_and_the_others_are_looked_at(
    faces: Faces, store: MemoryStore
) -> None:
    gallery(store, OTHER).commit([put(1)])
    (key,) = (k for k in store.objects if "/segments/" in k and OTHER in k)
    store.objects[key] = StoredObject(b"damaged", '"x"')
    out = faces("check", code=1)
    assert f"{key} is damaged" in out
    assert f"default/{MODEL}: version 1" in out
    assert "no problems" in out
    checks = json.loads(faces.run("check", "--json").stdout)
    assert len(checks[f"default/{OTHER}"]["problems"]) == 1
    assert checks[f"default/{MODEL}"]["problems"] == []


def test_one_that_fails_does_not_keep_the_others_from_it(faces: Faces, store: MemoryStore) -> None:
    for n in range(3):
        gallery(store, OTHER).commit([put(n)])
    (key, *_) = (k for k in store.objects if "/segments/" in k and OTHER in k)
    store.objects[key] = StoredObject(b"damaged", '"x"')
    out = faces("compact", code=1)
    assert f"default/{OTHER}: The gallery's object {key} is damaged" in out
    assert f"default/{MODEL}: 1 segments before" in out


@pytest.mark.parametrize("command", ["compact", "sweep", "check"])
def test_a_manifest_that_cannot_be_read_does_not_keep_the_others_from_it(
    faces: Faces, store: MemoryStore, command: str
) -> None:
    store.put(f"galleries/default/{OTHER}/manifest.json", b"{")

    def refuse(request: str, key: str) -> None:
        if key == "galleries/locked/facenet-x@1/manifest.json":
            raise StoreUnfit("The bucket refuses these keys.")

    store.put("galleries/locked/facenet-x@1/manifest.json", b"?")
    store.before = refuse
    out = faces(command, code=1)
    assert f"default/{OTHER}: The manifest" in out
    assert "locked/facenet-x@1: The bucket refuses" in out
    assert f"default/{MODEL}: " in out
    assert f"default/{MODEL}: " in faces(command, "--model", MODEL)


@pytest.mark.parametrize("command", ["compact", "sweep", "check"])
def test_before_anybody_is_enrolled_there_is_nothing_to_keep_in_order(
    faces: Faces, store: MemoryStore, command: str
) -> None:
    store.objects.clear()
    assert "holds no gallery of any collection" in faces(command)
    assert "no gallery of staff" in faces(command, "--collection", "staff", code=1)


def test_what_cannot_be_compacted_is_swept_all_the_same(faces: Faces, store: MemoryStore) -> None:
    gallery(store, OTHER).commit([put(1)])
    for n in range(3):
        gallery(store).commit([put(10 + n)])
    key = next(k for k in store.objects if f"{MODEL}/segments/" in k)
    for model in (MODEL, OTHER):
        store.put(f"galleries/default/{model}/segments/{'a' * 32}.safetensors", b"left")
    del store.objects[key]
    out = faces("sweep", "--compact", "--grace", 0, code=1)
    assert f"default/{MODEL}: The gallery's object {key} is missing" in out
    assert not [k for k in store.objects if "a" * 32 in k]
    assert "--compact or --dry-run" in faces("sweep", "--compact", "--dry-run", code=2)
