"""Area averages of a photo, at any size, from one table of sums.

MTCNN was trained on photos that were reduced by averaging areas, as `adaptive_avg_pool2d` and
`interpolate(mode="area")` do. Doing it anew from the whole photo for each level of the pyramid and
each window costs more than the networks. With a summed-area table (Crow 1984,
doi:10.1145/800031.808600) every average is four look-ups, whatever its size, and exact.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


class AreaSums:
    """The table of one photo, uint8 RGB (H, W, 3).

    The sums of a very large photo wrap around in int32, and their differences wrap back: only what
    is averaged into one pixel, at most 8 million pixels, has to fit.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.height, self.width = pixels.shape[:2]
        # One channel after the other in each row, where adding up is several times as fast.
        rows = np.cumsum(pixels.transpose(0, 2, 1), axis=2, dtype=np.int32)
        for row in range(1, self.height):  # faster than numpy's own cumsum along this axis
            np.add(rows[row], rows[row - 1], out=rows[row])
        self._sums = torch.zeros((self.height + 1, self.width + 1, 3), dtype=torch.int32)
        self._sums[1:, 1:] = torch.from_numpy(rows).permute(0, 2, 1)

    def resized(self, height: int, width: int) -> NDArray[np.float32]:
        """The whole photo: float32 (height, width, 3), 0 to 255."""
        top, bottom = _bins(torch.tensor([self.height]), height)
        left, right = _bins(torch.tensor([self.width]), width)
        rows = self._sums.index_select(0, bottom[0])
        rows -= self._sums.index_select(0, top[0])
        sums = rows.index_select(1, right[0])
        sums -= rows.index_select(1, left[0])
        areas = (bottom - top)[0][:, None] * (right - left)[0]
        return _averages(sums, areas)

    def windows(self, corners: NDArray[np.int64], size: int) -> NDArray[np.float32]:
        """Windows of the photo, each as a square: float32 (N, size, size, 3), 0 to 255.

        Args:
            corners: int64 (N, 4), x1 y1 x2 y2 inside of the photo, x2 and y2 exclusive, not empty.
        """
        x1, y1, x2, y2 = torch.from_numpy(corners).T
        top, bottom = (b + y1[:, None] for b in _bins(y2 - y1, size))
        left, right = (b + x1[:, None] for b in _bins(x2 - x1, size))
        sums = self._at(bottom, right)
        sums -= self._at(top, right)
        sums -= self._at(bottom, left)
        sums += self._at(top, left)
        areas = (bottom - top)[:, :, None] * (right - left)[:, None, :]
        return _averages(sums.view(-1, size, size, 3), areas)

    def _at(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        places = (rows * (self.width + 1))[:, :, None] + columns[:, None, :]
        return self._sums.view(-1, 3).index_select(0, places.view(-1))


def _bins(lengths: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Beginnings and ends (N, size) of the parts into which ``lengths`` (N,) pixels fall."""
    steps = torch.arange(size + 1) * lengths[:, None]
    return steps[:, :-1] // size, -(-steps[:, 1:] // size)


def _averages(sums: torch.Tensor, areas: torch.Tensor) -> NDArray[np.float32]:
    averages: NDArray[np.float32] = (sums.float() / areas.float()[..., None]).numpy()
    return averages
