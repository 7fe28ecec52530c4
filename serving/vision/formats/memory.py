"""The memory that decoding a photo takes at its peak: an estimate from its header.

The numbers below were measured, each with photos of several megapixels; a test compares them with
the peaks of processes that decode. Not in them are the bytes of the file as they came.
"""

from __future__ import annotations

import re
import struct

from serving.settings import DecodeSettings
from serving.vision.formats import bmp, gif, heif, jpeg, opened, png, tiff, webp
from serving.vision.formats import jpeg_segments as segments
from serving.vision.formats.tiff_pages import MOST_SAMPLES, photo_page

# Of every photo: a strip while it is converted, and what the decoders need whatever the size.
_BASE = 16 << 20
# A loaded image of Pillow, bytes a pixel. Of colours it keeps four samples, used or not.
_OF_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2}
_COLOURS = 4
_PHOTO = 3  # `Photo.pixels`, which is filled while the image is still there
# Copies of the file: without metadata; of a JPEG without its end, with several ends.
_COPIES = {"JPEG": 4, "PNG": 1, "WEBP": 2, "TIFF": 1, "HEIC": 3, "AVIF": 3}

# libwebp's canvas, the frame before and the frame, one more copy of it, and the image.
_WEBP = 17
# A BMP whose samples are put together by masks lies once more in numpy.
_BMP_MASKED = 4
# Blocks of samples while they are scaled; a TIFF's bytes are three times there when unpacked.
_BLOCKS = 64 << 20
_UNPACKED = 3

# The process that decodes, and what comes of it here.
_CHILD = 64 << 20
_HEIC = 16
_AVIF = 14
_AVIF_ALPHA = 4
_AVIF_DEEP = 6  # computed, not measured: frames of twice the bytes
# What the largest photo of any other kind takes.
_MOST, _MOST_COPIES = 18, 4
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_DEEP = re.compile(rb"av1C\x81.[\x40-\x7f\xc0-\xff]", re.DOTALL)


def peak_bytes(data: bytes, format: str, settings: DecodeSettings) -> int:
    """The most memory that decoding this file takes, in bytes; no pixel is decoded.

    Args:
        format: as `kinds.format_of` names it.

    Raises:
        UnsupportedImage, TooLarge: what the decoder would raise for this header.
    """
    base = _BASE + _COPIES.get(format, 0) * len(data)
    if format in ("HEIC", "AVIF"):
        return base + _CHILD + _of_frames(data, format, settings)
    if format == "JPEG":
        return base + _of_jpeg(data, settings)
    if format == "TIFF":
        return base + _of_tiff(data, settings)
    if format == "BMP":
        return base + _of_bmp(data, settings)
    if format == "WEBP":
        data = webp.first_frame(data)
    elif format == "PNG":
        data = png.essential(data)
    elif format == "GIF":
        gif.check_blocks(data)
    with opened.header(data, format, settings) as image:
        pixels, mode = image.width * image.height, image.mode
    if format == "WEBP":
        return base + pixels * _WEBP
    return base + pixels * (_image(mode) + _PHOTO)


def of_largest(pixels: int, nbytes: int) -> int:
    """The most that `peak_bytes` has for a photo of so many pixels in a file of so many bytes, but
    for an AVIF of more than 8 bits. The chart refuses a pod in which it finds no room."""
    return _MOST * pixels + _BASE + _CHILD + _MOST_COPIES * nbytes


def _image(mode: str) -> int:
    return _OF_MODE.get(mode, _COLOURS)


def _of_frames(data: bytes, format: str, settings: DecodeSettings) -> int:
    pixels = heif.pixels_told(data, settings.max_pixels)
    if format == "HEIC":
        return pixels * _HEIC
    deep = _AVIF_DEEP if _DEEP.search(data) else 0
    alpha = _AVIF_ALPHA if any(urn in data for urn in _ALPHA) else 0
    return pixels * (_AVIF + deep + alpha)


def _of_bmp(data: bytes, settings: DecodeSettings) -> int:
    old = bmp.header_size_of(data) == 12
    width, height, _, bits = struct.unpack_from("<HHHH" if old else "<iiHH", data, 18)
    opened.check_size(width, abs(height), settings.max_pixels)
    image = _COLOURS + _BMP_MASKED if bits > 8 else _image("P")
    return int(max(0, width) * abs(height)) * (image + _PHOTO)


def _of_jpeg(data: bytes, settings: DecodeSettings) -> int:
    with jpeg.header(segments.essential(data)[0], settings) as (image, _, whole):
        coefficients = 0.0  # of 2 bytes
        if whole:
            across, down = (max(layer[n] for layer in image.layer) for n in (1, 2))
            coefficients = 2 * sum(h * v for _, h, v, _ in image.layer) / (across * down)
        pixels = image.width * image.height
        return int(pixels * (_image(image.mode) + max(_PHOTO, coefficients)))


def _of_tiff(data: bytes, settings: DecodeSettings) -> int:
    page = photo_page(data)
    opened.check_size(*page.size, settings.max_pixels)
    pixels = max(0, page.size[0]) * max(0, page.size[1])
    # More than that is not read.
    bits = page.bits if 1 <= page.bits <= 64 else 64
    unpacked = min(page.samples, MOST_SAMPLES) * bits / 8
    if tiff.by_pillow(page):
        # The whole page may be one strip, which is unpacked before it becomes an image.
        return int(pixels * (_COLOURS + max(_PHOTO, unpacked)))
    return _BLOCKS + int(pixels * (_UNPACKED * unpacked + _COLOURS + _PHOTO))
