"""PNG: only the chunks that make the photo are read; damage in the others does no harm.

A history of a megabyte, a colour profile or a wrong checksum of a date is no reason to refuse a
photo that every viewer shows. What is left out is not inflated.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.formats import opened
from serving.vision.records import Photo

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Text in which ImageMagick and Adobe keep the orientation. Longer text than Pillow takes is no
# orientation.
_ORIENTED = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_MOST_TEXT = 1 << 20


class _Chunk(NamedTuple):
    kind: bytes
    content: memoryview
    sound: bool  # its checksum is right
    whole: memoryview  # with length, kind and checksum


def read(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode a PNG; of an animated one the default image.

    Raises:
        UnsupportedImage: damaged where it matters, or of Apple's own kind.
        TooLarge: see `opened.check_size`.
    """
    return opened.read(essential(data), "PNG", settings)


def essential(data: bytes) -> bytes:
    """The same photo with the chunks alone that make it: size, palette, pixels, orientation.

    Raises:
        UnsupportedImage: a chunk that makes the photo is damaged.
    """
    kept: list[bytes | memoryview] = [_SIGNATURE]
    oriented = needs_palette = False
    for chunk in _chunks(data):
        if chunk.kind == b"CgBI":
            raise UnsupportedImage(
                "This PNG is of Apple's own kind (CgBI), which only its devices read; "
                "export it as an ordinary PNG or JPEG."
            )
        if chunk.kind in (b"IHDR", b"PLTE") and not chunk.sound:
            name = chunk.kind.decode()
            raise UnsupportedImage(
                f"This PNG is damaged: the checksum of its {name} is wrong; send it again."
            )
        if chunk.kind == b"IHDR":
            needs_palette = bytes(chunk.content[9:10]) == b"\3"
        elif chunk.kind == b"PLTE":
            needs_palette = False
        elif chunk.kind == b"IDAT" and needs_palette:  # Pillow would take its indices for greys
            raise UnsupportedImage("This PNG is damaged: its palette is missing; send it again.")
        # Of tRNS and eXIf those with a wrong checksum are left out, as libpng does it.
        if chunk.kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND") or (
            chunk.kind in (b"tRNS", b"eXIf") and chunk.sound
        ):
            kept.append(chunk.whole)
        elif not oriented and chunk.sound and _has_orientation(chunk):
            oriented = True
            kept.append(chunk.whole)
        if chunk.kind == b"IEND":
            break
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """The chunks up to the first that is cut, which comes as far as it goes."""
    view, at = memoryview(data), len(_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        content = view[at + 8 : at + 8 + length]
        check = bytes(view[at + 8 + length : end])
        sound = kind == b"IDAT" or check == struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
        yield _Chunk(kind, content, sound, view[at:end])
        at = end


def _has_orientation(chunk: _Chunk) -> bool:
    if chunk.kind == b"tEXt":
        return bytes(chunk.content[:32]).startswith(_ORIENTED)
    if chunk.kind not in (b"zTXt", b"iTXt"):
        return False
    content = bytes(chunk.content)
    if not content.startswith(_ORIENTED):
        return False
    text = content[content.index(b"\0") + 1 :]
    if chunk.kind == b"iTXt":
        if text[:1] != b"\1":  # not compressed
            return True
        text = text[2:].split(b"\0", 2)[-1]
    else:
        text = text[1:]
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(text, _MOST_TEXT)
    except zlib.error:
        return False
    return not inflater.unconsumed_tail
