"""The cascade finds what facenet-pytorch's own MTCNN finds.

FACES_PHOTOS names a folder with more photos to compare on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from PIL import Image

from serving.vision.mtcnn.cascade import Cascade
from serving.vision.mtcnn.networks import Networks
from tests.support import images

Pixels = NDArray[np.uint8]
Boxes = NDArray[np.float32]


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks.load(1)


def photos() -> Iterator[Path]:
    yield images.PORTRAIT
    yield images.GROUP
    yield images.DATA / "2576" / "photo_03.jpg"
    yield from sorted((images.DATA / "people").glob("*/*.jpg"))[::2]
    if more := os.environ.get("FACES_PHOTOS"):
        yield from sorted(p for p in Path(more).rglob("*") if p.suffix in (".jpg", ".png"))


def read(path: Path) -> Pixels:
    with Image.open(path) as image:
        image.thumbnail((600, 600))  # the reference is slow
        return np.asarray(image.convert("RGB"))


def turned(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).rotate(20, expand=True))


def small_and_dark(pixels: Pixels) -> Pixels:
    image = Image.fromarray(pixels)
    image = image.resize((image.width // 3, image.height // 3))
    return (np.asarray(image) * 0.4).astype(np.uint8)


def a_wall_of_faces(pixels: Pixels) -> Pixels:
    image = Image.fromarray(pixels)
    return np.concatenate(
        [np.tile(np.asarray(image.resize((s, s))), (1, 480 // s, 1)) for s in (60, 80, 120)]
    )


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda pixels: pixels,
    "turned": turned,
    "small and dark": small_and_dark,
    "a wall": a_wall_of_faces,
    "one row less": lambda pixels: pixels[:-1, 1:],
}


def overlaps(box: Boxes, others: Boxes) -> Boxes:
    corner = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.clip(corner, 0, None).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    union: Boxes = (box[2:] - box[:2]).prod() + areas - shared
    found: Boxes = shared / union
    return found


@pytest.mark.parametrize(
    ("change", "min_face_size"), [*((change, 20) for change in CHANGES), ("as it is", 33)]
)
def test_the_same_faces_as_facenet_pytorch(
    networks: Networks, change: str, min_face_size: int
) -> None:
    theirs = MTCNN(keep_all=True, min_face_size=min_face_size, post_process=False)
    ours = Cascade(networks, min_face_size)
    compared = 0
    apart: list[tuple[Path, NDArray[np.float32]]] = []
    ties: list[tuple[Path, NDArray[np.float32]]] = []
    for path in photos():
        pixels = np.ascontiguousarray(CHANGES[change](read(path)))
        with torch.inference_mode():
            boxes, scores, landmarks = theirs.detect(Image.fromarray(pixels), landmarks=True)
        found, found_scores, found_landmarks, _ = ours.find(pixels)
        assert len(found) == (0 if boxes is None else len(boxes)), path
        for n in range(len(found)):
            box = np.asarray(boxes[n], np.float32)
            nearest = int(overlaps(box, found).argmax())
            side = float((box[2:] - box[:2]).max())
            # Far closer than a face needs: nothing but rounding is in between.
            same = (
                overlaps(box, found)[nearest] > 0.999
                and np.abs(found_landmarks[nearest] - landmarks[n]).max() < 0.001 * side
                and abs(found_scores[nearest] - scores[n]) < 1e-4
            )
            compared += 1
            if not same:
                alike = abs(found_scores[nearest] - scores[n]) < 1e-6
                tied = alike and overlaps(box, found)[nearest] > 0.9
                (ties if tied else apart).append((path, box))
    assert compared >= 5
    # Of two windows that are equally good another one may win by rounding, once in 2,000 faces.
    assert len(apart) <= compared // 500, apart
    # Those of the very same score are told apart by what the processor rounds alone.
    assert len(ties) <= 1 + compared // 500, ties


def test_a_photo_in_which_no_level_fits(networks: Networks) -> None:
    for size in ((1, 1), (19, 300), (300, 19)):
        boxes, scores, landmarks, _ = Cascade(networks, 20).find(np.zeros((*size, 3), np.uint8))
        assert (boxes.shape, scores.shape, landmarks.shape) == ((0, 4), (0,), (0, 5, 2))
