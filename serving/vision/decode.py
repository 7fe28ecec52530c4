"""Decoding: the bytes of an image file -> an upright RGB photo.

Any bytes give a `Photo` or one of the errors of `serving.errors`. Size limits are checked on the
header, before any pixel is decoded.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from serving.errors import TooLarge, UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.records import Photo

# A closed list: Pillow also opens formats (EPS, PSD, PDF…) that are not used for photos, and whose
# decoders only add to the attack surface. MPO, which some cameras write as .jpg, opens as JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")

# Pillow's decompression-bomb limit is one number for all formats; the settings' limits replace it.
Image.MAX_IMAGE_PIXELS = None

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
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def decode(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode one image file; of an animation, its first frame.

    Transparency is laid on white, 16-bit grey is scaled to 8 bits, EXIF rotation is applied.

    Raises:
        UnsupportedImage: empty, not an image of a supported format, or damaged.
        TooLarge: more pixels than the settings allow.
    """
    if not data:
        raise UnsupportedImage("The image is empty; send the bytes of a JPEG, PNG or WebP file.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _decode_open(image, data, settings)
    except (UnsupportedImage, TooLarge):
        raise
    except UnidentifiedImageError:
        raise UnsupportedImage(
            f"These bytes are no image that can be read; send one of {', '.join(FORMATS)}."
        ) from None
    except Exception as error:
        # For damaged files Pillow's decoders raise a dozen exception types (OSError, SyntaxError,
        # struct.error, ValueError, IndexError…); for the caller all of them mean the same.
        raise UnsupportedImage(
            f"The image is damaged and cannot be decoded ({type(error).__name__})."
        ) from error


def _decode_open(image: Image.Image, data: bytes, settings: DecodeSettings) -> Photo:
    width, height = image.size
    # For a JPEG with several scans, progressive or baseline, libjpeg keeps the coefficients of all
    # pixels in memory, even when it reduces the image.
    reducible = (
        image.format in ("JPEG", "MPO")
        and not image.info.get("progressive")
        and _components_of_first_scan(data) == len(image.getbands())
    )
    limit = settings.max_jpeg_pixels if reducible else settings.max_pixels
    if width * height > limit:
        raise TooLarge(_too_many(limit))
    if reducible:
        scale = _jpeg_scale(width, height, settings)
        # draft() takes the strongest reduction, up to 1/8, that keeps at least this size.
        image.draft("RGB", (max(1, width // scale), max(1, height // scale)))
    if image.size[0] * image.size[1] > settings.max_pixels:
        raise TooLarge(_too_many(settings.max_pixels))
    image.load()
    rgb = _to_rgb(image)
    orientation = _orientation(image)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    if orientation >= 5:  # a quarter turn
        width, height = height, width
    return Photo(pixels=np.asarray(rgb), width=width, height=height)


def _components_of_first_scan(jpeg: bytes) -> int:
    """The number of colour components in the first scan of a JPEG; 0 when there is no scan."""
    at = 2
    while (at := jpeg.find(b"\xff", at)) >= 0 and at + 4 < len(jpeg):
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker == 0xDA:
            return jpeg[at + 4]
        # Fill bytes and markers without a segment are skipped byte by byte.
        at += 1 if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9 else 2 + length
    return 0


def _jpeg_scale(width: int, height: int, settings: DecodeSettings) -> int:
    """The factor by which a JPEG is reduced while it is decoded: 1, 2, 4 or 8.

    The longer side stays at least ``reduce_above_side``, unless that is still too many pixels.
    """
    scale = 1
    while scale < 8 and (
        max(width, height) >= 2 * scale * settings.reduce_above_side
        or (width // scale) * (height // scale) > settings.max_pixels
    ):
        scale *= 2
    return scale


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block is no reason to refuse the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        return _deep_to_grey(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _deep_to_grey(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits -> 8 bits; Pillow's own conversion would clip at 255."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    # Mode "I" is 32 bits wide and does not say which range a file uses.
    if image.mode.startswith("I;16") or (image.mode == "I" and values.max(initial=0) > 255):
        values = values / 257.0  # 65535 -> 255
    elif image.mode == "F" and values.max(initial=0) <= 1:
        values = values * 255.0
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _too_many(limit: int) -> str:
    return f"The image has more than {limit / 1e6:g} million pixels; send a smaller one."
