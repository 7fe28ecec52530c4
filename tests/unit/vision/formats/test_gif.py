"""GIF: the first frame, whatever stands before it, but not without end."""

from __future__ import annotations

import pytest

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode, peak_bytes
from serving.vision.formats import gif
from tests.support.images import corners, encode, quadrants
from tests.support.timing import processor_seconds

SETTINGS = DecodeSettings()
GIF = encode(quadrants(), "GIF")
# Behind the header and the palette, before the first block of any kind.
START = 13 + (3 << ((GIF[10] & 7) + 1))
COMMENT = b"\x21\xfe\x03abc\x02de\0"
APPLICATION = b"\x21\xff\x0bNETSCAPE2.0"


@pytest.mark.parametrize(
    "before",
    [b"", COMMENT, COMMENT * 1000, b"\0" * 1000, b"\x21\xfe" + b"\xff" + bytes(255) + b"\0"],
)
def test_what_stands_before_the_first_frame_does_no_harm(before: bytes) -> None:
    photo = decode(GIF[:START] + before + GIF[START:], SETTINGS)
    assert corners(photo.pixels) == corners(decode(GIF, SETTINGS).pixels)


@pytest.mark.parametrize(
    "before",
    [
        COMMENT * 200_000,
        b"\x21\xfe\0" * 500_000,
        APPLICATION + b"\1\0" * 500_000 + b"\0",
        APPLICATION + b"\1!" * 500_000 + b"\0",
        b"\0" * 500_000,
    ],
)
def test_millions_of_blocks_are_refused_at_once(before: bytes) -> None:
    data = GIF[:START] + before + GIF[START:]
    with processor_seconds(0.5):
        for read in (decode, peak_bytes):
            with pytest.raises(UnsupportedImage, match="more than 100,000 blocks"):
                read(data, SETTINGS)


@pytest.mark.parametrize("cut", range(0, len(GIF), 7))
def test_a_cut_file_has_no_more_blocks(cut: int) -> None:
    gif.check_blocks(GIF[:cut])
