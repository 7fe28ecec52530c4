"""`faces gallery …` on a bucket in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from serving.cli import cli
from serving.errors import ServingError, StoreUnfit
from serving.gallery import Gallery, location
from serving.gallery.location import Location
from serving.gallery.store import StoredObject
from serving.operations import bucket, served
from serving.stack.config import StackSettings, serve_config
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, MODEL, put
from tests.support.pipeline import FakeEmbedder
from tests.support.stages import CARD

OTHER = "facenet-other@ffffffffffff"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    store = MemoryStore()
    for module in (bucket, location):
        monkeypatch.setattr(module, "connect", lambda settings, observer=None: store)
    return store


class Faces:
    """Runs `faces gallery …` with a configuration."""

    def __init__(self, config: Path) -> None:
        self._config = str(config)

    def __call__(self, *words: object, code: int = 0, typed: str = "") -> str:
        done = self.run(*words, typed=typed)
        assert done.exit_code == code, done.output
        return done.output

    def fails(self, *words: object) -> str:
        """The sentence of an error that `faces` shows as one."""
        error = self.run(*words).exception
        assert isinstance(error, ServingError)
        return str(error)

    def run(self, *words: object, typed: str = "") -> Result:
        command = ["gallery", *map(str, words), "--config", self._config]
        return CliRunner(env={"COLUMNS": "120"}).invoke(cli, command, input=typed)


@pytest.fixture
def faces(tmp_path: Path, store: MemoryStore) -> Faces:
    config = serve_config(StackSettings(model="facenet-test"))
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(config))
    gallery(store).commit([put(1, name="Ada"), put(2, photos=3), put(3, name="[Eve]")])
    return Faces(path)


def gallery(store: MemoryStore, model: str = MODEL, collection: str = "default") -> Gallery:
    return Gallery(store, "galleries", Location(collection, model, DIMENSION))


def people(store: MemoryStore, collection: str = "default") -> dict[int, Any]:
    snapshot = gallery(store, collection=collection).refresh()
    return {p.id: p for p in snapshot.list(99)}


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


def test_a_person_is_renamed_and_described(faces: Faces, store: MemoryStore) -> None:
    assert "version is 2" in faces("rename", 2, "Bob")
    faces("describe", 2, '{"desk": "4ü"}')
    assert (people(store)[2].name, people(store)[2].metadata) == ("Bob", {"desk": "4ü"})
    assert '{"desk": "4ü"}' in faces("show", 2)
    faces("rename", 2, "")
    faces("describe", 2, "null")
    assert (people(store)[2].name, people(store)[2].metadata) == (None, {})
    assert "no JSON" in faces("describe", 2, "{", code=2)
    assert "object or null" in faces("describe", 2, "[1]", code=2)
    assert "id 9" in faces.fails("rename", 9, "Nobody")


def test_records_of_one_person_become_one(faces: Faces, store: MemoryStore) -> None:
    faces("merge", 1, 2, 3)
    assert [(p.id, p.photos, p.name) for p in people(store).values()] == [(1, 5, "Ada")]
    assert "into himself" in faces("merge", 1, 1, code=2)
    assert "id 2" in faces.fails("merge", 1, 2)


def test_people_are_deleted_together_or_not_at_all(faces: Faces, store: MemoryStore) -> None:
    assert "id 9" in faces.fails("delete", 1, 9)
    assert list(people(store)) == [1, 2, 3]
    faces("delete", 1, 3)
    assert list(people(store)) == [2]


def test_everybody_is_forgotten_only_when_that_is_meant(faces: Faces, store: MemoryStore) -> None:
    assert "Give ids, or --all" in faces("delete", code=2)
    assert "Give ids, or --all" in faces("delete", 1, "--all", code=2)
    assert "all 3 people" in faces("delete", "--all", code=1, typed="n\n")
    assert len(people(store)) == 3
    faces("delete", "--all", "--yes")
    assert people(store) == {}


def test_an_erasure_asks_and_gives_a_receipt(faces: Faces, store: MemoryStore) -> None:
    gallery(store, OTHER).commit([put(2)])
    faces("erase", 2, code=1, typed="n\n")
    assert 2 in people(store)
    receipts = json.loads(faces("erase", 2, "--yes"))
    assert {(r["model"], r["embeddings"]) for r in receipts} == {(MODEL, 3), (OTHER, 1)}
    assert list(people(store)) == [1, 3]


def test_an_export_is_written(faces: Faces, store: MemoryStore, tmp_path: Path) -> None:
    out = faces("export", tmp_path / "all.safetensors")
    assert f"3 people of version 1 are exported to {tmp_path}/all.safetensors." in out
    faces("export", tmp_path / "people")
    assert len(list((tmp_path / "people").iterdir())) == 3
    failed = faces("export", tmp_path / "missing/all.safetensors", code=1)
    assert "cannot be written" in failed


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
    assert "3 objects" in dry
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
    faces: Faces, twins: None, monkeypatch: pytest.MonkeyPatch, store: MemoryStore
) -> None:
    monkeypatch.setattr(served, "Embedder", lambda settings: FakeEmbedder())
    assert f"4 pairs from {CARD.threshold:.2f} on" in faces("duplicates")
    Gallery(store, "galleries", Location("default", OTHER, DIMENSION)).commit([put(1)])
    assert "give a --threshold" in faces.fails("duplicates", "--model", OTHER)
    assert "0 pairs" in faces("duplicates", "--model", OTHER, "--threshold", 0.5)
