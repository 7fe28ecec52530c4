"""JPEG: large ones are decoded reduced, and one that lacks only its end marker is read.

Metadata does not reach the decoder: what is wrong in it is no reason to refuse the pixels.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.formats import jpeg_segments as segments
from serving.vision.formats import opened
from serving.vision.records import Photo

_END = b"\xff\xd9"
# Codes that differ from the zeros which libjpeg takes for missing ones, in each restart interval.
_OTHER_CODES = b"".join(b"\xaa\x55" * 32 + bytes([0xFF, 0xD0 + n % 8]) for n in range(16))


# The first markers of frames that hardly any program writes.
_OTHER_FRAMES = {
    **dict.fromkeys((0xC3, 0xCB), "lossless"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical"),
    0xF7: "lossless (JPEG-LS)",
}


class Header(NamedTuple):
    image: JpegImageFile  # of the size that it will be decoded at
    size: tuple[int, int]  # width and height before it is reduced
    whole: bool  # libjpeg has to keep all of it before the first row


def read(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode a JPEG, at 1/2, 1/4 or 1/8 of its size where the settings say so.

    Raises:
        UnsupportedImage: not 8 bits a sample, cut off, or damaged.
        TooLarge: more pixels than the settings allow.
    """
    bare, orientation = segments.essential(data)
    # Pillow takes some files without an end marker for whole, with rows that are missing.
    photo = _with_end if _has_end(bare) else _without_end
    return photo(bare, orientation, settings)


@contextlib.contextmanager
def header(data: bytes, settings: DecodeSettings) -> Iterator[Header]:
    """A JPEG without its metadata, before its pixels are decoded.

    Raises:
        UnsupportedImage: not 8 bits a sample, or damaged.
        TooLarge: more pixels than the settings allow.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
    except UnidentifiedImageError:
        raise UnsupportedImage(_why_not(data)) from None
    assert isinstance(image, JpegImageFile)
    with image:
        width, height = image.size
        reducible = _reducible(image, data)
        limit = settings.max_jpeg_pixels if reducible else settings.max_pixels
        opened.check_size(width, height, limit)
        if reducible:
            scale = _scale(width, height, settings)
            # draft() takes the strongest reduction, up to 1/8, that keeps at least this size.
            image.draft("RGB", (max(1, width // scale), max(1, height // scale)))
        else:
            segments.check_scans(data)
        opened.check_size(*image.size, settings.max_pixels)
        yield Header(image, (width, height), whole=not reducible)


class _Decoded(NamedTuple):
    photo: Photo
    may_lack_rows: bool  # it ends as libjpeg fills up where there are no codes, or lacks scans


def _decoded(data: bytes, orientation: int, settings: DecodeSettings) -> Photo:
    return _decoded_to_its_end(data, orientation, settings).photo


def _decoded_to_its_end(data: bytes, orientation: int, settings: DecodeSettings) -> _Decoded:
    with header(data, settings) as found:
        try:
            found.image.load()
        except OSError:
            if _is_of_another_kind(data):
                raise UnsupportedImage(_why_not(data)) from None
            raise
        photo = opened.upright(found.image, orientation, found.size)
        return _Decoded(photo, _may_lack_rows(found, data))


def _may_lack_rows(header: Header, data: bytes) -> bool:
    image = header.image
    width, height = image.size
    last = image.crop((width - 1, height - 1, width, height))
    if header.whole:
        if not segments.all_scans(data):
            return True
        if image.mode == "RGB":  # the colours may be there, and the brightness missing
            last = last.convert("L")
    # The middle grey of a block without codes; of CMYK it is turned over.
    return all(126 <= sample <= 129 for sample in last.tobytes())


def _with_end(data: bytes, orientation: int, settings: DecodeSettings) -> Photo:
    """Decode a JPEG with an end marker, if every row is there.

    libjpeg takes an end marker in the middle of the rows without a word. Where the photo may lack
    some, it is decoded once more with other codes behind each scan: if it depends on them, the
    file has none in their place. Not seen are a cut within the last block, and one within the last
    scan of a progressive JPEG, which costs some rows half a step of their detail.
    """
    photo, may_lack_rows = _decoded_to_its_end(data, orientation, settings)
    if not may_lack_rows:
        return photo
    digest = _digest(photo)
    del photo  # two would be more memory than `memory` counts
    ends = [0, *segments.scan_ends(data), len(data)]
    parts = [data[a:b] for a, b in itertools.pairwise(ends)]
    try:
        photo = _decoded(_OTHER_CODES.join(parts), orientation, settings)
    except OSError:
        raise _cut() from None
    if _digest(photo) != digest:
        raise _cut()
    return photo


def _cut() -> UnsupportedImage:
    return UnsupportedImage(
        "This JPEG was cut off: its last rows are missing. Send the whole file again."
    )


def _reducible(image: Image.Image, data: bytes) -> bool:
    # For a JPEG with several scans, progressive or baseline, libjpeg keeps the coefficients of all
    # pixels in memory, even when it reduces the image.
    first = next(segments.scans(data), None)
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
    scan = next((at for at, marker, _ in segments.of(data) if marker == segments.SCAN), None)
    return scan is None or data.find(_END, scan) >= 0


def _without_end(data: bytes, orientation: int, settings: DecodeSettings) -> Photo:
    """Decode a JPEG whose end marker is missing, if every row is there.

    libjpeg fills missing rows without a word. So the file is decoded with different bits behind
    it: the photo must not depend on them, and must on the last bytes of the file.
    """
    # Disks and downloads fill up with zeros; the one behind an 0xFF belongs to it.
    end = data.rstrip(b"\0")
    data = end + b"\0" if end.endswith(b"\xff") and len(end) < len(data) else end.rstrip(b"\xff")
    if not segments.all_scans(data):
        raise _cut()
    try:
        shortened = _digest(_decoded(data[:-4] + _OTHER_CODES + _END, orientation, settings))
        extended = _digest(_decoded(data + _OTHER_CODES + _END, orientation, settings))
        photo = _decoded(data + _END, orientation, settings)
    except OSError:
        raise _cut() from None
    if _digest(photo) != extended or extended == shortened:
        raise _cut()
    return photo


def _digest(photo: Photo) -> bytes:
    return hashlib.blake2b(photo.pixels.data, digest_size=16).digest()


def _is_of_another_kind(data: bytes) -> bool:
    for _, marker, _ in segments.of(data):
        if marker in _OTHER_FRAMES:
            return True
        if segments.is_frame(marker) or marker == segments.SCAN:
            break
    return False


def _why_not(data: bytes) -> str:
    for _, marker, content in segments.of(data):
        if marker in _OTHER_FRAMES:
            return f"A {_OTHER_FRAMES[marker]} JPEG cannot be read; send an ordinary one, or a PNG."
        if segments.is_frame(marker) and len(content) > 5:
            if content[0] != 8:
                return (
                    f"A JPEG of {content[0]} bits a sample cannot be read; "
                    "send it with 8 bits, or as PNG."
                )
            if content[5] not in (1, 3, 4):
                return (
                    f"A JPEG of {content[5]} colours cannot be read; send it in grey, RGB or CMYK."
                )
            if content[1:3] == b"\0\0":
                return (
                    "A JPEG that tells its height only behind its pixels (DNL) cannot be read; "
                    "save it anew, as JPEG or PNG."
                )
            break
    return "This JPEG is damaged, or cut off before its pixels; send the whole file again."
