"""The photos of the benchmarks: the project's own, and generated rooms full of faces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.errors import ServingError
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from serving.vision.detector import Detector
from serving.vision.faces import find_faces
from serving.vision.records import Faces, Photo

DATA = Path(__file__).resolve().parents[2] / "data"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    name: str
    pixels: Pixels
    jpeg: bytes


def scenes() -> Iterator[Scene]:
    """The project's own photos, and rooms full of their faces."""
    for path in (
        "id_is_2576.jpg",
        "group.jpg",
        "people/101/macron_2025.jpg",
        "people/102/obama.jpg",
    ):
        with Image.open(DATA / path) as image:
            pixels = np.asarray(image.convert("RGB"))
        yield Scene(path.rpartition("/")[2], pixels, (DATA / path).read_bytes())
    for width, height, faces in ((640, 480, 1), (1366, 768, 8), (1920, 1080, 20), (2280, 1588, 60)):
        pixels = room(width, height, faces)
        out = BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=90)
        yield Scene(f"generated, {faces} faces", pixels, out.getvalue())


def photos_with_faces(folder: Path, detector: Detector) -> Iterator[tuple[Path, Photo, Faces]]:
    """The photos ``folder/<person>/<photo>`` that can be read and show a face."""
    for path in sorted(folder.glob("*/*")):
        try:
            photo = decode(path.read_bytes(), DecodeSettings())
        except (OSError, ServingError):
            continue
        faces = find_faces(photo, detector)
        if len(faces):
            yield path, photo, faces


def background(width: int, height: int, seed: int) -> Image.Image:
    """A busy background without a face."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 40, width // 40, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def room(width: int, height: int, faces: int) -> Pixels:
    """A number of heads in front of a busy background, as in a room."""
    image = background(width, height, faces)
    columns = int(np.ceil(np.sqrt(faces * width / height)))
    rows = -(-faces // columns)
    side = int(0.8 * min(width / columns, height / rows, 300))
    heads = [
        Image.open(DATA / path).convert("RGB").crop(box)
        for path, box in (
            ("id_is_2576.jpg", (120, 60, 600, 600)),
            ("group.jpg", (1320, 110, 1620, 460)),
            ("people/101/macron_2025.jpg", (130, 100, 600, 660)),
        )
    ]
    for n in range(faces):
        head = heads[n % 3] if n % 3 < 2 else heads[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        x = int((n % columns + 0.1) * width / columns)
        y = int((n // columns + 0.1) * height / rows)
        image.paste(head.resize((side, side)), (x, y))
    return np.asarray(image)
