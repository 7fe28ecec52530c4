"""docs/photos.md: every row of its table is true of the decoder."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving.errors import ServingError
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from serving.vision.formats import heif
from tests.support import heics, images
from tests.support.images import RED, encode, quadrants
from tests.support.tiffs import FLOAT, Kind, tiff

PAGE = Path(__file__).resolve().parents[2] / "docs" / "photos.md"
RGB = np.asarray(quadrants())
GREY = np.asarray(quadrants().convert("L"))[..., None]
JPEG, PNG = encode(quadrants(), "JPEG"), encode(quadrants(), "PNG")
OTHER = Image.new("RGB", (64, 48), RED)


def table() -> dict[str, str]:
    text = PAGE.read_text().split("## What is read")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {sent: answer for sent, answer in rows if sent != "sent"}


def cut_webp() -> bytes:
    return encode(quadrants(), "WEBP", save_all=True, append_images=[OTHER])[:-20]


def cut_in_its_last_scan() -> bytes:
    data = encode(quadrants(), "JPEG", progressive=True)
    return data[: data.rindex(b"\xff\xda") + 20] + data[-2:]


def cut_in_its_last_block() -> bytes:
    data = encode(Image.open(images.PORTRAIT).resize((64, 48)), "JPEG", quality=95)
    return data[:-10] + data[-2:]


def patched(data: bytes, at: int, form: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def tiffs(*modes: str, **options: Any) -> list[bytes]:
    return [encode(quadrants().convert(mode), "TIFF", **options) for mode in modes]


def thumbnail_first() -> bytes:
    first = quadrants(16, 12)
    return encode(first, "TIFF", save_all=True, append_images=[quadrants()], tiffinfo={254: 1})


CHUNK = struct.pack(">I", 4) + b"tIME1234" + bytes(4)
CASES: dict[str, Callable[[], list[bytes]]] = {
    "JPEG: baseline": lambda: [
        JPEG,
        encode(quadrants(), "JPEG", progressive=True),
        *(encode(quadrants().convert(mode), "JPEG") for mode in ("L", "CMYK")),
    ],
    "JPEG without its end": lambda: [JPEG[:-2]],
    "JPEG that was cut": lambda: [JPEG[:-60], JPEG[:-60] + JPEG[-2:]],
    "Progressive JPEG that was": lambda: [cut_in_its_last_scan()],
    "JPEG with an end marker, cut": lambda: [cut_in_its_last_block()],
    "JPEG of 12 bits": lambda: [patched(JPEG, JPEG.index(b"\xff\xc0") + 4, "B", 12)],
    "PNG: 1 to 16": lambda: [
        images.deep_png(np.zeros((4, 4), np.uint16)),
        *(encode(quadrants().convert(mode), "PNG") for mode in ("1", "L", "P", "LA", "RGBA")),
    ],
    "PNG with long": lambda: [PNG[:33] + CHUNK + PNG[33:]],
    "PNG with damaged": lambda: [patched(PNG, PNG.index(b"IDAT") + 12, "I", 0)],
    "PNG that was cut": lambda: [PNG[:-60], images.png_of_fewer_rows(PNG)],
    "PNG of Apple": lambda: [PNG[:8] + bytes(4) + b"CgBI" + bytes(4) + PNG[8:]],
    "WebP: lossy": lambda: [encode(quadrants(), "WEBP", lossless=flag) for flag in (True, False)],
    "WebP animation": lambda: [cut_webp()],
    "HEIC": lambda: [heics.sample("turned_6"), heics.sample("10_bits"), heics.iphone()],
    "AVIF": lambda: [heics.avif(quadrants())],
    "GIF": lambda: [encode(quadrants(), "GIF")],
    "TIFF of 1 to 8": lambda: [
        *tiffs("1", "L", "P", "RGB", "CMYK", "YCbCr"),
        *tiffs("1", compression="group4"),
        encode(Image.new("LAB", (4, 4)), "TIFF"),
    ],
    "TIFF of 9 to 64": lambda: [
        tiff(picture, kind)
        for picture in (GREY, RGB)
        for kind in (Kind(12), Kind(16), Kind(64), Kind(16, FLOAT), Kind(64, FLOAT))
    ],
    "TIFF in planes": lambda: [
        tiff(RGB, Kind(16, planes=True)),
        tiff(RGB, Kind(8, tile=16, order=">")),
        tiff(GREY, Kind(16, white_is_zero=True)),
    ],
    "BigTIFF": lambda: tiffs("RGB", big_tiff=True),
    "TIFF with a reduced": lambda: [thumbnail_first()],
    "TIFF of floats": lambda: [
        encode(Image.fromarray(np.full((4, 4), 3, np.float32)), "TIFF"),
    ],
    "TIFF of JPEG 2000": lambda: [
        tiff(GREY, Kind(16), {259: (3, [34712])}),
        tiff(GREY, Kind(16), {339: (3, [6])}),
    ],
    "BMP: 1 to 32": lambda: [
        encode(quadrants().convert(mode), "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")
    ],
    "BMP whose alpha": lambda: [encode(Image.new("RGBA", (4, 4)), "BMP")],
    "BMP of negative": lambda: [patched(encode(quadrants(), "BMP"), 18, "<i", -64)],
    "Raw file": lambda: [
        tiff(GREY, Kind(), {50706: (1, [1, 4, 0, 0])}),
        b"II*\0\x10\0\0\0CR\2\0" + bytes(9),
        b"\0\0\0\x18ftypcrx " + bytes(9),
        b"FUJIFILMCCD-RAW " + bytes(9),
    ],
    "JPEG XL": lambda: [
        b"\xff\x0a\xfa\x1f",
        b"\xff\x4f\xff\x51",
        b"8BPS\0\1",
        b"%PDF-1.7",
        b"<svg/>",
        b"\0\0\1\0\1\0",
        bytes(128) + b"DICM",
        b"\0\0\0\x14ftypisom" + bytes(9),
    ],
    "Base64": lambda: [
        b"/9j/4AAQSkZJRg",
        b"data:image/jpeg;base64,/9j/",
        JPEG.hex().encode(),
        repr(JPEG).encode(),
    ],
    "A photo that was read": lambda: [
        data.decode(*how).encode()
        for data in (JPEG, PNG)
        for how in (("latin-1",), ("utf-8", "replace"))
    ],
    "A photo behind": lambda: [
        before + data
        for before in (b"\r\n", b"\xef\xbb\xbf", b"HTTP/1.1 200 OK\r\n\r\n")
        for data in (JPEG, PNG)
    ],
    "An address": lambda: [b"https://faces/a.jpg"],
    "More than 50": lambda: [images.png_header(10_000, 6_000)],
    "A side of": lambda: [images.png_header(1, 70_000)],
}


def test_each_row_has_its_case() -> None:
    for start in CASES:
        assert len([sent for sent in table() if sent.startswith(start)]) == 1, start
    assert len(table()) == len(CASES)


@pytest.mark.parametrize("start", CASES)
def test_each_row_is_true(start: str) -> None:
    if start in ("HEIC", "AVIF") and not heif.available(start):
        pytest.skip(f"the decoder of {start} is not installed")
    (answer,) = (answer for sent, answer in table().items() if sent.startswith(start))
    for data in CASES[start]():
        if answer == "read":
            assert decode(data, DecodeSettings()).pixels.shape[2] == 3
            continue
        status, words = answer.split(": ", 1)
        with pytest.raises(ServingError, match=re.escape(words)) as caught:
            decode(data, DecodeSettings())
        assert caught.value.status == int(status)
