"""TIFF samples of any depth: Pillow unpacks the file's bytes, and here they become a picture.

Pillow reads few kinds of more than 8 bits, and some of them wrongly. But as grey of 8 bits, a
pixel for each byte, it reads the bytes of every kind, from strips and tiles, by libtiff's
decompression. The samples are then taken out of these bytes.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.errors import TooLarge, UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.formats.tiff_pages import (
    BLACK_IS_ZERO,
    CMYK,
    FLOAT,
    RGB,
    SIGNED,
    UNSIGNED,
    WHITE_IS_ZERO,
    Page,
)

# Compressions that give back the bytes as they were: none, LZW, deflate, PackBits, LZMA, Zstandard.
_LOSSLESS = (1, 5, 8, 32773, 32946, 34925, 50000)
_MODES = {(1, 0): "L", (1, 1): "La", (1, 2): "LA", (3, 0): "RGB", (3, 1): "RGBa", (3, 2): "RGBA"}
_BYTES_A_PIXEL = 4  # as many as an RGBA photo takes that Pillow decodes
_BLOCK = 1 << 20  # samples that are converted at once
# What floats range to, when no tag says it: the first of these that they do not pass.
_RANGES = (1.0, 255.0, 65535.0)


def readable(page: Page) -> bool:
    """Whether `picture` can read this kind."""
    if page.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK):
        return False
    if page.compression not in _LOSSLESS or page.samples < page.colours:
        return False
    predictor = page.number(317, 1)
    if page.format == FLOAT:
        return page.bits in (16, 32, 64) and predictor in (1, 2, 3)
    if page.format not in (UNSIGNED, SIGNED) or not 1 <= page.bits <= 64:
        return False
    return predictor == 1 or (predictor == 2 and page.bits in (8, 16, 32, 64))


def picture(page: Page, data: bytes, settings: DecodeSettings) -> Image.Image:
    """The page's picture, as it is stored, of mode L, LA, La, RGB, RGBA, RGBa or CMYK.

    Raises:
        UnsupportedImage: cut off, or the range of its floats cannot be known.
        TooLarge: more bytes of samples than a photo of ``max_pixels`` and 8 bits has.
    """
    width, height = page.size
    layout = _Layout(page)
    if layout.row_bytes * layout.count * height > _BYTES_A_PIXEL * settings.max_pixels:
        raise TooLarge(
            f"The image has too many pixels for its {page.bits} bits a sample; send it with "
            "8 bits, or a smaller one."
        )
    alpha = _alpha(page)
    wanted = [*range(page.colours), *([alpha] if alpha else [])]
    out = np.empty((height, width, len(wanted)), np.uint8)
    if layout.planes:
        for n, sample in enumerate(wanted):
            values = _Samples(page, layout, layout.rows(data, sample))
            values.into(out[..., n : n + 1], [0], n < page.colours)
    else:
        values = _Samples(page, layout, layout.rows(data, 0))
        values.into(out[..., : page.colours], wanted[: page.colours], True)
        if alpha:
            values.into(out[..., page.colours :], [alpha], False)
    if page.photometric == WHITE_IS_ZERO:
        out[..., 0] = 255 - out[..., 0]
    if page.colours == 4:
        return Image.frombuffer("CMYK", (width, height), np.ascontiguousarray(out[..., :4]))
    kind = page.numbers(338)[alpha - page.colours] if alpha else 0
    mode = _MODES[page.colours, kind]
    return Image.frombuffer(mode, (width, height), out, "raw", mode, 0, 1)


def _alpha(page: Page) -> int:
    """The number of the sample that is alpha; 0: none."""
    extra = page.numbers(338)[: page.samples - page.colours]
    return next((page.colours + n for n, kind in enumerate(extra) if kind in (1, 2)), 0)


class _Layout:
    """Where the bytes of a page lie: ``count`` files of grey rows, which tell them to Pillow."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.planes = page.planes
        self.count = page.samples if page.planes else 1
        self.samples = 1 if page.planes else page.samples  # of a pixel in a row
        width, height = page.size
        self.tile = page.number(322, 0), page.number(323, 0)
        self.tiled = 324 in page.tags
        if self.tiled and (min(self.tile) <= 0 or max(self.tile) > 65_536):
            raise UnsupportedImage("This TIFF is damaged: its tiles have no size.")
        # A predictor works on whole rows of a tile, also on what stands over at the right.
        across = -(-width // self.tile[0]) if self.tiled else 1
        self.columns = self.tile[0] if self.tiled else width
        self.tile_bytes = self._bytes(self.columns)
        self.row_bytes = across * self.tile_bytes
        if self.tiled and self.tile_bytes * self.tile[1] > 2 * self.row_bytes * height + 2**20:
            raise UnsupportedImage("This TIFF is damaged: its tiles are larger than the image.")

    def _bytes(self, pixels: int) -> int:
        return (pixels * self.samples * self.page.bits + 7) // 8

    def rows(self, data: bytes, plane: int) -> NDArray[np.uint8]:
        """The unpacked bytes of one plane, (H, row_bytes); chunky samples are one plane."""
        page, height = self.page, self.page.size[1]
        at, sizes = (324, 325) if self.tiled else (273, 279)
        offsets, counts = page.numbers(at), page.numbers(sizes)
        share = len(offsets) // self.count
        pieces = slice(plane * share, (plane + 1) * share)
        tags = {
            256: (self.row_bytes,),
            257: (height,),
            258: (8,),
            259: (page.compression,),
            262: (BLACK_IS_ZERO,),
            266: (page.number(266, 1),),
            277: (1,),
            at: offsets[pieces],
            sizes: counts[pieces],
        }
        if self.tiled:
            tags |= {322: (self.tile_bytes,), 323: (self.tile[1],)}
        else:
            tags[278] = (page.number(278, height),)
        with Image.open(io.BytesIO(_with_page(data, tags)), formats=["TIFF"]) as image:
            return np.asarray(image)


def _with_page(data: bytes, tags: dict[int, tuple[int, ...]]) -> bytes:
    """The same bytes as a TIFF of one page with these tags, which stand behind them."""
    start = len(data)
    behind = start + 2 + 12 * len(tags) + 4
    entries, extra = struct.pack("<H", len(tags)), b""
    for tag, values in sorted(tags.items()):
        raw = struct.pack(f"<{len(values)}I", *(min(v, 2**32 - 1) for v in values))
        where = struct.pack("<I", behind + len(extra)) if len(raw) > 4 else raw.ljust(4, b"\0")
        extra += raw if len(raw) > 4 else b""
        entries += struct.pack("<HHI", tag, 4, len(values)) + where
    head = struct.pack("<2sHI", b"II", 42, start)
    return b"".join((head, memoryview(data)[8:], entries, bytes(4), extra))


class _Samples:
    """The samples in the rows of a plane, and how they become 0 to 255."""

    def __init__(self, page: Page, layout: _Layout, rows: NDArray[np.uint8]) -> None:
        self.page, self.layout, self.rows = page, layout, rows
        self.step = max(1, _BLOCK // (layout.row_bytes * 8 // page.bits))

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
        rows, size = self.rows[y : y + self.step], self.layout.tile_bytes
        tiles = [self._values(rows[:, x : x + size]) for x in range(0, self.layout.row_bytes, size)]
        return np.concatenate(tiles, axis=1)[:, :width]

    def _values(self, rows: NDArray[np.uint8]) -> NDArray[np.generic]:
        page, (columns, samples) = self.page, (self.layout.columns, self.layout.samples)
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
        bits, (columns, samples) = self.page.bits, (self.layout.columns, self.layout.samples)
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
