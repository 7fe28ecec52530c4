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
    YCBCR,
    Page,
)
from serving.vision.formats.tiff_values import Samples

# Compressions that give back the bytes as they were: none, LZW, deflate, PackBits, LZMA, Zstandard.
_LOSSLESS = (1, 5, 8, 32773, 32946, 34925, 50000)
_MODES = {(1, 0): "L", (1, 1): "La", (1, 2): "LA", (3, 0): "RGB", (3, 1): "RGBa", (3, 2): "RGBA"}
_BYTES_A_PIXEL = 4  # as many as an RGBA photo takes that Pillow decodes


def readable(page: Page) -> bool:
    """Whether `picture` can read this kind."""
    if page.photometric == YCBCR:  # without compression, and colours as dense as light
        if page.numbers(530) != (1, 1) or page.bits != 8 or page.samples != 3:
            return False
    elif page.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK):
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
    """The page's picture, as it is stored, of mode L, LA, La, RGB, RGBA, RGBa, YCbCr or CMYK.

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
            values = layout.values(data, sample)
            values.into(out[..., n : n + 1], [0], n < page.colours)
    else:
        values = layout.values(data, 0)
        values.into(out[..., : page.colours], wanted[: page.colours], True)
        if alpha:
            values.into(out[..., page.colours :], [alpha], False)
    if page.photometric == WHITE_IS_ZERO:
        out[..., 0] = 255 - out[..., 0]
    if page.colours == 4:
        return Image.frombuffer("CMYK", (width, height), np.ascontiguousarray(out[..., :4]))
    kind = page.numbers(338)[alpha - page.colours] if alpha else 0
    mode = "YCbCr" if page.photometric == YCBCR else _MODES[page.colours, kind]
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

    def values(self, data: bytes, plane: int) -> Samples:
        """The samples of one plane; chunky ones are one plane."""
        rows = self._rows(data, plane)
        return Samples(self.page, rows, self.tile_bytes, self.columns, self.samples)

    def _rows(self, data: bytes, plane: int) -> NDArray[np.uint8]:
        """The unpacked bytes of one plane, (H, row_bytes)."""
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
