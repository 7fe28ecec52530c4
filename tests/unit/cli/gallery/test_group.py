"""Which gallery and which keys the commands of `faces gallery` use."""

from __future__ import annotations

import pytest

from serving.stack.credentials import credentials
from tests.support.memory_store import MemoryStore
from tests.support.people import put
from tests.unit.cli.gallery.faces import OTHER, Faces, gallery, people


def test_another_collection_and_model_can_be_named(faces: Faces, store: MemoryStore) -> None:
    gallery(store, collection="staff").commit([put(7)])
    gallery(store, OTHER).commit([put(8)])
    assert "Ada" in faces("list")
    assert faces("list", "--collection", "staff").splitlines()[-1].endswith("version 1: 1 people")
    assert faces.bucket.settings.collection == "staff"
    assert f"default/{OTHER}, version 1" in faces("list", "--model", OTHER)
    assert "no gallery of shop" in faces.fails("list", "--collection", "shop")


def test_a_change_goes_into_that_collection_only(faces: Faces, store: MemoryStore) -> None:
    gallery(store, collection="staff").commit([put(1, name="Eve")])
    faces("rename", 1, "Bob", "--collection", "staff")
    assert (people(store)[1].name, people(store, "staff")[1].name) == ("Ada", "Bob")


@pytest.mark.parametrize("command", ["list", "compact"])
def test_the_bucket_is_opened_with_the_stacks_keys(
    faces: Faces, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    faces(command)
    assert faces.bucket.credentials is None
    made = credentials(faces.folder)
    faces(command)
    assert faces.bucket.credentials == made
