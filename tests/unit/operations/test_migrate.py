"""People whose photos are kept move into another model's gallery, part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.errors import Unavailable
from serving.gallery import Gallery
from serving.gallery.location import Location
from serving.gallery.migration import Migration
from serving.model.repository import ModelError
from serving.operations.folders import people_in
from serving.operations.migrate import NO_PHOTOS, Photos, Report, migrate
from serving.operations.offline import Cropper
from serving.settings import AppArgs
from tests.support.memory_store import MemoryStore
from tests.support.operations import NEW, NoUnitModel, PixelModel
from tests.support.people import DIMENSION, LOCATION, put
from tests.support.stages import CARD

PEOPLE = Path(__file__).resolve().parents[3] / "data" / "people"
FAST = AppArgs.model_validate({"detect": {"max_side": 320, "min_face_size": 40}})
PHOTOS = {101: 2, 102: 1, 104: 1}


class Galleries:
    """An old gallery with three people, and the new one."""

    def __init__(self) -> None:
        store = MemoryStore()
        self.old = Gallery(store, "galleries", LOCATION)
        self.new = Gallery(store, "galleries", Location("default", NEW, DIMENSION))
        self.old.commit([put(person, photos=n) for person, n in PHOTOS.items()])
        self._cropper = Cropper(FAST, CARD)

    def migrate(self, model: PixelModel | None = None, **more: Any) -> Report:
        # Nobody is taken out of the new gallery here.
        migration = Migration(self.old, self.new, erase=lambda ids: None)
        people = [p for p in people_in(PEOPLE).people if p.id in PHOTOS]
        return migrate(migration, Photos(people), self._cropper, model or PixelModel(), **more)

    @property
    def moved(self) -> dict[int, int]:
        return {p.id: p.photos for p in self.new.refresh().list(99)}


@pytest.fixture
def galleries() -> Galleries:
    return Galleries()


@pytest.mark.parametrize(("at_once", "commits"), [(1, 3), (2, 2), (3, 2), (128, 1)])
def test_so_many_photos_are_of_one_commit(galleries: Galleries, at_once: int, commits: int) -> None:
    report = galleries.migrate(photos_at_once=at_once)
    assert report.moved == [101, 102, 104]
    assert galleries.moved == PHOTOS
    assert galleries.new.refresh().version == commits


def test_progress_counts_photos(galleries: Galleries) -> None:
    found: list[int] = []
    steps: list[int] = []
    galleries.old.commit([put(7)])
    report = galleries.migrate(found=found.append, advance=steps.append)
    assert (found, sum(steps)) == ([4], 4)
    assert [(p.id, p.reason) for p in report.not_moved] == [(7, NO_PHOTOS)]


def test_what_was_looked_at_before_it_is_stopped_is_written(galleries: Galleries) -> None:
    steps: list[int] = []
    report = galleries.migrate(stopped=lambda: len(steps) >= 3, advance=steps.append)
    assert (report.moved, report.broken_off) == ([101, 102], "It was stopped.")
    assert galleries.migrate().moved == [104]


@pytest.mark.parametrize("error", [Unavailable("Triton is away."), ModelError("It is broken.")])
def test_a_model_that_goes_away(galleries: Galleries, error: Exception) -> None:
    report = galleries.migrate(PixelModel(error), photos_at_once=2)
    assert (report.moved, report.broken_off) == ([101], str(error))
    assert galleries.migrate().moved == [102, 104]


def test_vectors_of_another_length_are_no_embeddings(galleries: Galleries) -> None:
    report = galleries.migrate(NoUnitModel())
    assert report.broken_off is not None
    assert "unit length" in report.broken_off
    assert galleries.moved == {}
