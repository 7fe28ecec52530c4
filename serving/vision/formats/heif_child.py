"""Decodes one HEIC or AVIF: a process of its own, with limits on memory and time.

    python -m serving.vision.formats.heif_child HEIC 50000000 10 < photo.heic

The arguments are the format, the most pixels, and the most seconds of CPU.

The libraries that decode video frames have had more holes than all others, and a few bytes can
make them work for minutes without letting go. In a process of its own that ends by itself, and
takes nothing else along. It reads the file from stdin and writes `HEADER` and the pixels to stdout.
"""

from __future__ import annotations

import contextlib
import io
import resource
import struct
import sys
from collections.abc import Iterable
from typing import IO

# Status, mode of the pixels, EXIF orientation, width, height, bytes of pixels behind it.
HEADER = struct.Struct("<c4sBIIQ")
SAMPLES = {"L": 1, "LA": 2, "La": 2, "RGB": 3, "RGBA": 4, "RGBa": 4}
READ, LARGE, UNREADABLE = b"R", b"L", b"U"

_BASE_BYTES = 384 << 20  # of address space: Python with its libraries, and the file
_BYTES_A_PIXEL = 32
_ROWS = 256  # that are copied at once


def main(format: str, most_pixels: int, cpu_seconds: int) -> None:
    _limit(resource.RLIMIT_CPU, cpu_seconds)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    # When memory ends, this process is to go, and not the replica that waits for it.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    data = sys.stdin.buffer.read()
    base = _BASE_BYTES + 2 * len(data)
    _limit(resource.RLIMIT_AS, base)
    out = sys.stdout.buffer
    try:
        _decode(data, format, most_pixels, base, out)
    except Exception:  # whatever a decoder raises of a damaged file, MemoryError too
        out.write(HEADER.pack(UNREADABLE, b"", 1, 0, 0, 0))
    out.flush()


def _decode(data: bytes, format: str, most_pixels: int, base: int, out: IO[bytes]) -> None:
    if format == "HEIC":
        import pi_heif

        pi_heif.options.THUMBNAILS = False
        pi_heif.options.DEPTH_IMAGES = False
        pi_heif.options.AUX_IMAGES = False
        pi_heif.options.DECODE_THREADS = 1
        # 8 bits a sample, whatever the file has; turned as it says, so that EXIF no more counts.
        photo = pi_heif.open_heif(io.BytesIO(data))
    else:
        from PIL import AvifImagePlugin, Image

        Image.MAX_IMAGE_PIXELS = None
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        photo = Image.open(io.BytesIO(data), formats=["AVIF"])
    width, height = photo.size
    if width * height > most_pixels:
        out.write(HEADER.pack(LARGE, b"", 1, width, height, 0))
        return
    # Only now: what a decoder takes for its frames is in proportion to what the header says.
    _limit(resource.RLIMIT_AS, base + _BYTES_A_PIXEL * width * height)
    turned = 1
    if format == "HEIC":
        pieces: Iterable[bytes] = [photo.data]
    else:
        photo.load()
        with contextlib.suppress(Exception):
            turned = int(photo.getexif().get(0x0112, 1))
        rows = range(0, height, _ROWS)
        pieces = (photo.crop((0, y, width, min(y + _ROWS, height))).tobytes() for y in rows)
    if photo.size != (width, height):
        raise ValueError("the size changed")
    turned = turned if 1 <= turned <= 8 else 1
    size = width * height * SAMPLES[photo.mode]
    out.write(HEADER.pack(READ, photo.mode.encode(), turned, width, height, size))
    for piece in pieces:
        out.write(piece)


def _limit(kind: int, most: int) -> None:
    """Set the soft limit, so that it can be raised again, as far as it may be."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
