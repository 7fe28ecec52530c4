"""BMP: bit fields of any layout, empty alpha, and headers that lie."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving.errors import TooLarge, UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode, peak_bytes
from tests.support.images import encode, quadrants

SETTINGS = DecodeSettings()
y, x = np.mgrid[0:17, 0:23]
PICTURE = np.dstack([x * 255 // 22, y * 255 // 16, (x + y) * 255 // 38]).astype(np.uint8)


def bmp(
    masks: tuple[int, ...], bits: int, *, header: int = 124, down: bool = False, alpha: int = 255
) -> bytes:
    samples = np.concatenate([PICTURE, np.full((17, 23, 1), alpha, np.uint8)], axis=2)
    packed = np.zeros((17, 23), np.uint32)
    for n, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1 if mask else 0
        levels = np.rint(samples[..., n] / 255 * (mask >> shift)).astype(np.uint32)
        packed |= levels << np.uint32(shift)
    rows = packed if down else packed[::-1]
    stride = (23 * bits // 8 + 3) // 4 * 4
    raw = rows.astype(f"<u{bits // 8}").view(np.uint8).reshape(17, -1)
    pixels = np.pad(raw, ((0, 0), (0, stride - raw.shape[1]))).tobytes()
    height = -17 if down else 17
    head = struct.pack("<IiiHHIIiiII", header, 23, height, 1, bits, 3, len(pixels), 0, 0, 0, 0)
    told = struct.pack("<4I", *masks, *[0] * (4 - len(masks)))
    head += told[:12] if header == 40 else told + bytes(header - 56)
    start = 14 + len(head)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + head + pixels


def off(pixels: NDArray[np.uint8]) -> float:
    return float(np.abs(pixels - PICTURE.astype(float)).max())


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("header", [40, 56, 108, 124])
@pytest.mark.parametrize(
    ("bits", "masks", "most"),
    [
        (32, (0xFF0000, 0xFF00, 0xFF), 0),
        (32, (0xFF, 0xFF00, 0xFF0000), 0),
        (32, (0xFF000000, 0xFF0000, 0xFF00), 0),
        (32, (0x3FF00000, 0xFFC00, 0x3FF), 0.5),
        (16, (0xF800, 0x7E0, 0x1F), 4.2),
        (16, (0x7C00, 0x3E0, 0x1F), 4.2),
        (16, (0xF00, 0xF0, 0xF), 8.6),
    ],
)
def test_masks_of_any_layout(
    bits: int, masks: tuple[int, ...], most: float, header: int, down: bool
) -> None:
    photo = decode(bmp(masks, bits, header=header, down=down), SETTINGS)
    assert off(photo.pixels) <= most


@pytest.mark.parametrize(("bits", "alpha"), [(32, 0xFF000000), (16, 0xF000)])
def test_alpha_that_is_0_everywhere_is_none(bits: int, alpha: int) -> None:
    masks = (0xFF0000, 0xFF00, 0xFF, alpha) if bits == 32 else (0xF00, 0xF0, 0xF, alpha)
    for value in (0, 255):
        assert off(decode(bmp(masks, bits, alpha=value), SETTINGS).pixels) <= 8.6


def test_half_transparent_is_laid_on_white() -> None:
    data = bmp((0xFF0000, 0xFF00, 0xFF, 0xFF000000), 32, alpha=128)
    wanted = PICTURE * (128 / 255) + 255 * (127 / 255)
    assert np.abs(decode(data, SETTINGS).pixels - wanted).max() <= 1.5


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_kinds_without_masks(mode: str) -> None:
    image = Image.fromarray(PICTURE)
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    pixels = decode(encode(image, "BMP"), SETTINGS).pixels
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


def patched(at: int, form: str, value: int) -> bytes:
    data = bytearray(encode(quadrants(), "BMP"))
    struct.pack_into(form, data, at, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("at", "form", "value", "said"),
    [
        (18, "<i", -64, "its width is -64"),
        (18, "<i", 0, "its width is 0"),
        (22, "<i", 0, "its height is 0"),
        (28, "<H", 2, "of 2 bits a pixel"),
        (28, "<H", 64, "of 64 bits a pixel"),
        (30, "<I", 4, r"\(JPEG\) cannot be read"),
        (30, "<I", 11, r"compression 11"),
        (14, "<I", 16, "header of 16 bytes"),
    ],
)
def test_what_is_refused_is_named(at: int, form: str, value: int, said: str) -> None:
    with pytest.raises(UnsupportedImage, match=said):
        decode(patched(at, form, value), SETTINGS)


def test_cut_ones_are_refused() -> None:
    data = bmp((0xFF0000, 0xFF00, 0xFF), 32)
    for length in (2, 20, 30, 60, 200, len(data) - 1):
        with pytest.raises(UnsupportedImage, match=r"cut off|damaged"):
            decode(data[:length], SETTINGS)


def test_size_is_checked_on_the_header() -> None:
    with pytest.raises(TooLarge):
        decode(patched(22, "<i", -2_000_000_000), SETTINGS)


@pytest.mark.parametrize("header", [40, 56, 124])
def test_pixels_whose_place_is_not_told_follow_the_header(header: int) -> None:
    data = bmp((0xFF0000, 0xFF00, 0xFF), 32, header=header)
    data = data[:10] + bytes(4) + data[14:]
    assert off(decode(data, SETTINGS).pixels) == 0


def test_a_text_that_begins_with_bm_is_not_too_large() -> None:
    with pytest.raises(UnsupportedImage, match="header of"):
        peak_bytes(b"BMW is a car, and no photo of one, and this is a text of it. " * 3, SETTINGS)
