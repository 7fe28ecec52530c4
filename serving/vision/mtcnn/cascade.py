"""The cascade of MTCNN (Zhang et al. 2016, arXiv:1604.02878), step for step as in facenet-pytorch.

What it finds is what `facenet_pytorch.MTCNN` finds, to rounding: the tests compare the two. Only
how the networks' inputs are made and what runs the networks differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import nms

from serving.vision.mtcnn.area_sums import AreaSums, bins, compile_loops
from serving.vision.mtcnn.networks import Network, Networks
from serving.vision.mtcnn.pyramid import Level, canvases_of, paint

Array = NDArray[np.float32]

_CELL, _STRIDE = 12, 2  # pixels that the proposal network looks at, and from one look to the next
_FACTOR = 0.709  # from one level of the pyramid to the next
_AT_ONCE = 128  # windows in one call of a network, at most
_FEW, _STEPS = 32, (4, 16)  # and the steps in which their number grows, up to a few and beyond
# How much less than the network's own probability the sketch may say of a cell; and of the last
# cells of an odd number of pixels, where the sketch sees one that the network does not.
_ROUGHLY, _ROUGHLY_AT_EDGE = 0.1, 0.5


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
        compile_loops()

    def find(self, pixels: NDArray[np.uint8]) -> tuple[Array, Array, Array]:
        """Boxes (F, 4), scores (F,) and landmarks (F, 5, 2) in ``pixels``, uint8 RGB (H, W, 3)."""
        sums = AreaSums(pixels)
        boxes = self._propose(sums)
        boxes = self._refine(sums, boxes)
        return self._output(sums, boxes)

    def _propose(self, sums: AreaSums) -> Array:
        levels, places = [], []
        for canvas in canvases_of(sums.height, sums.width, self._scale, _FACTOR, _CELL):
            _, (probabilities,) = self._networks.sketch(paint(sums, canvas)[None])
            levels += canvas
            places += [self._likely(probabilities[1], level) for level in canvas]
        if not levels:
            return np.empty((0, 4), np.float32)
        moves, scores = self._look(sums, levels, places)
        number = np.repeat(np.arange(len(levels)), [len(cells) for cells in places])
        scales = np.array([level.scale for level in levels], np.float32)[number]
        corners = np.concatenate(places)[:, ::-1].astype(np.float32) * _STRIDE
        # The photo's pixels, in float32 as facenet-pytorch has them.
        cells = np.concatenate([corners + 1, corners + _CELL], axis=1) / scales[:, None]
        cells = np.floor(cells)
        # The levels apart at first: moved to where none meets another.
        apart = (number * 2 * max(sums.height, sums.width)).astype(np.float32)[:, None]
        keep = np.flatnonzero(scores >= self._least.proposals)
        keep = keep[_nms((cells + apart)[keep], scores[keep], 0.5)]
        keep = keep[_nms(cells[keep], scores[keep], 0.7)]
        cells, moves = cells[keep], moves[keep]
        sides = cells[:, 2:] - cells[:, :2]
        return _square(cells + moves * np.tile(sides, 2))

    def _likely(self, sketch: Array, level: Level) -> NDArray[np.int64]:
        """The cells (N, 2), row and column, of a level that are worth a look, by what the proposal
        network says roughly of the canvas."""
        top, left = level.top // _STRIDE, level.left // _STRIDE
        cells = sketch[top : top + _cells(level.height), left : left + _cells(level.width)]
        least = np.full(cells.shape, self._least.proposals - _ROUGHLY, np.float32)
        if level.height % _STRIDE:
            least[-1] = self._least.proposals - _ROUGHLY_AT_EDGE
        if level.width % _STRIDE:
            least[:, -1] = self._least.proposals - _ROUGHLY_AT_EDGE
        return np.argwhere(cells >= least)

    def _look(
        self, sums: AreaSums, levels: Sequence[Level], places: Sequence[NDArray[np.int64]]
    ) -> tuple[Array, Array]:
        """What the network says of cells of the levels: moves (N, 4) and scores (N,)."""
        grids = [_pixels(sums, level, cells) for level, cells in zip(levels, places, strict=True)]
        top, bottom, left, right = (np.concatenate(edges) for edges in zip(*grids, strict=True))
        moves, scores = np.empty((len(top), 4), np.float32), np.empty(len(top), np.float32)
        # The last cell of an odd number of pixels sees one less.
        short, narrow = bottom[:, -1] == 0, right[:, -1] == 0
        for less_high in (False, True):
            for less_wide in (False, True):
                n = np.flatnonzero((short == less_high) & (narrow == less_wide))
                if not len(n):
                    continue
                h, w = _CELL - less_high, _CELL - less_wide
                windows = sums.averages(top[n, :h], bottom[n, :h], left[n, :w], right[n, :w])
                found, probabilities = _in_parts(self._networks.proposals, windows)
                moves[n], scores[n] = found[:, :, 0, 0], probabilities[:, 1, 0, 0]
        return moves, scores

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
    # In numbers of which there are few: OpenVINO prepares a network anew for each that it meets.
    step = _STEPS[len(windows) > _FEW]
    filled = np.zeros((-(-len(windows) // step) * step, *windows.shape[1:]), np.float32)
    filled[: len(windows)] = windows
    parts = [network(filled[start : start + _AT_ONCE]) for start in range(0, len(filled), _AT_ONCE)]
    return [np.concatenate(outputs)[: len(windows)] for outputs in zip(*parts, strict=True)]


def _pixels(
    sums: AreaSums, level: Level, places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], ...]:
    """Of the pixels that cells (N, 2) of a level see, top, bottom, left and right (N, 12) in the
    photo; zeros for one that is outside of the level."""
    edges = []
    for axis, length, shown in ((0, sums.height, level.height), (1, sums.width, level.width)):
        seen = places[:, axis, None] * _STRIDE + np.arange(_CELL)
        edges += [
            np.append(ends[0], 0)[np.minimum(seen, shown)]
            for ends in bins(np.array([length]), shown)
        ]
    return tuple(edges)


def _cells(length: int) -> int:
    """How many cells the proposal network makes of so many pixels: its pooling rounds up."""
    return -(-(length - 2) // _STRIDE) - 4


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
