"""The cascade of MTCNN (Zhang et al. 2016, arXiv:1604.02878), step for step as in facenet-pytorch.

It finds the same faces as `facenet_pytorch.MTCNN`, up to rounding: the tests compare the two. Only
how the networks' inputs are made, and which library runs the networks, differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.vision.mtcnn.area_sums import AreaSums, bins, compile_loops
from serving.vision.mtcnn.networks import Network, Networks
from serving.vision.mtcnn.pyramid import Level, canvases_of, paint
from serving.vision.mtcnn.suppression import compile_loop, nms, nms_by_smaller

Array = NDArray[np.float32]

_CELL, _STRIDE = 12, 2  # pixels that P-Net sees for a cell, and from one cell to the next
_FACTOR = 0.709  # from one level of the image pyramid to the next
_MAX_BATCH = 128  # windows in one call of a network
# Margin below the P-Net threshold at which the bfloat16 P-Net keeps a cell for the exact pass.
# Larger for the last cells of levels of odd size, where the canvas repeats a pixel.
_MARGIN, _MARGIN_AT_EDGE = 0.1, 0.5


@dataclass(frozen=True)
class Thresholds:
    """The lowest face probabilities that each of the three networks keeps."""

    pnet: float = 0.6
    rnet: float = 0.7
    onet: float = 0.7


class Cascade:
    """Finds faces in one photo at a time; called by one thread at a time."""

    def __init__(
        self, networks: Networks, min_face_size: int, thresholds: Thresholds | None = None
    ) -> None:
        self._networks = networks
        self._scale = _CELL / min_face_size
        self._thresholds = thresholds or Thresholds()
        compile_loops()
        compile_loop()

    def find(self, pixels: NDArray[np.uint8]) -> tuple[Array, Array, Array]:
        """Boxes (F, 4), scores (F,) and landmarks (F, 5, 2) in ``pixels``, uint8 RGB (H, W, 3)."""
        sums = AreaSums(pixels)
        boxes = self._propose(sums)
        boxes = self._refine(sums, boxes)
        return self._output(sums, boxes)

    def _propose(self, sums: AreaSums) -> Array:
        levels, places = [], []
        for canvas in canvases_of(sums.height, sums.width, self._scale, _FACTOR, _CELL):
            _, (probabilities,) = self._networks.pnet_bf16(paint(sums, canvas)[None])
            levels += canvas
            places += [self._likely(probabilities[1], level) for level in canvas]
        if not levels:
            return np.empty((0, 4), np.float32)
        offsets, scores = self._score(sums, levels, places)
        number = np.repeat(np.arange(len(levels)), [len(cells) for cells in places])
        scales = np.array([level.scale for level in levels], np.float32)[number]
        corners = np.concatenate(places)[:, ::-1].astype(np.float32) * _STRIDE
        # The photo's pixels, in float32 as facenet-pytorch has them.
        cells = np.concatenate([corners + 1, corners + _CELL], axis=1) / scales[:, None]
        cells = np.floor(cells)
        # NMS within each level first: boxes are shifted so that two levels never overlap.
        apart = (number * 2 * max(sums.height, sums.width)).astype(np.float32)[:, None]
        keep = np.flatnonzero(scores >= self._thresholds.pnet)
        keep = keep[nms((cells + apart)[keep], scores[keep], 0.5)]
        keep = keep[nms(cells[keep], scores[keep], 0.7)]
        cells, offsets = cells[keep], offsets[keep]
        sides = cells[:, 2:] - cells[:, :2]
        return _square(cells + offsets * np.tile(sides, 2))

    def _likely(self, probabilities: Array, level: Level) -> NDArray[np.int64]:
        """The cells of a level that the exact P-Net is run on, (N, 2), row and column.

        Args:
            probabilities: the bfloat16 P-Net's, of the level's whole canvas.
        """
        top, left = level.top // _STRIDE, level.left // _STRIDE
        cells = probabilities[top : top + _cells(level.height), left : left + _cells(level.width)]
        least = np.full(cells.shape, self._thresholds.pnet - _MARGIN, np.float32)
        if level.height % _STRIDE:
            least[-1] = self._thresholds.pnet - _MARGIN_AT_EDGE
        if level.width % _STRIDE:
            least[:, -1] = self._thresholds.pnet - _MARGIN_AT_EDGE
        return np.argwhere(cells >= least)

    def _score(
        self, sums: AreaSums, levels: Sequence[Level], places: Sequence[NDArray[np.int64]]
    ) -> tuple[Array, Array]:
        """Run the exact P-Net on cells of the levels: offsets (N, 4) and scores (N,)."""
        grids = [_pixels(sums, level, cells) for level, cells in zip(levels, places, strict=True)]
        top, bottom, left, right = (np.concatenate(edges) for edges in zip(*grids, strict=True))
        offsets, scores = np.empty((len(top), 4), np.float32), np.empty(len(top), np.float32)
        # The last cell of a level of odd size sees one pixel less.
        short, narrow = bottom[:, -1] == 0, right[:, -1] == 0
        for less_high in (False, True):
            for less_wide in (False, True):
                n = np.flatnonzero((short == less_high) & (narrow == less_wide))
                if not len(n):
                    continue
                h, w = _CELL - less_high, _CELL - less_wide
                windows = sums.averages(top[n, :h], bottom[n, :h], left[n, :w], right[n, :w])
                regression, probabilities = _in_batches(self._networks.pnet, windows)
                offsets[n], scores[n] = regression[:, :, 0, 0], probabilities[:, 1, 0, 0]
        return offsets, scores

    def _refine(self, sums: AreaSums, boxes: Array) -> Array:
        boxes, windows = _windows(sums, boxes, 24)
        if not len(boxes):
            return boxes
        offsets, probabilities = _in_batches(self._networks.rnet, windows)
        scores = probabilities[:, 1]
        likely = scores > self._thresholds.rnet
        boxes, scores, offsets = boxes[likely], scores[likely], offsets[likely]
        keep = nms(boxes, scores, 0.7)
        return _square(_moved(boxes[keep], offsets[keep]))

    def _output(self, sums: AreaSums, boxes: Array) -> tuple[Array, Array, Array]:
        boxes, windows = _windows(sums, boxes, 48)
        if not len(boxes):
            empty = np.empty((0, 5, 2), np.float32)
            return boxes, np.empty(0, np.float32), empty
        offsets, points, probabilities = _in_batches(self._networks.onet, windows)
        scores = probabilities[:, 1]
        likely = scores > self._thresholds.onet
        boxes, scores, offsets = boxes[likely], scores[likely], offsets[likely]
        # O-Net returns the five x first, then the five y, as parts of the box's sides.
        parts = points[likely].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = boxes[:, None, :2] + parts * _sides(boxes)[:, None] - 1
        boxes = _moved(boxes, offsets)
        keep = nms_by_smaller(boxes, scores, 0.7)
        return boxes[keep], scores[keep], landmarks[keep]


def _in_batches(network: Network, windows: Array) -> list[Array]:
    # Batches are padded to a multiple of 4, above 32 windows of 16: OpenVINO compiles each new
    # size.
    step = 16 if len(windows) > 32 else 4
    filled = np.zeros((-(-len(windows) // step) * step, *windows.shape[1:]), np.float32)
    filled[: len(windows)] = windows
    parts = [
        network(filled[start : start + _MAX_BATCH]) for start in range(0, len(filled), _MAX_BATCH)
    ]
    return [np.concatenate(outputs)[: len(windows)] for outputs in zip(*parts, strict=True)]


def _pixels(
    sums: AreaSums, level: Level, places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], ...]:
    """Edges, in the photo, of the level pixels that P-Net sees for cells (N, 2) of a level.

    Returns:
        Top, bottom, left and right, each (N, 12); zeros for a pixel outside of the level.
    """
    edges = []
    for axis, length, shown in ((0, sums.height, level.height), (1, sums.width, level.width)):
        seen = places[:, axis, None] * _STRIDE + np.arange(_CELL)
        edges += [
            np.append(ends[0], 0)[np.minimum(seen, shown)]
            for ends in bins(np.array([length]), shown)
        ]
    return tuple(edges)


def _cells(length: int) -> int:
    """The number of cells that P-Net makes of ``length`` pixels: its pooling rounds up."""
    return -(-(length - 2) // _STRIDE) - 4


def _windows(sums: AreaSums, boxes: Array, size: int) -> tuple[Array, Array]:
    """The boxes that overlap the photo, and the part of each inside it, (N, size, size, 3)."""
    corners: NDArray[np.int64] = np.trunc(boxes).astype(np.int64)
    corners[:, :2] = np.maximum(corners[:, :2], 1) - 1
    corners[:, 2:] = np.minimum(corners[:, 2:], (sums.width, sums.height))
    inside = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    return boxes[inside], sums.windows(corners[inside], size)


def _sides(boxes: Array) -> Array:
    """(N, 2) width and height, counting both edges."""
    sides: Array = boxes[:, 2:] - boxes[:, :2] + np.float32(1)
    return sides


def _moved(boxes: Array, offsets: Array) -> Array:
    """Boxes after box regression: each edge is moved by a part of the box's side."""
    moved: Array = boxes + offsets * np.tile(_sides(boxes), 2)
    return moved


def _square(boxes: Array) -> Array:
    """The square about the middle of each box that is as large as its longer side."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1, keepdims=True)
    corners = boxes[:, :2] + sides * 0.5 - longer * 0.5
    return np.concatenate([corners, corners + longer], axis=1)
