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
_EXIF, _APP1 = b"Raw profile type exif\0", b"Raw profile type APP1\0"
_ORIENTED = (_EXIF, _APP1, b"XML:com.adobe.xmp\0")
_MOST_TEXT = 1 << 20
# libpng cuts the pixels into chunks of 8 KiB, others into some of 1 KiB. Each takes time, also an
# empty one.
MOST_CHUNKS = 25_000
_INFLATED_AT_ONCE = 1 << 18
# By the type of colour in the header.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Of an interlaced PNG: the first column and row, and the steps.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


class _Chunk(NamedTuple):
    kind: bytes
    content: memoryview
    sound: bool  # its checksum is right
    whole: memoryview  # with length, kind and checksum


def read(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode a PNG; of an animated one the default image.

    Raises:
        UnsupportedImage: damaged where it matters, cut off, or of Apple's own kind.
        TooLarge: see `opened.check_size`.
    """
    bare = essential(data)
    with opened.header(bare, "PNG", settings) as image:
        try:
            image.load()
        except OSError:
            _check_rows(bare)
            raise
        # Rows that the stream does not have are at 0; Pillow often says nothing about them.
        width, height = image.size
        last = image.crop((0, height - 1, width, height))
        if image.info.get("interlace") or not any(last.tobytes()):
            _check_rows(bare)
        return opened.upright(image, opened.orientation(image))


def _check_rows(data: bytes) -> None:
    """Refuse a PNG whose stream of pixels is shorter than its header says; nothing of it is kept.

    Raises:
        UnsupportedImage: it is.
        zlib.error: it is damaged.
    """
    needed, inflater = 0, zlib.decompressobj()
    for chunk in _chunks(data):
        if chunk.kind == b"IHDR" and len(chunk.content) == 13:
            needed = _stream_bytes(bytes(chunk.content))
        elif chunk.kind == b"IDAT":
            part = bytes(chunk.content)
            while part and needed > 0 and not inflater.eof:
                needed -= len(inflater.decompress(part, _INFLATED_AT_ONCE))
                part = inflater.unconsumed_tail
    if needed > 0:
        raise UnsupportedImage(
            "This PNG was cut off: its last rows are missing. Send the whole file again."
        )


def _stream_bytes(header: bytes) -> int:
    """How long the inflated pixels are: rows of the image or of its seven passes, each with a byte
    for its filter."""
    width, height, depth, colours, interlaced = struct.unpack(">IIBBxxB", header)
    bits = depth * _SAMPLES.get(colours, 4)
    total = 0
    for x, y, across, down in _PASSES if interlaced else [(0, 0, 1, 1)]:
        columns, rows = -(-(width - x) // across), -(-(height - y) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def essential(data: bytes) -> bytes:
    """The same photo with the chunks alone that make it: size, palette, pixels, orientation.

    Raises:
        UnsupportedImage: a chunk that makes the photo is damaged.
    """
    kept: list[bytes | memoryview] = [_SIGNATURE]
    oriented = needs_palette = False
    colours = b""
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
            colours = bytes(chunk.content[9:10])
            needs_palette = colours == b"\3"
        elif chunk.kind == b"PLTE":
            needs_palette = False
        elif chunk.kind == b"IDAT" and needs_palette:  # Pillow would take its indices for greys
            raise UnsupportedImage("This PNG is damaged: its palette is missing; send it again.")
        # tRNS and eXIf with a wrong checksum, and tRNS of a wrong length, are left out, as libpng
        # does it.
        if (
            chunk.kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND")
            or (chunk.kind == b"eXIf" and chunk.sound)
            or (chunk.kind == b"tRNS" and chunk.sound and _fits(chunk, colours))
        ):
            kept.append(chunk.whole)
        elif not oriented and chunk.sound and _has_orientation(chunk):
            oriented = True
            kept.append(_as_exif(chunk))
        if chunk.kind == b"IEND":
            break
    return b"".join(kept)


def _fits(transparency: _Chunk, colours: bytes) -> bool:
    """Whether a tRNS has the length that pictures of these colours need."""
    length = len(transparency.content)
    return {b"\0": length == 2, b"\2": length == 6, b"\3": 1 <= length <= 256}.get(colours, False)


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """The chunks up to the first that is cut, which comes as far as it goes.

    Raises:
        UnsupportedImage: more than `MOST_CHUNKS`.
    """
    view, at, count = memoryview(data), len(_SIGNATURE), 0
    while at + 8 <= len(data):
        count += 1
        if count > MOST_CHUNKS:
            raise UnsupportedImage(
                f"This PNG has more than {MOST_CHUNKS:,} chunks; save it anew, as JPEG or PNG."
            )
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        content = view[at + 8 : at + 8 + length]
        check = bytes(view[at + 8 + length : end])
        sound = kind == b"IDAT" or check == struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
        yield _Chunk(kind, content, sound, view[at:end])
        at = end


def _as_exif(chunk: _Chunk) -> bytes | memoryview:
    """The chunk; one that holds EXIF under the name of its JPEG segment, as ImageMagick writes it,
    under the name that Pillow knows."""
    content = bytes(chunk.content)
    if not content.startswith(_APP1):
        return chunk.whole
    named = chunk.kind + _EXIF + content[len(_APP1) :]
    return struct.pack(">I", len(named) - 4) + named + struct.pack(">I", zlib.crc32(named))


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
