"""TIFF samples: from the unpacked bytes of rows to values of 0 to 255."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.errors import UnsupportedImage
from serving.vision.formats.tiff_pages import FLOAT, SIGNED, UNSIGNED, Page

_BLOCK = 1 << 20  # samples that are converted at once
# What floats range to, when no tag says it: the first of these that they do not pass.
_RANGES = (1.0, 255.0, 65535.0)


class Samples:
    """The samples in the rows of a plane, and how they become 0 to 255."""

    def __init__(
        self, page: Page, rows: NDArray[np.uint8], tile_bytes: int, columns: int, samples: int
    ) -> None:
        """``rows``: (H, bytes), of tiles side by side, each of ``tile_bytes`` and ``columns``
        pixels of so many samples."""
        self.page, self.rows = page, rows
        self.tile_bytes, self.columns, self.samples = tile_bytes, columns, samples
        self.step = max(1, _BLOCK // (rows.shape[1] * 8 // page.bits + 1))

    def into(self, out: NDArray[np.uint8], samples: list[int], colours: bool) -> None:
        """Write these samples of each pixel to ``out`` (H, W, samples)."""
        low, high = self._range(samples) if colours else self._full()
        for y in range(0, len(self.rows), self.step):
            values = self._block(y)[..., samples].astype(np.float64)
            values = np.nan_to_num((values - low) * (255 / (high - low)), posinf=255, neginf=0)
            out[y : y + self.step] = np.clip(np.rint(values), 0, 255)

    def _full(self) -> tuple[float, float]:
        bits = self.page.bits
        if self.page.format == FLOAT:
            return 0.0, 1.0
        if self.page.format == SIGNED:
            return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
        return 0.0, 2.0**bits - 1

    def _range(self, samples: list[int]) -> tuple[float, float]:
        """What is black and what is white: as the tags say it, else all that the bits can hold."""
        low, high = self._full()
        least, most = self.page.numbers(340), self.page.numbers(341)
        if most and float(max(most)) > (start := float(min(least)) if least else 0.0):
            return start, float(max(most))
        if self.page.format != FLOAT:
            return low, high
        top = 0.0
        for y in range(0, len(self.rows), self.step):
            block = self._block(y)[..., samples]
            top = max(top, float(block.max(initial=0, where=np.isfinite(block))))
        # Sharpening and enlarging pass the range a little.
        fitting = next((r for r in _RANGES if top <= 1.1 * r), None)
        # A photo that uses so little of a range has another one, and would come out black.
        if fitting is None or (fitting > 1 and top < fitting / 16):
            raise UnsupportedImage(
                f"This TIFF has floats up to {top:.4g}, and no tag says which of them is white; "
                "send it with SMaxSampleValue, or as PNG or JPEG."
            )
        return 0.0, fitting

    def _block(self, y: int) -> NDArray[np.generic]:
        """The samples of some rows from ``y`` on, (rows, W, samples)."""
        width = self.page.size[0]
        rows, size = self.rows[y : y + self.step], self.tile_bytes
        tiles = [self._values(rows[:, x : x + size]) for x in range(0, rows.shape[1], size)]
        return np.concatenate(tiles, axis=1)[:, :width]

    def _values(self, rows: NDArray[np.uint8]) -> NDArray[np.generic]:
        page, (columns, samples) = self.page, (self.columns, self.samples)
        predictor, size = page.number(317, 1), page.bits // 8
        if predictor == 3:
            # The bytes of a row are sorted by their place in the floats, the highest first, and
            # each is the difference from the pixel before.
            by_place = rows.reshape(len(rows), columns * size, samples)
            summed = np.cumsum(by_place, axis=1, dtype=np.uint8).reshape(len(rows), size, -1)
            whole = np.ascontiguousarray(summed.transpose(0, 2, 1))
            return whole.view(f">f{size}").reshape(len(rows), columns, samples)
        if page.bits not in (8, 16, 32, 64):
            return self._of_bits(rows)
        letter = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}[page.format]
        order = page.order
        unpacked = np.ascontiguousarray(rows).view(f"{order}u{size}")
        unpacked = unpacked.reshape(len(rows), columns, samples)
        if predictor == 2:
            native = unpacked.astype(f"=u{size}")
            unpacked = np.cumsum(native, axis=1, dtype=native.dtype)
            order = "="
        return unpacked.view(f"{order}{letter}{size}")

    def _of_bits(self, rows: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Samples that are no whole bytes, or of 24, 40, 48 or 56 bits."""
        bits, (columns, samples) = self.page.bits, (self.columns, self.samples)
        if bits % 8 == 0:
            places = rows.reshape(len(rows), columns, samples, bits // 8)
            if self.page.order == "<":
                places = places[..., ::-1]
            weights = 256.0 ** np.arange(bits // 8 - 1, -1, -1)
        else:
            unpacked = np.unpackbits(rows, axis=1, count=columns * samples * bits)
            places = unpacked.reshape(len(rows), columns, samples, bits)
            weights = 2.0 ** np.arange(bits - 1, -1, -1)
        values = places @ weights
        if self.page.format == SIGNED:
            values = np.where(values >= 2.0 ** (bits - 1), values - 2.0**bits, values)
        return np.asarray(values)
