"""JPEG metadata: the orientation counts, and whatever else it holds does no harm."""

from __future__ import annotations

import contextlib
import io
import random
import struct

import numpy as np
import pytest
from PIL import Image

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode, peak_bytes
from serving.vision.formats import jpeg_segments
from tests.support.fuzzing import examples
from tests.support.images import encode, flat_jpeg, quadrants, turned
from tests.support.timing import processor_seconds

SETTINGS = DecodeSettings()
JPEG = encode(quadrants(), "JPEG")
PIXELS = decode(JPEG, SETTINGS).pixels
EXIF = turned(quadrants(), 6)
EXIF = EXIF[EXIF.index(b"Exif") : EXIF.index(b"\xff\xdb")]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def with_segments(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


@pytest.mark.parametrize(
    "beside",
    [
        segment(0xE0, b"JFIF"),
        segment(0xE0, b"JFIF\0\1"),
        segment(0xEE, b"Adobe"),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"ICC_PROFILE\0\1\2" + bytes(60_000)),
        segment(0xE2, b"MPF\0MM\0*\xff\xff\xff\xff"),
        segment(0xED, b"Photoshop 3.0\x008BIM"),
        segment(0xE1, b"Exif\0\0"),
        segment(0xE1, b"Exif\0\0MM\0*" + b"\xff" * 40),
        segment(0xFE, b"\xff\xd9\xff\xda" * 99),
        segment(0xE5, b""),
    ],
)
def test_what_stands_beside_the_pixels_does_no_harm(beside: bytes) -> None:
    assert np.array_equal(decode(with_segments(beside), SETTINGS).pixels, PIXELS)


def test_whatever_stands_beside_the_pixels() -> None:
    rng = random.Random(9)
    starts = [b"JFIF\0", b"Adobe", b"ICC_PROFILE\0", b"MPF\0II*\0", b"Photoshop 3.0\x008BIM", b""]
    for _ in range(examples(300)):
        beside = []
        for _ in range(rng.randrange(1, 6)):
            content = rng.choice(starts)
            content += rng.randbytes(rng.randrange(12 - len(content) if len(content) < 6 else 300))
            beside.append(segment(rng.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEF, 0xFE)), content))
        # Random EXIF may turn the photo; it may not damage it.
        block = bytearray(EXIF)
        for _ in range(rng.randrange(4)):
            block[rng.randrange(6, len(block))] = rng.randrange(256)
        photo = decode(with_segments(*beside, segment(0xE1, bytes(block))), SETTINGS)
        assert np.sort(photo.pixels.ravel()).tobytes() == np.sort(PIXELS.ravel()).tobytes()


def test_orientation_in_exif_and_xmp() -> None:
    xmp = b'http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation="8"/>'
    for beside, turned_by in (
        ([segment(0xE1, EXIF)], 3),
        ([segment(0xE1, EXIF[:20]), segment(0xE1, b"Exif\0\0" + EXIF[20:])], 3),
        ([segment(0xE1, xmp)], 1),
        ([segment(0xE1, xmp.replace(b'"8"', b"'8'"))], 1),
        ([segment(0xE1, xmp.replace(b'="8"', b' =\n"8"'))], 1),
        ([segment(0xE1, xmp.replace(b'="8"/', b"> 8 </tiff:Orientation"))], 1),
        ([segment(0xE1, xmp), segment(0xE1, EXIF)], 3),
        ([segment(0xE1, xmp), segment(0xE1, b"Exif\0\0" + bytes(9))], 1),
    ):
        photo = decode(with_segments(*beside), SETTINGS)
        assert np.array_equal(photo.pixels, np.rot90(PIXELS, turned_by))


def test_colours_are_those_that_the_application_segments_tell() -> None:
    for mode in ("L", "RGB", "CMYK", "YCbCr"):
        for options in ({}, {"keep_rgb": True}):
            if options and mode != "RGB":
                continue
            data = encode(quadrants().convert(mode), "JPEG", **options)
            bare, _ = jpeg_segments.essential(data)
            with Image.open(io.BytesIO(data)) as image:
                wanted = np.asarray(image.convert("RGB"))
            assert np.array_equal(decode(bare, SETTINGS).pixels, wanted)


def test_scans_and_the_bits_that_they_bring() -> None:
    assert [scan.components for scan in jpeg_segments.scans(flat_jpeg(16, 16, scans=3))] == [
        (1,),
        (2,),
        (3,),
    ]
    progressive = encode(quadrants(), "JPEG", progressive=True)
    assert jpeg_segments.all_scans(progressive)
    assert next(jpeg_segments.scans(progressive)).last == 0
    assert not jpeg_segments.all_scans(progressive[: progressive.rindex(b"\xff\xda")])


def test_a_block_of_many_segments_takes_no_time_in_their_square() -> None:
    data = with_segments(segment(0xE1, EXIF), segment(0xE1, b"Exif\0\0" + bytes(5000)) * 4000)
    # Each copy of what came before would be of 10 MB on average.
    with processor_seconds(5):
        assert jpeg_segments.essential(data)[1] == 6


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    "bare", [segment(marker, b"") for marker in (0xFE, 0xE5, 0xDB, 0xC4, 0xC0)] + [b"\xff\xd9"]
)
def test_millions_of_empty_segments_are_refused_at_once(bare: bytes, before: bool) -> None:
    data = encode(quadrants(), "JPEG", progressive=True)
    at = 2 if before else data.rindex(b"\xff\xda")
    data = data[:at] + bare * (2**20 // len(bare)) + data[at:]
    # In Python each takes a microsecond or more.
    with processor_seconds(0.2):
        with contextlib.suppress(UnsupportedImage):  # behind an end nothing is read
            decode(data, SETTINGS)
        with contextlib.suppress(UnsupportedImage):
            peak_bytes(data, SETTINGS)


def test_the_refusal_names_the_limit() -> None:
    for count, refused in ((4000, False), (4100, True)):
        data = with_segments(*[segment(0xFE, b"")] * count)
        if refused:
            with pytest.raises(UnsupportedImage, match="more than 4,096 segments"):
                decode(data, SETTINGS)
        else:
            assert np.array_equal(decode(data, SETTINGS).pixels, PIXELS)


def test_fill_bytes_before_a_segment_are_no_segments() -> None:
    data = JPEG[:2] + b"\xff" * 2**20 + JPEG[2:]
    with processor_seconds(0.5):
        assert np.array_equal(decode(data, SETTINGS).pixels, PIXELS)


def test_no_scan_bombs() -> None:
    """Each scan of some bytes takes the decoder through all of the photo."""
    data = encode(quadrants(), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    for count, refused in ((40, False), (100, True)):
        bomb = data[:-2] + last * count + data[-2:]
        if refused:
            for read in (decode, peak_bytes):
                with pytest.raises(UnsupportedImage, match="more than 64 scans"):
                    read(bomb, SETTINGS)
        else:
            assert decode(bomb, SETTINGS).width == quadrants().width


def test_scans_of_another_picture_behind_the_end_do_not_count() -> None:
    data = encode(quadrants(), "JPEG", progressive=True)
    assert np.array_equal(decode(data * 20, SETTINGS).pixels, decode(data, SETTINGS).pixels)
