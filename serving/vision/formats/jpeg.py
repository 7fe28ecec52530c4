"""JPEG: large ones are decoded reduced, and one that lacks only its end marker is read."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.formats import opened
from serving.vision.records import Photo

_END = b"\xff\xd9"
_SCAN = 0xDA
# Codes that differ from the zeros which libjpeg takes for missing ones, in each restart interval.
_OTHER_CODES = b"".join(b"\xaa\x55" * 32 + bytes([0xFF, 0xD0 + n % 8]) for n in range(16))


class Scan(NamedTuple):
    """A scan of a JPEG: its components, and the coefficients (of 64) that it brings."""

    components: tuple[int, ...]
    first: int
    last: int
    missing_bits: int  # of the coefficients' low bits; later scans bring them


def read(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode a JPEG, at 1/2, 1/4 or 1/8 of its size where the settings say so.

    Raises:
        UnsupportedImage: not 8 bits a sample, cut off, or damaged.
        TooLarge: more pixels than the settings allow.
    """
    # Pillow takes some files without an end marker for whole, with rows that are missing.
    if not _has_end(data):
        return _without_end(data, settings)
    return _decoded(data, settings)


def _decoded(data: bytes, settings: DecodeSettings) -> Photo:
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
    except UnidentifiedImageError:
        raise UnsupportedImage(_why_not(data)) from None
    with image:
        width, height = image.size
        reducible = _reducible(image, data)
        limit = settings.max_jpeg_pixels if reducible else settings.max_pixels
        opened.check_size(width, height, limit)
        if reducible:
            scale = _scale(width, height, settings)
            # draft() takes the strongest reduction, up to 1/8, that keeps at least this size.
            image.draft("RGB", (max(1, width // scale), max(1, height // scale)))
        opened.check_size(*image.size, settings.max_pixels)
        image.load()
        rgb = opened.rgb_of(image)
        return opened.upright(rgb, opened.orientation(image), (width, height))


def _reducible(image: Image.Image, data: bytes) -> bool:
    # For a JPEG with several scans, progressive or baseline, libjpeg keeps the coefficients of all
    # pixels in memory, even when it reduces the image.
    first = next(_scans(data), None)
    return (
        not image.info.get("progressive")
        and first is not None
        and len(first.components) == len(image.getbands())
    )


def _scale(width: int, height: int, settings: DecodeSettings) -> int:
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


def _has_end(data: bytes) -> bool:
    scan = next((at for at, marker, _ in _segments(data) if marker == _SCAN), None)
    return scan is None or data.find(_END, scan) >= 0


def _without_end(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode a JPEG whose end marker is missing, if every row is there.

    libjpeg fills missing rows without a word. So the file is decoded with different bits behind
    it: the photo must not depend on them, and must on the last bytes of the file.
    """
    # Disks and downloads fill up with zeros; the one behind an 0xFF belongs to it.
    end = data.rstrip(b"\0")
    data = end + b"\0" if end.endswith(b"\xff") and len(end) < len(data) else end.rstrip(b"\xff")
    cut = UnsupportedImage(
        "This JPEG was cut off: its last rows are missing. Send the whole file again."
    )
    if not _all_scans(data):
        raise cut
    try:
        shortened = _digest(_decoded(data[:-4] + _OTHER_CODES + _END, settings))
        extended = _digest(_decoded(data + _OTHER_CODES + _END, settings))
        photo = _decoded(data + _END, settings)
    except OSError:
        raise cut from None
    if _digest(photo) != extended or extended == shortened:
        raise cut
    return photo


def _digest(photo: Photo) -> bytes:
    return hashlib.blake2b(photo.pixels.data, digest_size=16).digest()


def _all_scans(data: bytes) -> bool:
    """Whether the scans bring every bit of every coefficient of every component."""
    frame = next((c for _, marker, c in _segments(data) if _is_frame(marker)), b"")
    components = frame[6::3][: frame[5]] if len(frame) > 5 else b""
    missing = {(n, k): 1 for n in components for k in range(64)}
    for scan in _scans(data):
        for n in scan.components:
            missing.update({(n, k): scan.missing_bits for k in range(scan.first, scan.last + 1)})
    return not any(missing.values())


def _scans(data: bytes) -> Iterator[Scan]:
    for _, marker, content in _segments(data):
        if marker == _SCAN and content and len(content) >= 4 + 2 * content[0]:
            count = content[0]
            first, last, bits = content[1 + 2 * count : 4 + 2 * count]
            yield Scan(tuple(content[1 : 1 + 2 * count : 2]), first, min(last, 63), bits & 15)


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Each marker with its place and its segment; pixels and bare markers are skipped."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 < len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:
            at += 1
            continue
        yield at, marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def _is_frame(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def _why_not(data: bytes) -> str:
    for _, marker, content in _segments(data):
        if _is_frame(marker) and len(content) > 5:
            if content[0] != 8:
                return (
                    f"A JPEG of {content[0]} bits a sample cannot be read; "
                    "send it with 8 bits, or as PNG."
                )
            if content[5] not in (1, 3, 4):
                return (
                    f"A JPEG of {content[5]} colours cannot be read; send it in grey, RGB or CMYK."
                )
            break
    return "This JPEG is damaged, or cut off before its pixels; send the whole file again."
