"""GIF: the first frame, behind a bounded number of blocks."""

from __future__ import annotations

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.formats import opened
from serving.vision.records import Photo

# Comments and programs' own data come in blocks of 255 bytes at most. Each takes Pillow time, also
# an empty one.
MOST_BLOCKS = 100_000
_EXTENSION, _HEADER = 0x21, 13


def read(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode a GIF; of an animation the first frame.

    Raises:
        UnsupportedImage: damaged, or of too many blocks.
        TooLarge: see `opened.check_size`.
    """
    check_blocks(data)
    return opened.read(data, "GIF", settings)


def check_blocks(data: bytes) -> None:
    """Refuse a GIF of more than `MOST_BLOCKS` blocks before its first frame.

    Raises:
        UnsupportedImage: it has more.
    """
    at, count = _HEADER, 0
    if len(data) >= _HEADER and data[10] & 0x80:
        at += 3 << ((data[10] & 7) + 1)  # the palette
    while at < len(data) and data[at] not in b",;":  # a frame, or the end
        count += 1
        if data[at] == _EXTENSION:
            at += 2
            while at < len(data) and data[at] and count <= MOST_BLOCKS:
                at += 1 + data[at]
                count += 1
        at += 1  # the empty block at its end; or a byte that Pillow skips
        if count > MOST_BLOCKS:
            raise UnsupportedImage(
                f"This GIF has more than {MOST_BLOCKS:,} blocks before its picture; save it anew, "
                "as JPEG or PNG."
            )
