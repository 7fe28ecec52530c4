"""`faces gallery retain`, `withdraw` and `expire`, on a bucket in memory."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from serving.errors import RetentionEnded
from serving.gallery import Kind, Operation
from serving.gallery.retention import text_of
from serving.gallery.store import StoredObject
from tests.support.memory_store import MemoryStore
from tests.support.people import MODEL, put
from tests.unit.cli.gallery.faces import OTHER, Faces, gallery, people

LATER = "2099-01-31T00:00:00Z"


def end(
    store: MemoryStore,
    person: int,
    model: str = MODEL,
    collection: str = "default",
    ago: float = 1.0,
) -> None:
    """The retention of this person ended a second ago, or ``ago`` seconds."""
    details = {"expires_at": text_of(time.time() - ago)}
    operation = Operation(Kind.DESCRIBE, person, time.time(), details=details)
    gallery(store, model, collection).commit([operation])


def receipts(out: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(out[out.index("[") :])
    return found


def test_a_retention_is_set_shown_and_removed(faces: Faces, store: MemoryStore) -> None:
    words = ("--basis", "consent", "--reference", "form 12", "--date", "2026-01-31")
    faces("retain", 2, "--expires-at", "2099-01-31T01:00:00+01:00", *words, "--text-version", "3")
    basis = {"kind": "consent", "reference": "form 12", "date": "2026-01-31", "text_version": "3"}
    assert (people(store)[2].expires_at, people(store)[2].legal_basis) == (LATER, basis)
    assert json.loads(faces("show", 2, "--json"))["legal_basis"] == basis
    shown = faces("show", 2)
    assert f"expires   {LATER}" in shown
    assert '"reference": "form 12"' in shown
    assert "2099-01-31 00:00:00 UTC" in faces("list")
    listed = json.loads(faces("list", "--expires-before", "2100-01-01T00:00:00Z", "--json"))
    assert [person["id"] for person in listed] == [2]
    assert json.loads(faces("list", "--expires-before", LATER, "--json")) == []
    faces("retain", 2, "--no-end")
    assert (people(store)[2].expires_at, people(store)[2].legal_basis) == (None, basis)
    faces("retain", 2, "--no-basis")
    assert people(store)[2].legal_basis is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Give --expires-at, --no-end, --basis or --no-basis."),
        (["--expires-at", "tomorrow"], "It should be a date and a time that exist"),
        (["--expires-at", "2099-01-31T00:00:00"], "with a time zone"),
        (["--expires-at", "2020-01-31T00:00:00Z"], "expires_at is over"),
        (["--expires-at", "9999-01-31T00:00:00Z"], "more than 100 years"),
        (["--expires-at", LATER, "--no-end"], "Give --expires-at or --no-end."),
        (["--basis", "consent", "--no-basis"], "Give --basis or --no-basis."),
        (["--basis", "because"], "'because' is not one of"),
        (["--text-version", "3"], "--text-version needs a --basis."),
        (["--basis", "consent", "--date", "31.1.2026"], "It should be a date that exists"),
        (["--basis", "consent", "--date", "2098-01-31"], "it is not ahead"),
        (["--basis", "consent", "--reference", "a\x1b[2J"], "It has no control characters."),
    ],
)
def test_what_is_no_retention_is_refused(
    faces: Faces, store: MemoryStore, words: list[str], sentence: str
) -> None:
    out = " ".join(faces("retain", 2, *words, code=2).replace("│", "").split())
    assert sentence in out
    assert gallery(store).refresh().version == 1


def test_people_whose_retention_has_ended_are_erased(faces: Faces, store: MemoryStore) -> None:
    gallery(store, OTHER, "staff").commit([put(1), put(9)])
    end(store, 2)
    end(store, 9, OTHER, "staff")
    faces("retain", 3, "--expires-at", LATER)
    assert faces("expire", "--dry-run") == "default: 2 would be erased\nstaff: 9 would be erased\n"
    assert list(people(store)) == [1, 2, 3]
    (receipt,) = receipts(faces.run("expire", "--collection", "default").stdout)
    assert (receipt["ids"], receipt["embeddings"]) == ([2], 3)
    assert list(people(store)) == [1, 3]
    assert "default: nobody is erased" in faces("expire")
    assert list(people(store)) == [1, 3]
    assert 9 not in gallery(store, OTHER, "staff").refresh()


def test_the_maintenance_erases_compacts_and_sweeps(faces: Faces, store: MemoryStore) -> None:
    end(store, 2)
    out = faces("sweep", "--expire", "--compact", "--grace", 0)
    assert '"embeddings": 3' in out
    assert "segments before" in out
    assert "removed" in out
    assert list(people(store)) == [1, 3]
    assert "faces gallery expire" in faces("sweep", "--expire", "--dry-run", code=2)
    assert "--expire or --model" in faces("sweep", "--expire", "--model", MODEL, code=2)


def test_who_should_have_been_erased_a_day_ago_is_reported(
    faces: Faces, store: MemoryStore
) -> None:
    end(store, 1, ago=3600)
    faces("check")  # the maintenance may come yet
    end(store, 2, ago=2 * 86_400)
    out = faces("check", code=1)
    assert "1 people whose retention has ended are still here: 2" in out
    assert "faces gallery expire erases them" in out
    faces("expire")
    assert "still here" not in faces("check")


def test_the_list_says_how_long_people_are_kept(faces: Faces, store: MemoryStore) -> None:
    assert "is kept for" not in faces("list")
    faces.configure(retention={"collections": {"default": 365}})
    assert "Who is enrolled without an end is kept for 365 days." in faces("list")


def test_a_collection_that_fails_does_not_keep_the_others_from_it(
    faces: Faces, store: MemoryStore
) -> None:
    gallery(store, OTHER, "staff").commit([put(9)])
    end(store, 9, OTHER, "staff")
    end(store, 2)
    key = f"galleries/default/{MODEL}/manifest.json"
    manifest, store.objects[key] = store.objects[key], StoredObject(b"{", '"x"')
    out = faces("expire", code=1)
    assert "default: The manifest" in out
    assert 9 not in gallery(store, OTHER, "staff").refresh()
    assert f"staff/{OTHER}: " in faces("sweep", "--expire", "--compact", code=1)
    store.objects[key] = manifest
    faces("expire")
    assert list(people(store)) == [1, 3]


def test_a_withdrawal_erases(faces: Faces, store: MemoryStore) -> None:
    (receipt,) = receipts(faces.run("withdraw", 2, "--yes").stdout)
    assert receipt["ids"] == [2]
    assert list(people(store)) == [1, 3]
    faces("retain", 1, "--basis", "contract")
    assert "The legal basis of 1 is contract" in faces("withdraw", 1, "--yes", code=1)
    assert list(people(store)) == [1, 3]
    faces("withdraw", 3, code=1, typed="n\n")
    assert people(store)[3].legal_basis is None


def test_a_withdrawal_that_is_not_made_everywhere_says_so(faces: Faces, store: MemoryStore) -> None:
    gallery(store, OTHER).commit([put(2)])
    (key,) = (k for k in store.objects if "/segments/" in k and OTHER in k)
    store.objects[key] = StoredObject(b"damaged", '"x"')
    out = faces("withdraw", 2, "--yes", "--model", MODEL, code=1)
    assert "Not erased everywhere" in out
    assert list(people(store)) == [1, 3]


def test_a_record_that_has_ended_is_only_erased(faces: Faces, store: MemoryStore) -> None:
    end(store, 2)
    for words in (("retain", 2, "--no-end"), ("rename", 2, "Bob"), ("merge", 1, 2)):
        error = faces.run(*words).exception
        assert isinstance(error, RetentionEnded)
    assert "erased" not in faces("show", 2)
    assert '"id": 2' not in faces("duplicates", "--threshold", -1, "--json")
    faces("erase", 2, "--yes")
    assert list(people(store)) == [1, 3]
