"""`faces gallery migrate` on a bucket in memory, with real photos and a made-up model."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

from serving.cli.services import Services
from serving.errors import BadRequest, InvalidInput, Unavailable
from serving.gallery import Gallery, Kind, Operation
from serving.gallery.location import Location
from serving.gallery.segment import normalised
from serving.model.repository import REPOSITORY, ModelError
from serving.operations.offline import Cropper, LeftOut, LocalModel
from serving.settings import AppArgs
from tests.support.memory_store import MemoryStore
from tests.support.operations import NEW, PixelModel
from tests.support.people import DIMENSION, LOCATION, MODEL, put
from tests.support.stages import ALIGNED
from tests.unit.cli.gallery.faces import Faces

DATA = Path(__file__).resolve().parents[4] / "data"
FAST = {"detect": {"max_side": 320, "min_face_size": 40}}


def local_model(repository: Path, name: str) -> PixelModel:
    assert name == "facenet-new"
    return PixelModel()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for person in ("101", "102", "104"):
        shutil.copytree(DATA / "people" / person, folder / person)
    return folder


class Migrate:
    def __init__(self, store: MemoryStore, photos: Path, faces: Faces) -> None:
        self.old = Gallery(store, "galleries", LOCATION)
        self.new = Gallery(store, "galleries", Location("default", NEW, DIMENSION))
        self.photos = photos
        self.faces = faces

    def run(self, *options: str) -> Result:
        return self.faces.run("migrate", self.photos, "--to", "facenet-new", *options)

    def __call__(self, *options: str, code: int = 0) -> dict[str, Any]:
        done = self.run("--json", *options)
        assert done.exit_code == code, done.output
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def fails(self, *options: str) -> str:
        error = self.run(*options).exception
        assert isinstance(error, BadRequest | InvalidInput | Unavailable | ModelError)
        return str(error)

    @property
    def moved(self) -> list[tuple[int, int, str | None]]:
        return [(p.id, p.photos, p.name) for p in self.new.refresh().list(99)]


@pytest.fixture
def migrate(store: MemoryStore, photos: Path, tmp_path: Path) -> Migrate:
    faces = Faces(tmp_path, store, local_model=local_model)
    faces.configure(**FAST)
    migrate = Migrate(store, photos, faces)
    migrate.old.commit([put(101, photos=2, name="Ada"), put(102), put(104)])
    return migrate


EVERYBODY = [(101, 2, "Ada"), (102, 1, None), (104, 1, None)]


def test_everybody_is_moved_once(migrate: Migrate) -> None:
    told = migrate()
    assert (told["from"], told["to"], told["collection"]) == (MODEL, NEW, "default")
    assert (told["moved"], told["done_before"]) == ([101, 102, 104], 0)
    assert migrate.moved == EVERYBODY
    again = migrate()
    assert (again["moved"], again["done_before"]) == ([], 3)
    assert migrate.new.refresh().version == 1


def test_a_dry_run_writes_nothing(migrate: Migrate, store: MemoryStore) -> None:
    before = dict(store.objects)
    (migrate.photos / "104/broken.jpg").write_bytes(b"no photo")
    told = migrate("--dry-run")
    assert (told["moved"], told["dry_run"]) == ([101, 102, 104], True)
    assert [p["photo"] for p in told["left_out"]] == ["104/broken.jpg"]
    assert store.objects == before
    assert all(request == "get" for request, _ in store.requests[-3:])


def test_who_could_not_be_moved_and_why(migrate: Migrate) -> None:
    shutil.copy(DATA / "group.jpg", migrate.photos / "101/group.jpg")
    shutil.rmtree(migrate.photos / "102")
    (migrate.photos / "104").rename(migrate.photos / "999")
    for person, name in ((7, "broken.jpg"), (8, "several.jpg"), (9, "nobody.png")):
        migrate.old.commit([put(person, name=f"[{person}]")])
        (migrate.photos / str(person)).mkdir()
        photo = migrate.photos / str(person) / name
        if person == 7:
            photo.write_bytes((DATA / "group.jpg").read_bytes()[:2000])
        elif person == 8:
            shutil.copy(DATA / "group.jpg", photo)
        else:
            Image.new("RGB", (200, 200), "grey").save(photo)
    told = migrate(code=1)
    assert migrate.moved == EVERYBODY[:1]
    assert told["not_enrolled"] == [999]
    assert [(p["photo"], p["reason"]) for p in told["left_out"]] == [
        ("101/group.jpg", "several-faces")
    ]
    why = {
        p["id"]: (p["name"], p["reason"], [f["reason"] for f in p["photos"]])
        for p in told["not_moved"]
    }
    assert why == {
        7: ("[7]", "no-usable-photo", ["unsupported-image"]),
        8: ("[8]", "no-usable-photo", ["several-faces"]),
        9: ("[9]", "no-usable-photo", ["no-face"]),
        102: (None, "no-photos", []),
        104: (None, "no-photos", []),
    }
    done = migrate.run()
    assert done.exit_code == 1
    assert "  8 ([8]): no usable photo\n    8/several.jpg: It shows 3 faces.\n" in done.stdout
    assert "in the photos, but not in the old gallery: 1 (999)\n" in done.stdout
    assert "5 people could not be moved." in done.stderr
    assert migrate("--largest", code=1)["moved"] == [8]


def test_who_is_in_the_new_gallery_already(migrate: Migrate) -> None:
    migrate.new.commit([put(102, photos=5, name="Somebody")])
    assert migrate()["not_overwritten"] == [102]
    assert migrate.moved[1] == (102, 5, "Somebody")
    assert migrate("--replace")["moved"] == [102]
    assert migrate.moved == EVERYBODY


def test_what_changed_in_the_old_gallery_is_caught_up_with(migrate: Migrate) -> None:
    migrate()
    migrate.old.commit(
        [
            Operation(Kind.DESCRIBE, 101, 300.0, details={"name": "Countess"}),
            Operation(Kind.DELETE, 102, 300.0),
        ]
    )
    told = migrate()
    assert (told["renamed"], told["removed"], told["moved"]) == ([101], [102], [])
    assert migrate.moved == [(101, 2, "Countess"), (104, 1, None)]


def test_ctrl_c_loses_nothing_that_was_done(migrate: Migrate) -> None:
    looks = 0

    class Interrupted(Cropper):
        def crop(self, photo: Path) -> NDArray[np.uint8] | LeftOut:
            nonlocal looks
            looks += 1
            if looks == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return super().crop(photo)

    migrate.faces.with_services(cropper=Interrupted)
    told = migrate(code=1)
    assert (told["moved"], told["broken_off"]) == ([101, 102], "It was stopped.")
    assert migrate()["moved"] == [104]
    assert migrate.moved == EVERYBODY
    assert looks == 4


def test_a_store_that_goes_away(migrate: Migrate, store: MemoryStore) -> None:
    def away(request: str, key: str) -> None:
        if request == "put" and f"{NEW}/segments" in key:
            raise Unavailable("S3 is away.")

    store.before = away
    done = migrate.run()
    assert done.exit_code == 1
    assert "S3 is away. Nothing was written. Not everybody was looked at" in done.stderr
    store.before = lambda request, key: None
    assert migrate()["moved"] == [101, 102, 104]


def test_from_which_gallery(migrate: Migrate, store: MemoryStore) -> None:
    assert f"holds no gallery of {NEW}" in migrate.fails("--from", NEW)
    other = "facenet-other@ffffffffffff"
    Gallery(store, "galleries", Location("default", other, DIMENSION)).commit(
        [put(104, name="Other")]
    )
    assert migrate("--dry-run")["from"] == MODEL  # the one that is configured
    assert migrate("--dry-run", "--from", other)["from"] == other
    assert "holds no gallery of another model" in migrate.fails("--collection", "shop")


class AlignedModel(PixelModel):
    """Takes aligned crops, and makes fewer numbers than the old model."""

    card = ALIGNED.model_copy(update={"name": "facenet-new", "id": NEW, "dimension": 32})

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert crops.shape[1:] == (3, 112, 112)
        return normalised(crops.reshape(len(crops), -1)[:, ::1176].astype(np.float32) + 1)


def test_to_a_model_with_other_crops_and_dimensions(migrate: Migrate, store: MemoryStore) -> None:
    migrate.faces.with_services(local_model=lambda repository, name: AlignedModel())
    assert migrate()["moved"] == [101, 102, 104]
    new = Gallery(store, "galleries", Location("default", NEW, 32)).refresh()
    assert [(p.id, p.photos, p.name) for p in new.list(99)] == EVERYBODY


@pytest.mark.skipif(
    not (REPOSITORY / "sface" / "1" / "model.pt").is_file(),
    reason="not traced: make model MODEL=sface",
)
def test_to_sface(store: MemoryStore, photos: Path, tmp_path: Path) -> None:
    """With the real model, which recognises the people on photos that it has not seen."""
    faces = Faces(tmp_path, store)
    faces.configure(**FAST)
    old = Gallery(store, "galleries", LOCATION)
    old.commit([put(101, name="Ada"), put(102), put(104)])
    unseen = photos / "101" / "macron_2025.jpg"
    probe = unseen.rename(tmp_path / "probe.jpg")
    told = json.loads(faces.run("migrate", photos, "--to", "sface", "--json").stdout)
    model = LocalModel(REPOSITORY, "sface")
    card = model.card
    assert (told["to"], told["moved"]) == (card.id, [101, 102, 104])
    gallery = Gallery(store, "galleries", Location("default", card.id, card.dimension)).refresh()
    crop = Cropper(AppArgs.model_validate(FAST), card).crop(probe)
    assert isinstance(crop, np.ndarray)
    (ids,), ((first, second, _),), ((name, *_),) = gallery.search(model.embed(crop[None]), 3)
    assert (ids[0], name) == (101, "Ada")
    assert first > card.pairs.threshold > second


def test_a_model_that_is_not_there(migrate: Migrate, tmp_path: Path) -> None:
    migrate.faces.with_services(local_model=Services.local_model)
    assert "no model 'facenet-new'" in migrate.fails("--repository", str(tmp_path))
