"""The cascade of MTCNN (Zhang et al. 2016, arXiv:1604.02878), step for step as in facenet-pytorch.

It finds the same faces as `facenet_pytorch.MTCNN`, up to rounding: the tests compare the two. Only
how the networks' inputs are made, and which library runs the networks, differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.vision.detector import Crowded
from serving.vision.mtcnn.area_sums import AreaSums, bins, compile_loops
from serving.vision.mtcnn.boxes import Array, moved, sides, square
from serving.vision.mtcnn.networks import Network, Networks
from serving.vision.mtcnn.pyramid import Level, canvases_of, paint
from serving.vision.mtcnn.suppression import compile_loop, nms, nms_by_smaller

_CELL, _STRIDE = 12, 2  # pixels that P-Net sees for a cell, and from one cell to the next
_FACTOR = 0.709  # from one level of the image pyramid to the next
_MAX_BATCH = 128  # windows in one call of a network
# Margin below the P-Net threshold at which the bfloat16 P-Net keeps a cell for the exact pass.
# Larger for the last cells of levels of odd size, where the canvas repeats a pixel.
_MARGIN, _MARGIN_AT_EDGE = 0.1, 0.5


# What is kept for each face that is looked for, when a photo has more: at least 1.3 times what each
# face of a mosaic of faces has (80 to 120 cells, 25 to 37 windows of R-Net, 8 of O-Net).
_CELLS, _RNET_WINDOWS, _ONET_WINDOWS = 160, 48, 12


@dataclass(frozen=True)
class Thresholds:
    """The lowest face probabilities that each of the three networks keeps."""

    pnet: float = 0.6
    rnet: float = 0.7
    onet: float = 0.7


class Cascade:
    """Finds faces in one photo at a time; called by one thread at a time.

    Args:
        faces, crowd: see `serving.vision.mtcnn.detector.FaceDetector`.
    """

    def __init__(
        self,
        networks: Networks,
        min_face_size: int,
        thresholds: Thresholds | None = None,
        *,
        faces: int | None = None,
        crowd: int | None = None,
    ) -> None:
        self._faces = faces
        self._crowd = crowd
        self._networks = networks
        self._scale = _CELL / min_face_size
        self._thresholds = thresholds or Thresholds()
        compile_loops()
        compile_loop()

    def find(self, pixels: NDArray[np.uint8]) -> tuple[Array, Array, Array, bool]:
        """Boxes (F, 4), scores (F,) and landmarks (F, 5, 2) in ``pixels``, uint8 RGB (H, W, 3); and
        whether small faces were left out, unseen.

        Raises:
            Crowded: see `FaceDetector`.
        """
        sums = AreaSums(pixels)
        boxes, fewer_cells = self._propose(sums)
        boxes, fewer = self._largest(boxes, _RNET_WINDOWS)
        boxes, fewest = self._largest(self._refine(sums, boxes), _ONET_WINDOWS)
        return (*self._output(sums, boxes), fewer_cells or fewer or fewest)

    def chances(self, windows: Array) -> Array:
        """O-Net's probabilities that windows (N, 48, 48, 3), 0 to 255, show a face: (N,)."""
        if not len(windows):
            return np.empty(0, np.float32)
        _, _, probabilities = _in_batches(self._networks.onet, windows)
        return probabilities[:, 1]

    def _largest(self, boxes: Array, each: int) -> tuple[Array, bool]:
        """The largest boxes, ``each`` for each face, in their order; and whether others are left
        out."""
        if self._faces is None or len(boxes) <= self._faces * each:
            return boxes, False
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        kept = np.argsort(-areas, kind="stable")[: self._faces * each]
        return boxes[np.sort(kept)], True

    def _propose(self, sums: AreaSums) -> tuple[Array, bool]:
        levels: list[Level] = []
        places: list[NDArray[np.int64]] = []
        likely: list[Array] = []
        for canvas in canvases_of(sums.height, sums.width, self._scale, _FACTOR, _CELL):
            _, (probabilities,) = self._networks.pnet_bf16(paint(sums, canvas)[None])
            for level in canvas:
                cells, chances = self._likely(probabilities[1], level)
                levels.append(level)
                places.append(cells)
                likely.append(chances)
        count = sum(map(len, places))
        if self._crowd is not None and count > self._crowd * _CELLS:
            raise Crowded
        fewer = self._faces is not None and count > self._faces * _CELLS
        if self._faces is not None and fewer:
            places = _of_large_faces(levels, places, likely, self._faces * _CELLS)
        if not levels:
            return np.empty((0, 4), np.float32), False
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
        extents = cells[:, 2:] - cells[:, :2]
        return square(cells + offsets * np.tile(extents, 2)), fewer

    def _likely(self, probabilities: Array, level: Level) -> tuple[NDArray[np.int64], Array]:
        """The cells of a level that the exact P-Net is run on, (N, 2), row and column; and their
        probabilities.

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
        kept = cells >= least
        return np.argwhere(kept), cells[kept]

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
        return square(moved(boxes[keep], offsets[keep]))

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
        landmarks = boxes[:, None, :2] + parts * sides(boxes)[:, None] - 1
        boxes = moved(boxes, offsets)
        keep = nms_by_smaller(boxes, scores, 0.7)
        return boxes[keep], scores[keep], landmarks[keep]


def _of_large_faces(
    levels: Sequence[Level],
    places: Sequence[NDArray[np.int64]],
    likely: Sequence[Array],
    most: int,
) -> list[NDArray[np.int64]]:
    """The cells of each level, ``most`` in all: those of the levels with the largest faces, and of
    the last of these levels the likeliest ones."""
    kept = [cells[:0] for cells in places]
    for n in sorted(range(len(levels)), key=lambda n: levels[n].scale):
        best = np.argsort(-likely[n], kind="stable")[:most]
        kept[n] = places[n][np.sort(best)]
        most -= len(best)
    return kept


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
