"""Decoding: whatever the bytes are, the answer is an upright RGB photo or an error of the tree."""

from __future__ import annotations

import contextlib
import tracemalloc
from typing import Any

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


class TestTransparency:
    """Transparent is white, whatever colour hides below it."""

    @pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
    def test_rgba(self, format: str) -> None:
        image = quadrants().convert("RGBA")
        image.paste((9, 9, 9, 0), (0, 0, 32, 24))
        options = {"lossless": True} if format == "WEBP" else {}
        found = images.corners(check(decode(encode(image, format, **options), SETTINGS)))
        assert found == [WHITE, GREEN, BLUE, GREY]

    def test_half_transparent(self) -> None:
        image = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
        pixels = check(decode(encode(image, "PNG"), SETTINGS))
        assert_near(tuple(pixels[4, 4]), (127, 127, 127), off=1)

    def test_grey_with_alpha(self) -> None:
        image = Image.new("LA", (8, 8), (10, 0))
        image.paste((90, 255), (4, 0, 8, 8))
        pixels = check(decode(encode(image, "PNG"), SETTINGS))
        assert tuple(pixels[4, 1]) == WHITE
        assert tuple(pixels[4, 6]) == (90, 90, 90)

    @pytest.mark.parametrize("format", ["PNG", "GIF"])
    def test_palette(self, format: str) -> None:
        image = Image.new("P", (8, 8), 0)
        image.putpalette([10, 20, 30, 200, 100, 50])
        image.paste(1, (4, 0, 8, 8))
        pixels = check(decode(encode(image, format, transparency=0), SETTINGS))
        assert tuple(pixels[4, 1]) == WHITE
        assert tuple(pixels[4, 6]) == (200, 100, 50)

    def test_palette_with_an_alpha_for_each_colour(self) -> None:
        image = Image.new("P", (8, 8), 0)
        image.putpalette([0, 0, 0, 200, 100, 50])
        image.paste(1, (4, 0, 8, 8))
        pixels = check(decode(encode(image, "PNG", transparency=b"\x00\xff"), SETTINGS))
        assert tuple(pixels[4, 1]) == WHITE
        assert tuple(pixels[4, 6]) == (200, 100, 50)

    def test_one_colour_of_an_rgb_image(self) -> None:
        pixels = check(decode(encode(quadrants(), "PNG", transparency=RED), SETTINGS))
        assert images.corners(pixels) == [WHITE, GREEN, BLUE, GREY]


class TestDepthAndColour:
    def test_16_bit_grey_png(self) -> None:
        values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
        pixels = check(decode(images.deep_png(values), SETTINGS))
        wanted = np.rint(values / 257).astype(np.uint8)
        assert np.array_equal(pixels, np.repeat(wanted[..., None], 3, axis=2))

    def test_a_dark_16_bit_photo_stays_dark(self) -> None:
        pixels = check(decode(images.deep_png(np.full((8, 8), 250, np.uint16)), SETTINGS))
        assert pixels.max() == 1

    @pytest.mark.parametrize("order", ["<u2", ">u2"])
    def test_16_bit_tiff(self, order: str) -> None:
        values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
        mode = "I;16" if order == "<u2" else "I;16B"
        image = Image.frombytes(mode, (64, 48), values.astype(order).tobytes())
        pixels = check(decode(encode(image, "TIFF"), SETTINGS))
        assert np.array_equal(pixels[..., 0], np.rint(values / 257).astype(np.uint8))

    @pytest.mark.parametrize("top", [1.0, 255.0])
    def test_floating_point_tiff(self, top: float) -> None:
        values = np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)
        values[0, 0] = np.nan
        pixels = check(decode(encode(Image.fromarray(values), "TIFF"), SETTINGS))
        assert pixels[0, 0, 0] == 0
        assert pixels[7, 7, 0] == 255

    @pytest.mark.parametrize("format", ["PNG", "TIFF"])
    def test_1_bit(self, format: str) -> None:
        image = Image.new("1", (8, 8), 0)
        image.paste(1, (4, 0, 8, 8))
        pixels = check(decode(encode(image, format), SETTINGS))
        assert tuple(pixels[4, 1]) == (0, 0, 0)
        assert tuple(pixels[4, 6]) == WHITE

    def test_grey_jpeg(self) -> None:
        pixels = check(decode(encode(Image.new("L", (20, 10), 77), "JPEG"), SETTINGS))
        assert_near(tuple(pixels[5, 5]), (77, 77, 77), off=1)

    @pytest.mark.parametrize("format", ["JPEG", "TIFF"])
    def test_cmyk(self, format: str) -> None:
        # Pillow writes CMYK JPEGs as Adobe does: inverted, with Adobe's marker.
        data = encode(quadrants().convert("CMYK"), format)
        assert (b"Adobe" in data) == (format == "JPEG")
        assert_upright(decode(data, SETTINGS), off=12)

    @pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
    def test_of_an_animation_the_first_frame(self, format: str) -> None:
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

    def test_a_large_jpeg_is_decoded_reduced(self) -> None:
        data = encode(Image.new("L", (10_000, 10_000), 99), "JPEG", quality=20)
        photo = decode(data, SETTINGS)
        assert (photo.width, photo.height) == (10_000, 10_000)
        assert check(photo).shape == (5_000, 5_000, 3)

    @pytest.mark.parametrize(
        ("size", "side", "most", "wanted"),
        [
            ((400, 300), 400, 10**6, (400, 300)),
            ((400, 300), 201, 10**6, (400, 300)),
            ((400, 300), 200, 10**6, (200, 150)),
            ((400, 300), 64, 10**6, (100, 75)),
            ((400, 300), 400, 5_000, (50, 38)),  # more pixels than allowed, unless reduced
            ((401, 3), 100, 10**6, (201, 2)),
        ],
    )
    def test_how_far_a_jpeg_is_reduced(
        self, size: tuple[int, int], side: int, most: int, wanted: tuple[int, int]
    ) -> None:
        limits = DecodeSettings(reduce_above_side=side, max_pixels=most)
        photo = decode(encode(Image.new("RGB", size, RED), "JPEG"), limits)
        assert (photo.width, photo.height) == size
        assert photo.pixels.shape == (wanted[1], wanted[0], 3)

    def test_only_what_is_decoded_takes_memory(self) -> None:
        data = encode(Image.new("L", (10_000, 10_000), 99), "JPEG", quality=20)
        tracemalloc.start()
        try:
            decode(data, SETTINGS)
            # numpy's arrays and bytes are traced: 75 MB each, and 300 MB at the full size.
            assert tracemalloc.get_traced_memory()[1] < 200e6
        finally:
            tracemalloc.stop()

    def test_too_many_pixels_for_any_reduction(self) -> None:
        limits = DecodeSettings(max_jpeg_pixels=1_000)
        with pytest.raises(TooLarge, match=r"0\.001 million pixels"):
            decode(encode(quadrants(), "JPEG"), limits)

    @pytest.mark.parametrize(("scans", "refused"), [(1, False), (3, True)])
    def test_a_jpeg_in_parts_counts_in_full(self, scans: int, refused: bool) -> None:
        """One of 240 million pixels has 3 MB, and takes 1.4 GB."""
        limits = DecodeSettings(max_pixels=4000, max_jpeg_pixels=1_000_000, reduce_above_side=64)
        file = images.flat_jpeg(320, 240, scans=scans)
        with pytest.raises(TooLarge) if refused else contextlib.nullcontext():
            assert decode(file, limits).pixels.shape == (30, 40, 3)

    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr"])
    @pytest.mark.parametrize("options", [{}, {"optimize": True}, {"exif": b"\xff\xda\xff\xff" * 9}])
    def test_an_ordinary_jpeg_of_any_colours_is_reduced(
        self, mode: str, options: dict[str, Any]
    ) -> None:
        limits = DecodeSettings(max_pixels=4000, max_jpeg_pixels=1_000_000, reduce_above_side=64)
        file = encode(quadrants(320, 240).convert(mode), "JPEG", **options)
        assert decode(file, limits).pixels.shape == (30, 40, 3)

    def test_a_progressive_jpeg_counts_in_full(self) -> None:
        limits = DecodeSettings(max_pixels=64 * 48 - 1)
        assert decode(encode(quadrants(), "JPEG"), limits).width == 64
        with pytest.raises(TooLarge):
            decode(encode(quadrants(), "JPEG", progressive=True), limits)

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
