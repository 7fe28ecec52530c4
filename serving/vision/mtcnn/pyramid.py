"""The levels of an image pyramid on two canvases; a network sees each canvas in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.vision.mtcnn.area_sums import AreaSums

# Rounds the canvases to few different sizes: OpenVINO compiles the network for each new size.
_STEP = 32


@dataclass(frozen=True)
class Level:
    """A pyramid level: the photo reduced by ``scale``, ``height`` by ``width`` pixels at ``top``,
    ``left`` (both even) of its canvas."""

    scale: float
    height: int
    width: int
    top: int
    left: int


def canvases_of(
    height: int, width: int, scale: float, factor: float, least: int
) -> list[list[Level]]:
    """The levels of a photo: the first at ``scale``, each next one ``factor`` times the one before,
    down to a shorter side of ``least`` pixels. The first level, half of all pixels, has a canvas of
    its own; the others share one."""
    sizes = []
    side = min(height, width) * scale
    while side >= least:
        sizes.append((scale, int(height * scale + 1), int(width * scale + 1)))
        scale, side = scale * factor, side * factor
    return [_placed(part) for part in (sizes[:1], sizes[1:]) if part]


def _placed(sizes: Sequence[tuple[float, int, int]]) -> list[Level]:
    """Place each level in the first shelf with room, or below all; no wider than the first."""
    levels = []
    shelves: list[tuple[int, int]] = []  # top, and the filled width
    below, room = 0, sizes[0][2]
    for scale, height, width in sizes:
        n = next((n for n, (_, end) in enumerate(shelves) if end + width <= room), len(shelves))
        if n == len(shelves):
            shelves.append((below, 0))
            below += _even(height)
        top, left = shelves[n]
        shelves[n] = top, left + _even(width)
        levels.append(Level(scale, height, width, top, left))
    return levels


def paint(sums: AreaSums, levels: Sequence[Level]) -> NDArray[np.uint8]:
    """Draw the canvas, uint8 RGB (H, W, 3). A level with an odd number of rows or columns has the
    last one repeated."""
    height = max(level.top + _even(level.height) for level in levels)
    width = max(level.left + _even(level.width) for level in levels)
    canvas = np.zeros((-(-height // _STEP) * _STEP, -(-width // _STEP) * _STEP, 3), np.uint8)
    for level in levels:
        bottom, right = level.top + level.height, level.left + level.width
        sums.resize_into(canvas[level.top : bottom, level.left : right])
        if level.width % 2:
            canvas[level.top : bottom, right] = canvas[level.top : bottom, right - 1]
        if level.height % 2:
            end = level.left + _even(level.width)
            canvas[bottom, level.left : end] = canvas[bottom - 1, level.left : end]
    return canvas


def _even(length: int) -> int:
    return length + length % 2
