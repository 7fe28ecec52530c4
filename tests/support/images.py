"""Image files made for tests; each function returns the bytes of one file."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DATA = Path(__file__).resolve().parents[2] / "data"
PORTRAIT = DATA / "id_is_2576.jpg"  # one face
GROUP = DATA / "group.jpg"  # several faces

# The colours of `quadrants`, at the corners: top left, top right, bottom left, bottom right.
RED, GREEN, BLUE, GREY = (200, 30, 30), (30, 180, 30), (30, 30, 200), (120, 120, 120)

# Which transformation of the upright image a file with this EXIF orientation stores.
_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def quadrants(width: int = 64, height: int = 48) -> Image.Image:
    """An RGB image whose four quarters differ in colour, so every rotation of it differs."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(GREY, (width // 2, height // 2, width, height))
    return image


def corners(pixels: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """The colours of the four corners, in the order of `RED`, `GREEN`, `BLUE`, `GREY`."""
    picked = (pixels[2, 2], pixels[2, -3], pixels[-3, 2], pixels[-3, -3])
    return [tuple(int(v) for v in pixel) for pixel in picked]


def turned(image: Image.Image, orientation: int, format: str = "JPEG") -> bytes:
    """A file with this EXIF orientation that looks like ``image`` once it is upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    return encode(turned_back(image, orientation), format, exif=exif, **options)


def turned_back(image: Image.Image, orientation: int) -> Image.Image:
    """``image`` as a file with this EXIF orientation stores it."""
    return image.transpose(_STORED[orientation]) if orientation in _STORED else image


def mosaic(faces: int) -> bytes:
    """A JPEG of one face many times, 1280 pixels wide: small, and a lot of work."""
    columns = max(1, round((faces * 1.3) ** 0.5))
    side = 1280 // columns
    with Image.open(DATA / "people" / "104" / "collins.jpg") as photo:
        face = photo.convert("RGB").crop((160, 50, 290, 180)).resize((side, side))
    tiles = Image.new("RGB", (columns * side, -(-faces // columns) * side))
    for n in range(faces):
        tiles.paste(face, (n % columns * side, n // columns * side))
    return encode(tiles, "JPEG", quality=90)


def deep_png(values: NDArray[Any]) -> bytes:
    """16-bit grey; ``values`` are 0 to 65535."""
    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return _png(width, height, depth=16, colour=0, data=rows)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims this size and holds almost no data: a decompression bomb."""
    return _png(width, height, depth=8, colour=2, data=b"\0" * 16)


def _png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def png_of_fewer_rows(data: bytes, part: float = 0.5) -> bytes:
    """The PNG, of one IDAT, with a part of its inflated pixels, in a stream that is closed."""
    at = data.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", data, at)
    pixels = zlib.decompress(data[at + 8 : at + 8 + length])
    content = b"IDAT" + zlib.compress(pixels[: int(len(pixels) * part)])
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return data[:at] + chunk + data[at + 12 + length :]


def flat_jpeg(width: int, height: int, *, scans: int) -> bytes:
    """A grey baseline JPEG of three components: all in one scan, or each in one of its own."""
    sizes = struct.pack(">HH", height, width)
    components = b"".join(bytes([n, 0x11, 0]) for n in (1, 2, 3))
    # Each table has one code, 0: no difference, and no further coefficients.
    one_code = bytes([1, *[0] * 15, 0])
    file = b"\xff\xd8"
    file += _segment(0xDB, bytes([0, *[1] * 64]))
    file += _segment(0xC0, bytes([8]) + sizes + bytes([3]) + components)
    file += _segment(0xC4, b"\x00" + one_code + b"\x10" + one_code)
    blocks = -(-width // 8) * -(-height // 8)
    for part in [(1, 2, 3)] if scans == 1 else [(1,), (2,), (3,)]:
        selected = b"".join(bytes([n, 0]) for n in part)
        file += _segment(0xDA, bytes([len(part)]) + selected + b"\x00\x3f\x00")
        file += bytes(-(-2 * len(part) * blocks // 8))
    return file + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
