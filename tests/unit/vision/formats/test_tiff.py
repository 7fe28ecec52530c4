"""TIFF kinds that Pillow reads right, and orientation however it is written."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from tests.support.images import BLUE, GREEN, GREY, RED, corners, encode, quadrants
from tests.support.tiffs import Kind, tiff

SETTINGS = DecodeSettings()
COLOURS = [RED, GREEN, BLUE, GREY]


def near(data: bytes, off: int = 8) -> bool:
    found = corners(decode(data, SETTINGS).pixels)
    return bool(np.abs(np.array(found) - np.array(COLOURS)).max() <= off)


@pytest.mark.parametrize(
    "compression",
    [None, "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "jpeg", "lzma", "zstd"],
)
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_compressions(mode: str, compression: str | None) -> None:
    assert near(encode(quadrants().convert(mode), "TIFF", compression=compression), 12)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_alpha_and_other_colours(compression: str | None) -> None:
    assert near(encode(quadrants().convert("RGBA"), "TIFF", compression=compression))
    assert near(encode(quadrants().convert("YCbCr"), "TIFF", compression=compression), 12)
    lab = Image.new("LAB", (8, 8), (136, 128, 128))
    pixels = decode(encode(lab, "TIFF", compression=compression), SETTINGS).pixels
    assert np.abs(pixels.astype(int) - 128).max() < 4


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax(compression: str) -> None:
    image = Image.new("1", (64, 48), 1)
    image.paste(0, (0, 0, 32, 48))
    pixels = decode(encode(image, "TIFF", compression=compression), SETTINGS).pixels
    assert pixels[:, :32].max() == 0
    assert pixels[:, 32:].min() == 255


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize(("type_", "value"), [(3, [6]), (1, [6]), (2, [ord("6"), 0]), (4, [6])])
def test_orientation_of_any_type(bits: int, type_: int, value: list[int]) -> None:
    stored = np.asarray(quadrants().transpose(Image.Transpose.ROTATE_90))
    photo = decode(tiff(stored, Kind(bits), {274: (type_, value)}), SETTINGS)
    assert (photo.width, photo.height) == (64, 48)
    assert np.abs(np.array(corners(photo.pixels)) - np.array(COLOURS)).max() <= 8


def test_ycbcr_with_fewer_colours_than_pixels_is_not_read_wrongly() -> None:
    """Without compression Pillow would take its samples for pixels."""
    values = np.asarray(quadrants().convert("YCbCr"))
    with pytest.raises(UnsupportedImage, match=r"YCbCr.* cannot be read"):
        decode(tiff(values, Kind(), {262: (3, [6]), 530: (3, [2, 2])}), SETTINGS)
    assert near(tiff(values, Kind(), {262: (3, [6]), 530: (3, [1, 1])}))


def big(pixels: NDArray[np.uint8], order: str) -> bytes:
    """A BigTIFF of 8 bits RGB without compression."""
    height, width, _ = pixels.shape
    stored, begin = pixels.tobytes(), 16 + 8 + 9 * 20 + 8
    entries: list[tuple[int, int | tuple[int, ...]]] = [
        (256, width),
        (257, height),
        (258, (8, 8, 8)),
        (259, 1),
        (262, 2),
        (273, begin),
    ]
    entries += [(277, 3), (278, height), (279, len(stored))]
    out = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HHHQ", 43, 8, 0, 16)
    out += struct.pack(f"{order}Q", len(entries))
    for tag, value in entries:
        numbers = value if isinstance(value, tuple) else (value,)
        kind, form = (3, "H") if tag in (258, 259, 262, 277) else (16, "Q")
        out += struct.pack(f"{order}HHQ", tag, kind, len(numbers))
        out += struct.pack(f"{order}{len(numbers)}{form}", *numbers).ljust(8, b"\0")
    return out + struct.pack(f"{order}Q", 0) + stored


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_bigtiff_of_either_byte_order(order: str) -> None:
    pixels = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    assert np.array_equal(decode(big(pixels, order), SETTINGS).pixels, pixels)
