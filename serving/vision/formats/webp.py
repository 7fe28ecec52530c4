"""WebP: of an animation the first frame, even where a later one is damaged or missing."""

from __future__ import annotations

import struct

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.formats import opened
from serving.vision.records import Photo

# Animations have a chunk a frame.
MOST_CHUNKS = 25_000


def read(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode a WebP; of an animation the first frame.

    Raises:
        UnsupportedImage: damaged.
        TooLarge: see `opened.check_size`.
    """
    return opened.read(first_frame(data), "WEBP", settings)


def first_frame(data: bytes) -> bytes:
    """The same file without the frames behind the first; libwebp wants all of them whole.

    Raises:
        UnsupportedImage: more than `MOST_CHUNKS`.
    """
    kept, frames, at, count = [], 0, 12, 0
    while at + 8 <= len(data):
        count += 1
        if count > MOST_CHUNKS:
            raise UnsupportedImage(
                f"This WebP has more than {MOST_CHUNKS:,} chunks; save it anew, as JPEG or PNG."
            )
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if kind == b"ANMF":
            frames += 1
        if kind != b"ANMF" or frames == 1:
            kept.append(data[at:end])
        at = end
    if frames < 2:
        return data
    content = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(content)) + content
