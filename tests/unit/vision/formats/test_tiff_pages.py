"""Which page of a TIFF is the photo; what tags say, and what hostile ones cost."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from serving.vision.formats.tiff_pages import MOST_PAGES, photo_page
from tests.support.images import encode, quadrants
from tests.support.tiffs import Kind, assembled, tiff
from tests.support.timing import processor_seconds

SETTINGS = DecodeSettings()
SHORT, LONG = 3, 4
GREY = np.zeros((8, 9, 1), np.uint8)


def pages(*subfile: int | None) -> bytes:
    """One page for each, 9, 10, 11… pixels wide, with this NewSubfileType."""
    data = b"II*\0" + bytes(4)
    link = 4
    for n, kind in enumerate(subfile):
        width = 9 + n
        at = len(data)
        tags = {256: width, 257: 1, 258: 8, 259: 1, 262: 1, 273: at, 277: 1, 278: 1, 279: width}
        if kind is not None:
            tags[254] = kind
        data += bytes(width + width % 2)
        data = data[:link] + struct.pack("<I", len(data)) + data[link + 4 :]
        data += struct.pack("<H", len(tags))
        data += b"".join(struct.pack("<HHII", t, LONG, 1, v) for t, v in sorted(tags.items()))
        link = len(data)
        data += bytes(4)
    return data


@pytest.mark.parametrize(
    ("subfile", "width"),
    [
        ([None], 9),
        ([0, 0], 9),
        ([1, 0], 10),
        ([1, None, 0], 10),
        ([2, 0], 9),  # a page of several
        ([1, 1, 1], 11),  # all reduced: the largest
    ],
)
def test_the_photo_is_the_first_page_that_is_no_reduced_picture(
    subfile: list[int | None], width: int
) -> None:
    assert decode(pages(*subfile), SETTINGS).width == width


def test_the_old_tag_of_reduced_pictures_counts_too() -> None:
    assert photo_page(tiff(GREY, Kind(), {255: (SHORT, [2])})).reduced
    assert not photo_page(tiff(GREY, Kind(), {255: (SHORT, [1])})).reduced


def test_raw_files_of_cameras_are_named() -> None:
    raw: list[dict[int, tuple[int, list[int]]]] = [
        {50706: (1, [1, 4, 0, 0])},
        {262: (SHORT, [32803])},
        {254: (LONG, [1]), 330: (LONG, [8])},
    ]
    for tags in raw:
        with pytest.raises(UnsupportedImage, match=r"raw files? of (a )?camera"):
            decode(tiff(GREY, Kind(), tags), SETTINGS)


@pytest.mark.parametrize("format", [{"big_tiff": True}, {}])
def test_big_tiff(format: dict[str, bool]) -> None:
    data = encode(quadrants(), "TIFF", **format)
    assert (data[2] == 43) == bool(format)
    assert np.array_equal(decode(data, SETTINGS).pixels, np.asarray(quadrants()))
    grey16 = Image.fromarray(np.full((4, 5), 65535, np.uint16))
    assert decode(encode(grey16, "TIFF", **format), SETTINGS).pixels.min() == 255


def test_loops_and_long_chains_of_pages_end() -> None:
    data = bytearray(pages(1, 1))
    data[-4:] = data[4:8]  # the last page's next one is the first
    assert decode(bytes(data), SETTINGS).width == 10
    with processor_seconds(2):
        assert decode(pages(*[1] * 300), SETTINGS).width == 9 + MOST_PAGES - 1


def test_tags_are_no_larger_than_the_file() -> None:
    # 4,000 tags, each of the file's whole length: 260 MB of values.
    tags = {n: (1, [0] * 5) for n in range(1000, 5000)}
    data = bytearray(assembled({256: (3, [9]), 257: (3, [1])} | tags, [bytes(10)]))
    at = struct.unpack_from("<I", data, 4)[0] + 2
    for n in range(4003):
        if struct.unpack_from("<H", data, at + 12 * n)[0] >= 1000:
            struct.pack_into("<II", data, at + 12 * n + 4, len(data), 0)
    with processor_seconds(2):
        page = photo_page(bytes(data))
    assert len(page.tags) < 10


def test_files_without_a_page_are_refused() -> None:
    for data in (b"II*\0\xff\xff\xff\0", b"MM\0*\0\0\0\0", b"II+\0", b"II*\0\x08\0\0\0\0\0"):
        with pytest.raises(UnsupportedImage, match="no page"):
            decode(data, SETTINGS)
    with pytest.raises(UnsupportedImage, match="size is 0 x 8"):
        decode(tiff(GREY, Kind(), {256: (SHORT, [0])}), SETTINGS)
