"""What every format shares: limits of size, colours of any mode to RGB, EXIF orientation."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from serving.errors import TooLarge, UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.records import Photo

# Pillow's decompression-bomb limit is one number for all formats; the settings' limits replace it.
Image.MAX_IMAGE_PIXELS = None

# Decoders need seconds for a photo of one column, however few pixels it has.
MAX_SIDE = 65_535

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_STRIP = 1 << 18  # pixels that are converted at once


def check_size(width: int, height: int, limit: int) -> None:
    """Refuse a photo by the size in its header.

    Raises:
        TooLarge: more than ``limit`` pixels, or a side of more than `MAX_SIDE`.
    """
    if width * height > limit:
        raise TooLarge(
            f"The image has more than {limit / 1e6:g} million pixels; send a smaller one."
        )
    if max(width, height) > MAX_SIDE:
        raise TooLarge(f"A side of the image has more than {MAX_SIDE:,} pixels; crop it.")


@contextlib.contextmanager
def header(data: bytes, format: str, settings: DecodeSettings) -> Iterator[Image.Image]:
    """An image of one format of Pillow, before its pixels are decoded.

    Raises:
        UnsupportedImage: Pillow does not know this kind of the format.
        TooLarge: see `check_size`.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=[format])
    except UnidentifiedImageError:
        raise UnsupportedImage(
            f"This {format} is damaged, or of a kind that cannot be read; send it as JPEG or PNG."
        ) from None
    with image:
        check_size(*image.size, settings.max_pixels)
        yield image


def read(data: bytes, format: str, settings: DecodeSettings) -> Photo:
    """Decode a file of one format of Pillow; of several frames, the first.

    Raises:
        UnsupportedImage, TooLarge: see `header`.
    """
    with header(data, format, settings) as image:
        image.load()
        return upright(image, orientation(image))


def upright(image: Image.Image, orientation: int, size: tuple[int, int] | None = None) -> Photo:
    """The photo of a loaded image of any mode that is stored in this EXIF orientation.

    Beside the image and the photo it takes the memory of a strip.

    ``size``: width and height before it was reduced, as stored; None: it was not.
    """
    width, height = image.size
    turned = orientation >= 5  # by a quarter
    pixels = np.empty((width, height, 3) if turned else (height, width, 3), np.uint8)
    rows = max(1, _STRIP // width)
    for y in range(0, height, rows):
        end = min(y + rows, height)
        strip = rgb_of(image.crop((0, y, width, end)))
        if orientation in _UPRIGHT:
            strip = strip.transpose(_UPRIGHT[orientation])
        # Where the last row of the image comes first, its first strip comes last.
        place = slice(height - end, height - y) if orientation in (3, 4, 6, 7) else slice(y, end)
        pixels[(slice(None), place) if turned else place] = np.asarray(strip)
    width, height = size or image.size
    if turned:
        width, height = height, width
    return Photo(pixels=pixels, width=width, height=height)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none, or none that exists."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block is no reason to refuse the pixels
        return 1
    return orientation_of(value)


def orientation_in(exif: bytes, xmp: bytes = b"") -> int:
    """The orientation that a block of EXIF tells, else one of XMP; 1 where there is none."""
    tags = Image.Exif()
    with contextlib.suppress(Exception):  # a damaged block is no reason to refuse the pixels
        tags.load(exif)
        if _ORIENTATION in tags:
            return orientation_of(tags[_ORIENTATION])
    found = re.search(rb"tiff:Orientation\s*(?:=\s*[\"']|>\s*)([0-9])", xmp)
    return orientation_of(found[1]) if found else 1


def orientation_of(value: Any) -> int:
    """An orientation as EXIF or TIFF has it: a SHORT, or written as a BYTE, as text or twice."""
    if isinstance(value, tuple):
        value = value[0] if value else 1
    if isinstance(value, bytes):
        value = value.strip(b"\0 ")
        value = value[0] if len(value) == 1 and value[0] < 9 else value.decode("latin-1")
    try:
        number = float(value.strip("\0 ") if isinstance(value, str) else value)
    except (TypeError, ValueError, ZeroDivisionError):
        return 1
    return int(number) if number in range(1, 9) else 1


def rgb_of(image: Image.Image) -> Image.Image:
    """RGB of a loaded image of any mode; transparency is laid on white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(image).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """Grey of 16 bits -> 8 bits; Pillow's own conversion would clip at 255.

    PNG has no other deep grey, and Pillow reads that of PNG as "I" or as "I;16".
    """
    values = np.asarray(image, dtype=np.float32) / 257.0  # 65535 -> 255
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
