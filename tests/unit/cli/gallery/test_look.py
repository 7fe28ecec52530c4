"""`faces gallery list`, `show` and `duplicates`, on a bucket in memory."""

from __future__ import annotations

import json

import pytest

from tests.support.memory_store import MemoryStore
from tests.support.operations import fake_triton
from tests.support.people import MODEL, put
from tests.support.stages import CARD
from tests.unit.cli.gallery.faces import OTHER, Faces, gallery


def test_people_are_listed_in_pages(faces: Faces) -> None:
    lines = faces("list", "--limit", 2).splitlines()
    told = [line.split()[0] for line in lines if line.strip()]
    assert told[2:] == ["1", "2", f"default/{MODEL},", "There"]
    assert "--after 2" in lines[-1]
    second = faces("list", "--after", 2)
    assert "[Eve]" in second
    assert "There are more" not in second
    assert [p["name"] for p in json.loads(faces("list", "--json"))] == ["Ada", None, "[Eve]"]


def test_one_person_is_shown(faces: Faces) -> None:
    assert json.loads(faces("show", 2, "--json"))["photos"] == 3
    assert "name      Ada" in faces("show", 1)
    assert "Nobody is enrolled under the id 9." in faces("show", 9, code=1)


@pytest.mark.parametrize("text", ["\x9b31m", "\x1b[2J", "\u202eabc", "\u2028", "\x07"])
def test_metadata_do_nothing_to_a_terminal(faces: Faces, text: str) -> None:
    faces("describe", 1, json.dumps({"note": f"a{text}b", text: 1}))
    shown = faces("show", 1)
    assert "note" in shown
    assert not {*text} & {"\x1b", "\x9b", "\u202e", "\u2028", "\x07"} & {*shown}


def test_names_are_shown_with_their_joiners(faces: Faces, store: MemoryStore) -> None:
    names = ["نیکی\u200cنام", "क्\u200dष", "👩\u200d🚀 Ada", "山田\u3000太郎"]
    gallery(store).commit([put(10 + n, seed=n, name=name) for n, name in enumerate(names)])
    for n, name in enumerate(names):
        assert name in faces("show", 10 + n)
        assert name in faces("list")


@pytest.fixture
def twins(store: MemoryStore) -> None:
    again = [put(9, seed=1, name="Ada L."), put(4, seed=2, photos=3), put(5, seed=1)]
    gallery(store).commit(again)


def test_duplicates_are_listed_the_most_alike_first(faces: Faces, twins: None) -> None:
    told = json.loads(faces.run("duplicates", "--threshold", 0.9, "--json").stdout)
    pairs = {(p["a"]["id"], p["b"]["id"]) for p in told}
    assert pairs == {(1, 5), (1, 9), (5, 9), (2, 4)}
    assert all(p["similarity"] == pytest.approx(1, abs=1e-3) for p in told)
    assert told[0]["a"].keys() == {
        "id",
        "photos",
        "name",
        "metadata",
        "created",
        "updated",
        "origin",
        "expires_at",
        "legal_basis",
        "distinct",
    }
    table = faces("duplicates", "--threshold", 0.9)
    assert "Ada L." in table
    assert f"default/{MODEL}, version 2: 4 pairs from 0.90 on among 6 people" in table
    assert "most alike" not in table
    assert "The 2 most alike are listed" in faces("duplicates", "--threshold", 0.9, "--limit", 2)


def test_no_duplicates(faces: Faces) -> None:
    assert "version 1: 0 pairs from 0.90 on" in faces("duplicates", "--threshold", 0.9)
    assert json.loads(faces.run("duplicates", "--threshold", 0.9, "--json").stdout) == []


def test_the_threshold_of_duplicates_is_that_of_naming(
    faces: Faces, twins: None, store: MemoryStore
) -> None:
    gallery(store, OTHER).commit([put(1)])
    with fake_triton() as triton:
        faces.configure(triton={"url": triton.url})
        assert f"4 pairs from {CARD.threshold:.2f} on" in faces("duplicates")
        assert "give a --threshold" in faces.fails("duplicates", "--model", OTHER)
    assert "0 pairs" in faces("duplicates", "--model", OTHER, "--threshold", 0.5)
