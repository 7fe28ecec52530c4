"""Crops with the surroundings of a face, for models that look for signs of an attack: the edge of a
screen or of a print, a hand that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.settings import LivenessSettings


@dataclass(frozen=True)
class Surroundings:
    """A kind of crop.

    Attributes:
        height, width: pixels of the crop.
        scale: how many times as long as the box's the sides of the region are.
        region: ``square``: its side is that of the box's longer side, times the scale; ``box``: it
            has the proportions of the box.
    """

    height: int
    width: int
    scale: float
    region: Literal["square", "box"] = "square"


def surroundings_of(height: int, width: int, settings: LivenessSettings) -> Surroundings:
    """The crops of a model whose input has this size."""
    return Surroundings(height, width, settings.scale, settings.region)


def region_of(
    box: NDArray[np.float32], size: tuple[int, int], wanted: Surroundings
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the region around a face, in whole pixels of the photo.

    It has the box's centre. A region that reaches over an edge is moved into the photo, and one
    that does not fit is reduced, in its proportions: a model never sees a border that the photo
    does not have.

    Args:
        box: float32 (4,), x1 y1 x2 y2 in pixels of the photo.
        size: width and height of the photo.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    width, height = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
    if wanted.region == "square":
        width = height = max(width, height)
    scale = min(wanted.scale, size[0] / width, size[1] / height)
    left, right = _inside((x1 + x2) / 2, width * scale, size[0])
    top, bottom = _inside((y1 + y2) / 2, height * scale, size[1])
    return left, top, right, bottom


def _inside(middle: float, length: float, limit: int) -> tuple[int, int]:
    """Both ends of a stretch of this length, moved between 0 and the limit."""
    whole = min(max(round(length), 1), limit)
    start = min(max(round(middle - length / 2), 0), limit - whole)
    return start, start + whole


def cut(image: Image.Image, box: NDArray[np.float32], wanted: Surroundings) -> NDArray[np.uint8]:
    """One face with its surroundings: uint8 RGB (height, width, 3).

    Args:
        image: the RGB photo.
        box: see `region_of`.
    """
    region = image.crop(region_of(box, image.size, wanted))
    # Averages the pixels where it reduces, so that no pattern appears that the photo does not have.
    return np.asarray(region.resize((wanted.width, wanted.height), Image.Resampling.BILINEAR))
