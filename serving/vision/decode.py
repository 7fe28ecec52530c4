"""Decoding: the bytes of an image file -> an upright RGB photo.

Any bytes give a `Photo` or one of the errors of `serving.errors`. Size limits are checked on the
header, before any pixel is decoded. docs/photos.md lists what is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from serving.errors import ServingError, UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.formats import bmp, gif, heif, jpeg, kinds, memory, png, tiff, webp
from serving.vision.records import Photo

T = TypeVar("T")

# A closed list: Pillow also opens formats (EPS, PSD, PDF…) that are not used for photos, and whose
# decoders only add to the attack surface.
_READERS: dict[str, Callable[[bytes, DecodeSettings], Photo]] = {
    "JPEG": jpeg.read,  # MPO too, which some cameras write as .jpg
    "PNG": png.read,
    "WEBP": webp.read,
    "HEIC": heif.read_heic,
    "AVIF": heif.read_avif,
    "GIF": gif.read,
    "TIFF": tiff.read,
    "BMP": bmp.read,
}


def decode(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode one image file; of an animation, its first frame.

    Transparency is laid on white, deeper samples are scaled to 8 bits, EXIF rotation is applied.

    Raises:
        UnsupportedImage: empty, not an image of a supported format, or damaged.
        TooLarge: more pixels than the settings allow.
        TimedOut: the deadline came while a HEIC or AVIF was decoded.
        Overloaded: there was no memory or time for the process that decodes a HEIC or AVIF.
    """
    return _read(data, lambda format: _READERS[format](data, settings))


def peak_bytes(data: bytes, settings: DecodeSettings) -> int:
    """The most memory that `decode` takes beside the file, in bytes: an estimate from the header.

    Raises:
        UnsupportedImage, TooLarge: as `decode`, as far as the header shows it.
    """
    return _read(data, lambda format: memory.peak_bytes(data, format, settings))


def _read(data: bytes, read: Callable[[str], T]) -> T:
    if not data:
        raise UnsupportedImage("The image is empty; send the bytes of a JPEG, PNG or WebP file.")
    format = kinds.format_of(data)
    if format is None:
        raise UnsupportedImage(kinds.refusal(data))
    try:
        return read(format)
    except ServingError:
        raise
    except Exception as error:
        # For damaged files Pillow's decoders raise a dozen exception types (OSError, SyntaxError,
        # struct.error, ValueError, IndexError…); for the caller all of them mean the same.
        raise UnsupportedImage(
            f"This {format} is damaged and cannot be decoded ({type(error).__name__}); "
            "send the whole file again, or export it anew."
        ) from error
