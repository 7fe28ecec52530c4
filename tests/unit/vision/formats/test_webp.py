"""WebP animations: the first frame is read, whatever became of the others."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from tests.support.images import BLUE, GREEN, GREY, RED, corners, encode, quadrants
from tests.support.timing import processor_seconds

SETTINGS = DecodeSettings()


def animation(exif: bytes = b"") -> bytes:
    others = [Image.new("RGB", (64, 48), colour) for colour in (RED, GREEN)]
    return encode(
        quadrants(), "WEBP", save_all=True, append_images=others, lossless=True, exif=exif
    )


@pytest.mark.parametrize("cut", [0, 1, 20, 60])
def test_of_a_cut_animation_the_first_frame(cut: int) -> None:
    data = animation()
    photo = decode(data[: len(data) - cut], SETTINGS)
    assert corners(photo.pixels) == [RED, GREEN, BLUE, GREY]


def test_exif_behind_the_frames_counts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(animation(exif.tobytes()), SETTINGS).pixels.shape == (64, 48, 3)


def test_a_cut_first_frame_is_refused() -> None:
    data = animation()
    with pytest.raises(UnsupportedImage):
        decode(data[: data.index(b"ANMF") + 40], SETTINGS)
    with pytest.raises(UnsupportedImage):
        decode(encode(quadrants(), "WEBP")[:-10], SETTINGS)


@pytest.mark.parametrize("kind", [b"ANMF", b"JUNK"])
def test_millions_of_empty_chunks_are_refused_at_once(kind: bytes) -> None:
    content = encode(quadrants(), "WEBP")[8:] + (kind + bytes(4)) * 200_000
    data = b"RIFF" + struct.pack("<I", len(content)) + content
    with processor_seconds(0.5), pytest.raises(UnsupportedImage, match="more than 25,000 chunks"):
        decode(data, SETTINGS)
