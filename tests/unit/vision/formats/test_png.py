"""PNG: what makes the photo is read, and whatever stands beside it does no harm."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from serving.vision.formats import png
from tests.support.fuzzing import examples
from tests.support.images import corners, encode, png_of_fewer_rows, quadrants, turned
from tests.support.timing import processor_seconds

SETTINGS = DecodeSettings()
NOISE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (24, 31, 3), dtype=np.uint8))
PNG = encode(NOISE, "PNG")
HEADER = 33  # bytes up to the end of IHDR


def chunk(kind: bytes, content: bytes, off: int = 0) -> bytes:
    check = zlib.crc32(kind + content) ^ off
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def with_chunk(*chunks: bytes) -> bytes:
    return PNG[:HEADER] + b"".join(chunks) + PNG[HEADER:]


def assert_same(data: bytes) -> None:
    assert np.array_equal(png.read(data, SETTINGS).pixels, np.asarray(NOISE))


LONG = zlib.compress(b"<history>" * 200_000, 9)  # 1.8 MB


@pytest.mark.parametrize(
    "beside",
    [
        chunk(b"zTXt", b"Raw profile\0\0" + LONG),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + LONG),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG),
        chunk(b"iCCP", b"scanner\0\0" + LONG),
        chunk(b"tEXt", b"Comment\0hello", off=1),
        chunk(b"tIME", b"\x07\xe8\1\1\1\1\1", off=1),
        chunk(b"eXIf", b"MM", off=1),
        chunk(b"tRNS", b"\0\1\0\2\0\3", off=1),
        chunk(b"gAMA", b""),
        chunk(b"acTL", b"\0\0"),
        chunk(b"fcTL", b"\0" * 26),
        chunk(b"pr\xffv", b"private"),
    ],
)
def test_what_stands_beside_the_pixels_does_no_harm(beside: bytes) -> None:
    assert_same(with_chunk(beside))
    assert_same(PNG[:-12] + beside + PNG[-12:])


def test_whatever_stands_beside_the_pixels() -> None:
    rng = random.Random(5)
    kinds = [
        b"tEXt",
        b"zTXt",
        b"iTXt",
        b"iCCP",
        b"tIME",
        b"pHYs",
        b"sBIT",
        b"acTL",
        b"fcTL",
        b"abCd",
    ]
    for _ in range(examples(300)):
        beside = [
            chunk(rng.choice(kinds), rng.randbytes(rng.randrange(200)), rng.choice((0, 0, 1)))
            for _ in range(rng.randrange(1, 6))
        ]
        assert_same(with_chunk(*beside))


@pytest.mark.parametrize("missing", [1, 4, 12])
def test_the_end_may_be_missing(missing: int) -> None:
    assert_same(PNG[:-missing])


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_damage_of_what_makes_the_photo_is_named(kind: bytes) -> None:
    data = bytearray(encode(NOISE.quantize(32), "PNG"))
    at = data.index(kind)
    (length,) = struct.unpack_from(">I", data, at - 4)
    data[at + 4 + length] ^= 1
    with pytest.raises(UnsupportedImage, match=f"checksum of its {kind.decode()}"):
        png.read(bytes(data), SETTINGS)


def test_what_is_left_out_is_not_inflated() -> None:
    bomb = zlib.compress(bytes(20_000_000), 9)
    data = with_chunk(*(chunk(b"zTXt", b"%d\0\0" % n + bomb) for n in range(4)))
    data = data[:HEADER] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb) + data[HEADER:]
    tracemalloc.start()
    try:
        assert_same(data)
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()


def test_apples_own_kind_is_named() -> None:
    with pytest.raises(UnsupportedImage, match="CgBI"):
        png.read(PNG[:8] + chunk(b"CgBI", bytes(4)) + PNG[8:], SETTINGS)


def test_orientation_in_exif_and_in_text() -> None:
    assert corners(png.read(turned(quadrants(), 6, "PNG"), SETTINGS).pixels) == corners(
        np.asarray(quadrants())
    )
    block = b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    text = b"\nexif\n%8d\n" % (len(block) + 6) + (b"Exif\0\0" + block).hex().encode() + b"\n"
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for beside in (
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
        chunk(b"tEXt", b"Raw profile type exif\0" + text),
        chunk(b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(text)),
        chunk(b"tEXt", b"Raw profile type APP1\0" + text),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
    ):
        assert png.read(with_chunk(beside), SETTINGS).pixels.shape == (31, 24, 3)


def test_of_an_animation_the_default_image() -> None:
    other = Image.new("RGB", NOISE.size)
    assert_same(encode(NOISE, "PNG", save_all=True, append_images=[other, other]))


def test_indices_without_a_palette_are_no_greys() -> None:
    image = quadrants().convert("P", palette=Image.Palette.ADAPTIVE)
    data = encode(image, "PNG")
    assert png.read(data, SETTINGS)
    at = data.index(b"PLTE") - 4
    end = at + 12 + struct.unpack_from(">I", data, at)[0]
    with pytest.raises(UnsupportedImage, match="palette is missing"):
        png.read(data[:at] + data[end:], SETTINGS)


def interlaced(width: int, height: int, rows: bytes = b"") -> bytes:
    """A grey interlaced PNG of 8 bits, of zeros, or of these rows of its passes."""
    passes = (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)),
        (0, 1, 1, 2),
    )
    sizes = [(len(range(x, width, i)), len(range(y, height, j))) for x, y, i, j in passes]
    stream = rows or bytes(sum((1 + w) * h for w, h in sizes if w))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    idat = chunk(b"IDAT", zlib.compress(stream))
    return PNG[:8] + chunk(b"IHDR", header) + idat + chunk(b"IEND", b"")


MODES = ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"]


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_that_ends_too_early_does_not_stand_for_rows(mode: str) -> None:
    image = (
        NOISE.convert("L").convert("I").convert("I;16") if mode == "I;16" else NOISE.convert(mode)
    )
    data = encode(image, "PNG")
    wanted = png.read(data, SETTINGS).pixels
    for keep in (0.0, 0.1, 0.5, 0.9, 0.99):
        with pytest.raises(UnsupportedImage, match="its last rows are missing"):
            png.read(png_of_fewer_rows(data, keep), SETTINGS)
    assert np.array_equal(png.read(png_of_fewer_rows(data, 1.0), SETTINGS).pixels, wanted)


@pytest.mark.parametrize("mode", [*MODES[:-1]])
def test_a_photo_that_ends_in_zeros_is_whole(mode: str) -> None:
    image = Image.new("RGBA", (31, 24), (0, 0, 0, 0))
    image.paste(NOISE.resize((9, 7)))
    data = encode(image.convert(mode), "PNG")
    assert png.read(data, SETTINGS).pixels.shape == (24, 31, 3)
    with pytest.raises(UnsupportedImage, match="its last rows are missing"):
        png.read(png_of_fewer_rows(data, 0.99), SETTINGS)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (2, 1), (1, 2), (17, 9), (4, 4)])
def test_interlaced_photos_have_the_rows_of_their_passes(size: tuple[int, int]) -> None:
    data = interlaced(*size)
    assert png.read(data, SETTINGS).pixels.shape == (size[1], size[0], 3)
    stream = zlib.decompress(data[data.index(b"IDAT") + 4 : -16])
    with pytest.raises(UnsupportedImage, match="its last rows are missing"):
        png.read(interlaced(*size, stream[:-1] or b""), SETTINGS)


@pytest.mark.parametrize("kind", [b"tEXt", b"IDAT", b"eXIf", b"tRNS"])
def test_millions_of_empty_chunks_are_refused_at_once(kind: bytes) -> None:
    data = with_chunk(chunk(kind, b"") * 200_000)
    with processor_seconds(0.5), pytest.raises(UnsupportedImage, match="more than 25,000 chunks"):
        png.read(data, SETTINGS)


def test_small_chunks_of_pixels_are_read() -> None:
    at = PNG.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", PNG, at)
    pixels = PNG[at + 8 : at + 8 + length]
    small = b"".join(chunk(b"IDAT", pixels[n : n + 1]) for n in range(length))
    assert_same(PNG[:at] + small + PNG[at + 12 + length :])


@pytest.mark.parametrize(
    ("mode", "length"), [("L", 1), ("L", 6), ("RGB", 1), ("RGB", 2), ("RGBA", 6), ("P", 300)]
)
def test_transparency_of_a_wrong_length_is_left_out(mode: str, length: int) -> None:
    data = encode(quadrants().convert(mode), "PNG")
    at = data.index(b"IDAT") - 4
    odd = data[:at] + chunk(b"tRNS", bytes(length)) + data[at:]
    assert np.array_equal(decode(odd, SETTINGS).pixels, decode(data, SETTINGS).pixels)
