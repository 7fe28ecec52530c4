"""Decoding: whatever the bytes are, the answer is an upright RGB photo or an error of the tree."""

from __future__ import annotations

import contextlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from serving.errors import TooLarge, UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from serving.vision.records import Photo
from tests.support import images
from tests.support.fuzzing import examples
from tests.support.images import BLUE, GREEN, GREY, RED, encode, quadrants

SETTINGS = DecodeSettings()
WHITE = (255, 255, 255)


def check(photo: Photo) -> NDArray[np.uint8]:
    pixels = photo.pixels
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.flags.c_contiguous
    return pixels


def assert_near(found: tuple[int, ...], wanted: tuple[int, ...], off: int = 4) -> None:
    assert max(abs(f - w) for f, w in zip(found, wanted, strict=True)) <= off, (found, wanted)


def assert_upright(photo: Photo, off: int = 4) -> None:
    for found, wanted in zip(images.corners(check(photo)), (RED, GREEN, BLUE, GREY), strict=True):
        assert_near(found, wanted, off)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_every_format(format: str) -> None:
    photo = decode(encode(quadrants(), format), SETTINGS)
    assert (photo.width, photo.height) == (64, 48)
    assert photo.pixels.shape == (48, 64, 3)
    assert_upright(photo, off=12)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(format: str, orientation: int) -> None:
    photo = decode(images.turned(quadrants(), orientation, format), SETTINGS)
    assert (photo.width, photo.height) == (64, 48)
    assert photo.pixels.shape == (48, 64, 3)
    assert_upright(photo)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_that_are_reduced_are_turned_too(orientation: int) -> None:
    small = DecodeSettings(reduce_above_side=64)
    photo = decode(images.turned(quadrants(320, 240), orientation), small)
    assert (photo.width, photo.height) == (320, 240)
    assert photo.pixels.shape == (60, 80, 3)
    assert_upright(photo)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientations_that_do_not_exist_change_nothing(orientation: int) -> None:
    assert_upright(decode(images.turned(quadrants(), orientation), SETTINGS))


def test_damaged_exif_is_no_reason_to_refuse_the_pixels() -> None:
    good = images.turned(quadrants(), 6)
    start = good.index(b"Exif\0\0") + 6
    damaged = good[:start] + b"\xff" * 8 + good[start + 8 :]
    assert decode(damaged, SETTINGS).pixels.shape == (64, 48, 3)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame(format: str) -> None:
    others = [Image.new("RGB", (64, 48), GREY) for _ in range(3)]
    data = encode(quadrants(), format, save_all=True, append_images=others)
    assert_upright(decode(data, SETTINGS), off=12)


class TestSize:
    @pytest.mark.parametrize("size", [(1, 1), (2000, 8), (8, 2000), (1, 500)])
    @pytest.mark.parametrize("format", ["JPEG", "PNG"])
    def test_odd_sizes(self, size: tuple[int, int], format: str) -> None:
        photo = decode(encode(Image.new("RGB", size, RED), format), SETTINGS)
        assert (photo.width, photo.height) == size
        assert check(photo).shape == (size[1], size[0], 3)

    @pytest.mark.parametrize("size", [(50_000, 50_000), (1, 2**31 - 1), (2**31 - 1, 2**31 - 1)])
    def test_a_bomb_is_refused_by_its_header(self, size: tuple[int, int]) -> None:
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge, match="50 million pixels"):
                decode(images.png_header(*size), SETTINGS)
            assert tracemalloc.get_traced_memory()[1] < 1e6
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "WEBP"])
    def test_every_format_has_its_limit(self, format: str) -> None:
        with pytest.raises(TooLarge):
            decode(encode(quadrants(), format), DecodeSettings(max_pixels=1_000))


class TestRefused:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\0",
            b"hello, this is text",
            b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
            b"%PDF-1.7\n",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            b"P6 2 2 255\n" + b"\0" * 12,  # Pillow could read this one
            b"\xff\xd8\xff",
        ],
    )
    def test_no_image_that_is_supported(self, data: bytes) -> None:
        with pytest.raises(UnsupportedImage) as caught:
            decode(data, SETTINGS)
        assert "/" not in str(caught.value)
        assert "0x" not in str(caught.value)

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
    def test_truncated(self, format: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        data = encode(Image.fromarray(noise), format)
        with pytest.raises(UnsupportedImage):
            decode(data[: len(data) // 2], SETTINGS)


def _or_error(data: bytes) -> None:
    with contextlib.suppress(TooLarge, UnsupportedImage):
        check(decode(data, DecodeSettings(max_pixels=10**6, max_jpeg_pixels=10**6)))


@pytest.mark.filterwarnings("ignore")  # Pillow warns of much in damaged files
@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    _or_error(data)


_VALID = [
    encode(quadrants(), "JPEG"),
    encode(quadrants(), "JPEG", progressive=True),
    encode(quadrants().convert("CMYK"), "JPEG"),
    images.turned(quadrants(), 6),
    encode(quadrants(), "PNG"),
    encode(quadrants().convert("RGBA"), "PNG"),
    encode(quadrants().convert("P"), "PNG", transparency=3),
    encode(quadrants(), "WEBP"),
    encode(quadrants(), "GIF", save_all=True, append_images=[Image.new("RGB", (64, 48))]),
    encode(quadrants(), "TIFF"),
    encode(quadrants(), "TIFF", compression="tiff_lzw"),
    images.turned(quadrants(), 5, "TIFF"),
    encode(quadrants(), "BMP"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.fuzz
@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(_VALID),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
    st.floats(0.3, 1),
)
def test_damaged_files(valid: bytes, changes: list[tuple[float, int]], length: float) -> None:
    data = bytearray(valid)
    for at, value in changes:
        data[min(int(at**2 * len(data)), len(data) - 1)] = value  # headers more often than pixels
    _or_error(bytes(data[: max(1, int(length * len(data)))]))
