"""Boxes and labels: where they are, and that they fit into the photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving.client.draw import draw, either_of, label_of, percent
from tests.support import images

GREEN, RED = (0x1A, 0x98, 0x50), (0xD7, 0x30, 0x27)


def face(
    box: tuple[int, int, int, int], person: int | None = 7, name: str | None = None
) -> dict[str, Any]:
    return {"id": person, "name": name, "confidence": 0.984, "box": list(box)}


def photo(path: Path, size: tuple[int, int] = (600, 400)) -> Path:
    Image.new("RGB", size, "black").save(path)
    return path


def where(image: Image.Image, color: tuple[int, int, int]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (np.asarray(image) == color).all(axis=2)
    return found


def extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of what is set."""
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (face((0, 0, 9, 9), name="Ada"), "Ada 98%"),
        (face((0, 0, 9, 9)), "7 98%"),
        (face((0, 0, 9, 9), person=0), "0 98%"),
        (
            {"id": None, "name": None, "confidence": None, "box": [0, 0, 9, 9]},
            "unknown",
        ),
    ],
)
def test_labels(answer: dict[str, Any], label: str) -> None:
    assert label_of(answer) == label


@pytest.mark.parametrize(
    ("confidence", "text"),
    [(0.0, "<1%"), (0.009, "<1%"), (0.01, "1%"), (0.984, "98%"), (0.99, "99%"), (1.0, ">99%")],
)
def test_nothing_is_certain(confidence: float, text: str) -> None:
    assert percent(confidence) == text


def test_the_box_is_drawn_where_the_face_is_and_the_label_above_it(tmp_path: Path) -> None:
    image = draw(photo(tmp_path / "a.png"), [face((200, 150, 300, 250))])
    green = where(image, GREEN)
    left, top, right, bottom = extent(green)
    assert (left, bottom) == (200, 250)
    assert right >= 300
    assert top < 150
    assert green[150, 200:301].all()
    assert green[250, 200:301].all()
    assert green[150:251, [200, 300]].all()
    assert not green[160:240, 210:290].any()


def test_strangers_have_another_colour(tmp_path: Path) -> None:
    stranger = {"id": None, "name": None, "confidence": None, "box": [200, 150, 300, 250]}
    image = draw(photo(tmp_path / "a.png"), [stranger])
    assert where(image, RED).any()
    assert not where(image, GREEN).any()


def test_no_face_leaves_the_photo_as_it_is(tmp_path: Path) -> None:
    images.quadrants().save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(draw(tmp_path / "a.png", [])), np.asarray(images.quadrants()))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_photo_is_drawn_upright(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(images.turned(images.quadrants(640, 480), orientation))
    image = draw(path, [face((200, 200, 300, 300))])
    assert image.size == (640, 480)
    told = images.corners(np.asarray(image))
    expected = (images.RED, images.GREEN, images.BLUE, images.GREY)
    assert np.abs(np.array(told) - np.array(expected)).max() < 12
    image.save(tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as saved:
        assert saved.getexif().get(0x0112, 1) == 1  # nobody turns it once more


@pytest.mark.parametrize(
    "box",
    [(0, 0, 100, 100), (500, 0, 600, 100), (590, 390, 600, 400), (0, 100, 20, 130)],
    ids=["top left", "top right", "bottom right", "small at the left"],
)
def test_the_whole_label_is_inside_the_photo(
    tmp_path: Path, box: tuple[int, int, int, int]
) -> None:
    """As large as that of the same face in the middle of a larger photo."""
    name = "Jacinda Ardern"
    image = draw(photo(tmp_path / "a.png"), [face(box, name=name)])
    middle = (300, 200, 300 + box[2] - box[0], 200 + box[3] - box[1])
    free = draw(photo(tmp_path / "b.png"), [face(middle, name=name)])
    assert text_pixels(image) == pytest.approx(text_pixels(free), rel=0.1)
    assert text_pixels(free) > 100


def text_pixels(image: Image.Image) -> int:
    """Of the label: only its white letters are red too."""
    return int((np.asarray(image)[:, :, 0] > 80).sum())


def test_the_largest_face_is_drawn_on_top(tmp_path: Path) -> None:
    large, small = face((200, 150, 400, 350)), face((200, 150, 260, 210), person=None)
    image = draw(photo(tmp_path / "a.png"), [large, small])
    assert np.asarray(image)[150, 230].tolist() == list(GREEN)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "CMYK", "1"])
def test_every_kind_of_pixels(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (60, 40)).save(path)
    assert where(draw(path, [face((10, 20, 30, 35))]), GREEN).any()


@pytest.mark.parametrize("size", [(1, 1), (12, 900), (900, 12)])
def test_a_photo_too_small_for_a_label(tmp_path: Path, size: tuple[int, int]) -> None:
    image = draw(photo(tmp_path / "a.png", size), [face((0, 0, *size), name="Jacinda Ardern")])
    assert image.size == size


def test_a_box_without_width_is_drawn_too(tmp_path: Path) -> None:
    image = draw(photo(tmp_path / "a.png"), [face((50, 100, 50, 100))])
    assert where(image, GREEN)[100, 50]


def test_a_face_that_is_too_poor_to_say_is_not_called_unknown() -> None:
    poor = {**face((0, 0, 9, 9), None), "quality": {"sufficient": False}}
    assert label_of(poor) == "too poor to say"
    assert label_of({**poor, "quality": {"sufficient": True}}) == "unknown"


def test_an_attack_is_called_one_whatever_else_it_is() -> None:
    poor = {**face((0, 0, 9, 9), None), "quality": {"sufficient": False}}
    assert label_of({**poor, "liveness": {"live": False}}) == "not live"
    assert label_of({**poor, "liveness": {"live": True}}) == "too poor to say"
    known = face((0, 0, 9, 9), name="Ada")
    for checked in ({"live": True}, None):
        assert label_of({**known, "liveness": checked}) == "Ada 98%"


def test_a_face_between_two_people_is_called_by_both() -> None:
    def people(*names: str | None) -> list[dict[str, Any]]:
        return [{"id": 7 + n, "name": name} for n, name in enumerate(names)]

    for names, label in (
        (("Ada", "Eve"), "Ada or Eve"),
        (("Ada", None), "Ada or 8"),
        (("Ada", "Eve", "Bea"), "Ada or Eve or Bea"),
        (("Ada", "Ada"), "Ada (7) or Ada (8)"),
        (("Ada",), "Ada or somebody else"),
    ):
        doubt = {**face((0, 0, 9, 9), None), "ambiguous": people(*names)}
        assert label_of(doubt) == either_of(people(*names)) == label
    assert label_of({**face((0, 0, 9, 9), name="Ada"), "ambiguous": []}) == "Ada 98%"
