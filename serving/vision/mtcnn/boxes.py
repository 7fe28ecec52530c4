"""Boxes float32 (N, 4), x1 y1 x2 y2, as MTCNN calculates with them: both edges count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def sides(boxes: Array) -> Array:
    """(N, 2) width and height, counting both edges."""
    result: Array = boxes[:, 2:] - boxes[:, :2] + np.float32(1)
    return result


def moved(boxes: Array, offsets: Array) -> Array:
    """Boxes after box regression: each edge is moved by a part of the box's side."""
    result: Array = boxes + offsets * np.tile(sides(boxes), 2)
    return result


def square(boxes: Array) -> Array:
    """The square about the middle of each box that is as large as its longer side."""
    extents = boxes[:, 2:] - boxes[:, :2]
    longer = extents.max(axis=1, keepdims=True)
    corners = boxes[:, :2] + extents * 0.5 - longer * 0.5
    return np.concatenate([corners, corners + longer], axis=1)
