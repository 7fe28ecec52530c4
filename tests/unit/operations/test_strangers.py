"""Faces without a name, from a folder or from the results of a job, to folders of pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving.errors import InvalidInput, Unavailable, UnsupportedImage
from serving.model.card import ModelCard
from serving.operations.sought import Sought
from serving.operations.strangers import GROUPS, Groups, gather
from serving.vision.records import Faces, Photo, Quality
from tests.support.job_results import Results, box_of, face, line
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION
from tests.support.stages import CARD

QUALITY = Quality(side=100, sharpness=1, evenness=1, tones=1, turn=0, eyes=0.5)
POOR = 99
WIDTH, HEIGHT = 400, 200


def photo(*people: int, turn: int = 0) -> bytes:
    """A photo that shows these people, from the left to the right."""
    return json.dumps({"people": people, "turn": turn}).encode()


class Eyes:
    """Finds the people that `photo` has written down; the crops are their numbers."""

    def all(self, data: bytes) -> tuple[Photo, Faces]:
        try:
            written = json.loads(data)
        except ValueError:
            raise UnsupportedImage("The image is no image file.") from None
        people, count = written["people"], len(written["people"])
        pixels = np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8)  # decoded reduced
        for place, person in enumerate(people):
            x1, y1, x2, y2 = (edge // 2 for edge in box_of(place))
            pixels[y1:y2, x1:x2] = person
        return Photo(pixels, WIDTH, HEIGHT), Faces(
            boxes=np.array([box_of(n) for n in range(count)], np.float32).reshape(-1, 4),
            scores=np.ones(count, np.float32),
            landmarks=np.zeros((count, 5, 2), np.float32),
            crops=np.array(people, np.uint8).reshape(-1, 1, 1, 1),
            quality=(QUALITY,) * count,
            turns=np.full(count, written["turn"], np.int64),
        )

    def gates(
        self, face: Faces, vectors: NDArray[np.float32], card: ModelCard
    ) -> tuple[str | None, str | None]:
        return ("sharpness" if face.crops[0, 0, 0, 0] == POOR else None), None


class Model:
    """Each person is a direction of its own."""

    card = CARD

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = np.eye(DIMENSION, dtype=np.float32)[crops[:, 0, 0, 0] % 8]
        return vectors


def sought(**photos: bytes) -> Iterator[Sought]:
    for name, data in photos.items():
        yield Sought(name, lambda data=data: data)  # type: ignore[misc]


def group(photos: Iterator[Sought], out: Path, least: int = 2) -> Groups:
    return gather(photos, out, Eyes(), Model(), 0.5, least=least)


def test_each_person_gets_a_folder_of_pictures(tmp_path: Path) -> None:
    out = tmp_path / "groups"
    found = group(sought(a=photo(1, 2), b=photo(2), c=photo(3, 2), d=photo(1)), out)
    assert [[face.photo for face in own] for own in found.groups] == [["a", "b", "c"], ["a", "d"]]
    assert [(face.photo, face.box) for face in found.alone] == [("c", box_of(0))]
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == [
        *("group-0001/0001.jpg", "group-0001/0002.jpg", "group-0001/0003.jpg"),
        *("group-0002/0001.jpg", "group-0002/0002.jpg"),
        GROUPS,
    ]
    described = json.loads((out / GROUPS).read_text())
    assert (described["model"], described["threshold"]) == (CARD.id, 0.5)
    assert described["groups"][1] == {
        "folder": "group-0002",
        "faces": [
            {"photo": "a", "box": list(box_of(0)), "picture": "group-0002/0001.jpg"},
            {"photo": "d", "box": list(box_of(0)), "picture": "group-0002/0002.jpg"},
        ],
    }
    assert described["alone"] == [{"photo": "c", "box": list(box_of(0))}]


@pytest.mark.parametrize(("turn", "size"), [(0, (42, 60)), (90, (60, 42)), (270, (60, 42))])
def test_a_picture_shows_the_face_upright_and_what_is_around_it(
    tmp_path: Path, turn: int, size: tuple[int, int]
) -> None:
    group(sought(a=photo(200, turn=turn)), tmp_path / "g", least=1)
    with Image.open(tmp_path / "g" / "group-0001" / "0001.jpg") as picture:
        assert picture.format == "JPEG"
        # Half of the box on each side, as far as the photo reaches, which was decoded reduced.
        assert picture.size == size
        assert np.asarray(picture.convert("L")).max() > 190


def test_poor_faces_and_photos_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    def away() -> bytes:
        raise PermissionError(13, "Permission denied")

    photos = [*sought(a=photo(POOR, 1), b=b"text", c=photo(1)), Sought("d", away)]
    found = group(iter(photos), tmp_path / "g")
    assert [len(own) for own in found.groups] == [2]
    assert found.counts.poor == 1
    assert found.counts.unread == ["b: The image is no image file.", "d: Permission denied"]


def test_a_folder_that_is_not_empty_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "mine.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="not empty; give --out a new folder"):
        group(sought(a=photo(1)), tmp_path / "g")
    assert [path.name for path in (tmp_path / "g").iterdir()] == ["mine.txt"]


def test_pictures_are_removed_when_it_fails(tmp_path: Path) -> None:
    def fails() -> bytes:
        raise Unavailable("The object store is away.")

    with pytest.raises(Unavailable):
        group(iter([*sought(a=photo(1)), Sought("b", fails)]), tmp_path / "g")
    assert list((tmp_path / "g").iterdir()) == []


def test_only_faces_without_a_name_are_taken_from_results(tmp_path: Path) -> None:
    store = MemoryStore()
    etags = {
        name: store.put(f"in/{name}", data)
        for name, data in {"a": photo(1, 2, 3), "b": photo(2, 1, 2, 2), "c": photo(2)}.items()
    }
    results = Results(
        [line("in/a", etags["a"], face(0, id=7), face(1), face(2))],
        [
            {"photo": "in/x", "etag": "e", "error": {"type": "gone"}},
            line(
                "in/b",
                etags["b"],
                face(0),
                face(1, quality={"reasons": ["blurred"]}),
                face(2, ambiguous=[{"id": 7}]),
                face(3, liveness={"live": False}),
            ),
            line("in/c", etags["c"], face(0, id=2)),
        ],
    )
    results.store.objects.update(store.objects)
    photos = list(results.sought())
    assert [one.name for one in photos] == ["in/a", "in/b"]
    found = group(iter(photos), tmp_path / "g")
    assert [[one.photo for one in own] for own in found.groups] == [["in/a", "in/b"]]
    assert [one.box for one in found.alone] == [box_of(2)]
    assert (found.counts.missing, found.counts.unread) == (0, [])


def test_photos_that_changed_and_faces_that_are_not_found_again_are_told(tmp_path: Path) -> None:
    results = Results([line("in/a", "old", face(0)), line("in/gone", "e", face(0))])
    results.store.put("in/a", photo(1))
    etag = results.store.put("in/b", photo(1))
    elsewhere = {**face(0), "box": [300, 0, 340, 40]}
    results.put("part-000001.jsonl", json.dumps(line("in/b", etag, elsewhere, face(0))) + "\n")
    found = group(results.sought(), tmp_path / "g")
    assert found.counts.unread == ["in/a: it is gone", "in/gone: it is gone"]
    assert found.counts.missing == 1
    assert [one.photo for one in found.alone] == ["in/b"]


def test_results_of_another_model_are_refused(tmp_path: Path) -> None:
    results = Results([{**line("in/a", "e", face(0)), "model": "sface@1"}])
    with pytest.raises(InvalidInput, match=rf"with sface@1, and --model is {CARD.id}"):
        group(results.sought(), tmp_path / "g")
