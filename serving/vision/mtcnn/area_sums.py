"""Area averages of a photo, at any size, from one table of sums.

MTCNN was trained on photos that were reduced by averaging areas, as `adaptive_avg_pool2d` and
`interpolate(mode="area")` do. To repeat that on the whole photo for each pyramid level and each
window costs more than the networks. With a summed-area table (Crow 1984,
doi:10.1145/800031.808600) every average takes four look-ups at any size, and is exact.

The loops are compiled by numba: whole-array operations of numpy or torch each pass through memory
once more, and take seven times as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.vision.compiled import compiled

Ints = NDArray[np.int64]


class AreaSums:
    """The table of one photo, uint8 RGB (H, W, 3).

    The sums of a very large photo wrap around in int32, and their differences wrap back. Only the
    sum of the pixels that are averaged into one has to fit: at most 8 million pixels.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.height, self.width = pixels.shape[:2]
        self._sums = np.zeros((self.height + 1, self.width + 1, 3), np.int32)
        _add_up(pixels, self._sums)

    def resize_into(self, out: NDArray[np.uint8]) -> None:
        """Write the whole photo into ``out``, uint8 (height, width, 3), reduced to its size."""
        rows, columns = (
            bins(np.array([length]), size)
            for length, size in ((self.height, out.shape[0]), (self.width, out.shape[1]))
        )
        _average(self._sums, *rows, *columns, out[None], 0.5)

    def windows(self, corners: Ints, size: int) -> NDArray[np.float32]:
        """Windows of the photo, each as a square: float32 (N, size, size, 3), 0 to 255.

        Args:
            corners: int64 (N, 4), x1 y1 x2 y2 inside of the photo, x2 and y2 exclusive, not empty.
        """
        x1, y1, x2, y2 = corners.T
        rows = [edges + y1[:, None] for edges in bins(y2 - y1, size)]
        columns = [edges + x1[:, None] for edges in bins(x2 - x1, size)]
        return self.averages(*rows, *columns)

    def averages(self, top: Ints, bottom: Ints, left: Ints, right: Ints) -> NDArray[np.float32]:
        """N grids of averages: float32 (N, h, w, 3), 0 to 255.

        Args:
            top, bottom: int64 (N, h), the first row of the photo for each row of a grid, and the
                one after the last; left, right: int64 (N, w), the columns.
        """
        out = np.empty((*top.shape, left.shape[1], 3), np.float32)
        _average(self._sums, top, bottom, left, right, out, 0.0)
        return out


def bins(lengths: Ints, size: int) -> tuple[Ints, Ints]:
    """Starts and ends (N, size) of the bins that divide each of ``lengths`` (N,) pixels."""
    steps = np.arange(size + 1) * lengths[:, None]
    return steps[:, :-1] // size, -(-steps[:, 1:] // size)


def compile_loops() -> None:
    """Compile the loops now: no caller should wait for that at the first use."""
    sums = AreaSums(np.zeros((2, 2, 3), np.uint8))
    sums.resize_into(np.zeros((2, 2, 3), np.uint8)[:1, :1])
    sums.windows(np.array([[0, 0, 1, 1]]), 1)


@compiled()
def _add_up(pixels: NDArray[np.uint8], sums: NDArray[np.int32]) -> None:
    for y in range(pixels.shape[0]):
        red, green, blue = 0, 0, 0
        for x in range(pixels.shape[1]):
            red += pixels[y, x, 0]
            green += pixels[y, x, 1]
            blue += pixels[y, x, 2]
            sums[y + 1, x + 1, 0] = sums[y, x + 1, 0] + red
            sums[y + 1, x + 1, 1] = sums[y, x + 1, 1] + green
            sums[y + 1, x + 1, 2] = sums[y, x + 1, 2] + blue


@compiled()
def _average(
    sums: NDArray[np.int32],
    top: Ints,
    bottom: Ints,
    left: Ints,
    right: Ints,
    out: NDArray[Any],
    more: float,
) -> None:
    """``more`` is added to each average: a half where ``out`` is of integers, to round."""
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            t, b = top[n, i], bottom[n, i]
            for j in range(out.shape[2]):
                le, r = left[n, j], right[n, j]
                part = np.float32(1) / np.float32((b - t) * (r - le))
                for c in range(3):
                    total = np.int32(
                        sums[b, r, c] - sums[t, r, c] - sums[b, le, c] + sums[t, le, c]
                    )
                    out[n, i, j, c] = np.float32(total) * part + np.float32(more)
