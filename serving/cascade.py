"""The cascade of MTCNN (Zhang et al. 2016, arXiv:1604.02878), step for step as in facenet-pytorch.

What it finds is what `facenet_pytorch.MTCNN` finds, to rounding: the tests compare the two. Only
how the networks' inputs are made and what runs the networks differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import nms

from serving.area import AreaSums
from serving.cascade_nets import Network, Networks

Array = NDArray[np.float32]

_CELL, _STRIDE = 12, 2  # pixels that the proposal network looks at, and from one look to the next
_FACTOR = 0.709  # from one level of the pyramid to the next
_AT_ONCE = 512  # windows in one call of a network


@dataclass(frozen=True)
class Thresholds:
    """Least probabilities of the three stages."""

    proposals: float = 0.6
    refining: float = 0.7
    output: float = 0.7


class Cascade:
    """Finds faces in one photo at a time; called by one thread at a time."""

    def __init__(
        self, networks: Networks, min_face_size: int, thresholds: Thresholds | None = None
    ) -> None:
        self._networks = networks
        self._scale = _CELL / min_face_size
        self._least = thresholds or Thresholds()

    def find(self, pixels: NDArray[np.uint8]) -> tuple[Array, Array, Array]:
        """Boxes (F, 4), scores (F,) and landmarks (F, 5, 2) in ``pixels``, uint8 RGB (H, W, 3)."""
        sums = AreaSums(pixels)
        boxes = self._propose(sums)
        boxes = self._refine(sums, boxes)
        return self._output(sums, boxes)

    def _scales(self, side: int) -> Iterator[float]:
        scale, least = self._scale, side * self._scale
        while least >= _CELL:
            yield scale
            scale, least = scale * _FACTOR, least * _FACTOR

    def _propose(self, sums: AreaSums) -> Array:
        found = [self._level(sums, scale) for scale in self._scales(min(sums.height, sums.width))]
        if not found:
            return np.empty((0, 4), np.float32)
        cells, scores, moves = (np.concatenate(parts) for parts in zip(*found, strict=True))
        keep = _nms(cells, scores, 0.7)
        cells, moves = cells[keep], moves[keep]
        sides = cells[:, 2:] - cells[:, :2]
        return _square(cells + moves * np.tile(sides, 2))

    def _level(self, sums: AreaSums, scale: float) -> tuple[Array, Array, Array]:
        """Of one level of the pyramid: cells (C, 4) in pixels of the photo, scores and moves."""
        image = sums.resized(int(sums.height * scale + 1), int(sums.width * scale + 1))
        moves, probabilities = self._networks.proposals(image[None])
        likely = probabilities[0, 1] >= self._least.proposals
        scores = probabilities[0, 1][likely]
        rows, columns = np.nonzero(likely)
        corners = np.stack([columns, rows], axis=1).astype(np.float32) * _STRIDE
        # The photo's pixels, in float32 as facenet-pytorch has them.
        cells = np.concatenate([corners + 1, corners + _CELL], axis=1) / np.float32(scale)
        cells = np.floor(cells)
        keep = _nms(cells, scores, 0.5)
        return cells[keep], scores[keep], moves[0][:, likely].T[keep]

    def _refine(self, sums: AreaSums, boxes: Array) -> Array:
        boxes, windows = _windows(sums, boxes, 24)
        if not len(boxes):
            return boxes
        moves, probabilities = _in_parts(self._networks.refining, windows)
        scores = probabilities[:, 1]
        likely = scores > self._least.refining
        boxes, scores, moves = boxes[likely], scores[likely], moves[likely]
        keep = _nms(boxes, scores, 0.7)
        return _square(_moved(boxes[keep], moves[keep]))

    def _output(self, sums: AreaSums, boxes: Array) -> tuple[Array, Array, Array]:
        boxes, windows = _windows(sums, boxes, 48)
        if not len(boxes):
            empty = np.empty((0, 5, 2), np.float32)
            return boxes, np.empty(0, np.float32), empty
        moves, places, probabilities = _in_parts(self._networks.output, windows)
        scores = probabilities[:, 1]
        likely = scores > self._least.output
        boxes, scores, moves = boxes[likely], scores[likely], moves[likely]
        # Of a landmark the five x come first, then the five y, in parts of the box.
        parts = places[likely].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = boxes[:, None, :2] + parts * _sides(boxes)[:, None] - 1
        boxes = _moved(boxes, moves)
        keep = _nms_by_smaller(boxes, scores, 0.7)
        return boxes[keep], scores[keep], landmarks[keep]


def _in_parts(network: Network, windows: Array) -> list[Array]:
    parts = [
        network(windows[start : start + _AT_ONCE]) for start in range(0, len(windows), _AT_ONCE)
    ]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def _windows(sums: AreaSums, boxes: Array, size: int) -> tuple[Array, Array]:
    """The boxes that have a part inside of the photo, and that part of each (N, size, size, 3)."""
    corners: NDArray[np.int64] = np.trunc(boxes).astype(np.int64)
    corners[:, :2] = np.maximum(corners[:, :2], 1) - 1
    corners[:, 2:] = np.minimum(corners[:, 2:], (sums.width, sums.height))
    inside = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    return boxes[inside], sums.windows(corners[inside], size)


def _sides(boxes: Array) -> Array:
    """(N, 2) width and height, counting both edges."""
    sides: Array = boxes[:, 2:] - boxes[:, :2] + np.float32(1)
    return sides


def _moved(boxes: Array, moves: Array) -> Array:
    """Each edge moved by a part of the box's side."""
    moved: Array = boxes + moves * np.tile(_sides(boxes), 2)
    return moved


def _square(boxes: Array) -> Array:
    """The square about the middle of each box that is as large as its longer side."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1, keepdims=True)
    corners = boxes[:, :2] + sides * 0.5 - longer * 0.5
    return np.concatenate([corners, corners + longer], axis=1)


def _nms(boxes: Array, scores: Array, overlap: float) -> NDArray[np.int64]:
    """Of boxes that overlap by more than so much of their union the best; best first."""
    kept: NDArray[np.int64] = nms(
        torch.from_numpy(boxes), torch.from_numpy(scores), overlap
    ).numpy()
    return kept


def _nms_by_smaller(boxes: Array, scores: Array, overlap: float) -> list[int]:
    """As `_nms`, but by the part of the smaller box: a face inside of another is none."""
    areas = _sides(boxes).prod(axis=1)
    left = np.argsort(scores)
    kept = []
    while len(left):
        best, left = int(left[-1]), left[:-1]
        kept.append(best)
        corners = np.maximum(boxes[best, :2], boxes[left, :2])
        ends = np.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = np.maximum(0, ends - corners + 1).prod(axis=1)
        left = left[shared / np.minimum(areas[best], areas[left]) <= overlap]
    return kept
