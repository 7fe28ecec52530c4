"""What every format shares: colours to RGB, transparency on white, orientation, sizes."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import IFDRational

from serving.errors import TooLarge
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from serving.vision.formats import opened
from serving.vision.records import Photo
from tests.support import images
from tests.support.images import BLUE, GREEN, GREY, RED, encode, quadrants

SETTINGS = DecodeSettings()
WHITE = (255, 255, 255)


def check(photo: Photo) -> NDArray[np.uint8]:
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    return photo.pixels


def assert_near(found: tuple[int, ...], wanted: tuple[int, ...], off: int = 4) -> None:
    assert max(abs(f - w) for f, w in zip(found, wanted, strict=True)) <= off, (found, wanted)


def assert_upright(photo: Photo, off: int = 4) -> None:
    for found, wanted in zip(images.corners(check(photo)), (RED, GREEN, BLUE, GREY), strict=True):
        assert_near(found, wanted, off)


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


class TestOrientation:
    @pytest.mark.parametrize(
        "value",
        [6, 6.0, (6,), (6, 0), b"\6", b"\6\0", b"6", b"6\0", "6", " 6 ", "6\0", IFDRational(12, 2)],
    )
    def test_ways_to_write_it(self, value: Any) -> None:
        assert opened.orientation_of(value) == 6

    @pytest.mark.parametrize(
        "value",
        [
            0,
            9,
            -1,
            6.5,
            (),
            b"",
            b"x",
            "",
            "six",
            None,
            IFDRational(1, 0),
            float("nan"),
            b"66",
            [6],
        ],
    )
    def test_what_is_none(self, value: Any) -> None:
        assert opened.orientation_of(value) == 1

    @pytest.mark.parametrize(
        ("kind", "value"), [(3, b"\0\6"), (1, b"\6"), (2, b"6\0"), (4, b"\0\0\0\6"), (8, b"\0\6")]
    )
    def test_types_of_exif(self, kind: int, value: bytes) -> None:
        stored = encode(quadrants().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95)
        count = 2 if kind == 2 else 1
        entry = struct.pack(">HHHI", 1, 0x0112, kind, count) + value.ljust(4, b"\0") + bytes(4)
        block = b"Exif\0\0" + struct.pack(">2sHI", b"MM", 42, 8) + entry
        segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
        assert_upright(decode(stored[:2] + segment + stored[2:], SETTINGS), off=12)


class TestSides:
    @pytest.mark.parametrize("size", [(1, 70_000), (70_000, 1), (65_536, 2)])
    @pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
    def test_a_side_has_a_limit(self, size: tuple[int, int], format: str) -> None:
        with pytest.raises(TooLarge, match="65,535 pixels; crop it"):
            decode(encode(Image.new("L", size), format), SETTINGS)

    def test_up_to_it_photos_are_read(self) -> None:
        assert decode(encode(Image.new("L", (65_535, 2)), "PNG"), SETTINGS).width == 65_535


class TestStrips:
    """An image that is converted and turned in strips is as one that is in one piece."""

    MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "I;16")

    @pytest.mark.parametrize(
        ("mode", "transparency"),
        [
            *((mode, None) for mode in (*MODES, "I", "F")),
            *(("P", told) for told in (5, bytes(range(256)))),
            ("L", 7),
            ("RGB", (1, 2, 3)),
        ],
    )
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_bit_for_bit(
        self, monkeypatch: pytest.MonkeyPatch, mode: str, transparency: Any, orientation: int
    ) -> None:
        monkeypatch.setattr(opened, "_STRIP", 37 * 5)
        image = self._noise(mode)
        if transparency is not None:
            image.info["transparency"] = transparency
        found = opened.upright(image, orientation)
        whole = opened.rgb_of(image)
        tag = Image.Exif()
        tag[0x0112] = orientation
        whole.info["exif"] = tag.tobytes()
        assert np.array_equal(check(found), np.asarray(ImageOps.exif_transpose(whole)))
        assert found.pixels.shape == (found.height, found.width, 3)

    @staticmethod
    def _noise(mode: str) -> Image.Image:
        rng = np.random.default_rng(3)
        if mode in ("I", "F"):
            deep = rng.random((23, 37)) * 70_000
            return Image.fromarray(deep.astype(np.int32 if mode == "I" else np.float32))
        size = len(Image.new(mode, (37, 23)).tobytes())
        image = Image.frombytes(mode, (37, 23), rng.bytes(size))
        if mode in ("P", "PA"):
            image.putpalette(rng.bytes(768))
        return image
