"""BMP: headers that lie are named, and an alpha that is 0 everywhere is none."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.formats import opened
from serving.vision.records import Photo

_MASKED = (3, 6)  # compression: the pixel's bits of each colour are told by masks
_KINDS = {0: "raw", 1: "RLE8", 2: "RLE4", 3: "bit fields", 6: "bit fields", 4: "JPEG", 5: "PNG"}
_BLOCK = 1 << 20  # pixels that are converted at once


def read(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode a BMP.

    Raises:
        UnsupportedImage: damaged, or of a kind that no other program writes for photos.
        TooLarge: see `opened.check_size`.
    """
    header_size = header_size_of(data)
    if header_size == 12:  # OS/2, without compression
        return opened.read(data, "BMP", settings)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if width <= 0:
        raise UnsupportedImage(f"This BMP is damaged: its width is {width}; send it again.")
    if height == 0:
        raise UnsupportedImage("This BMP is damaged: its height is 0; send it again.")
    opened.check_size(width, abs(height), settings.max_pixels)
    if compression in _MASKED and header_size != 64 and bits in (16, 32):
        return _masked(data, header_size, width, height, bits)
    if bits not in (1, 4, 8, 16, 24, 32) or compression not in (0, 1, 2):
        kind = _KINDS.get(compression, f"compression {compression}")
        raise UnsupportedImage(
            f"A BMP of {bits} bits a pixel ({kind}) cannot be read; send it as PNG or JPEG."
        )
    return opened.read(data, "BMP", settings)


def header_size_of(data: bytes) -> int:
    """The bytes of the header behind the file's own of 14.

    Raises:
        UnsupportedImage: it is cut, or of a size that no BMP has, as in a text that begins with BM.
    """
    cut = UnsupportedImage("This BMP was cut off; send the whole file again.")
    if len(data) < 26:
        raise cut
    (size,) = struct.unpack_from("<I", data, 14)
    if size not in (12, 40, 52, 56, 64, 108, 124):
        raise UnsupportedImage(
            f"A BMP with a header of {size} bytes cannot be read; send it as PNG or JPEG."
        )
    if len(data) < 14 + size:
        raise cut
    return int(size)


def _masked(data: bytes, header_size: int, width: int, height: int, bits: int) -> Photo:
    """Pixels of which masks say where each colour lies, in any order and of any number of bits."""
    (start,) = struct.unpack_from("<I", data, 10)
    # Behind a header of 40 bytes, else inside of it: the same place.
    masks = struct.unpack_from("<4I", data.ljust(70, b"\0"), 54)
    if start == 0:  # some programs leave it out: the pixels follow the header and its masks
        behind = {3: 12, 6: 16}[struct.unpack_from("<I", data, 30)[0]] if header_size == 40 else 0
        start = 14 + header_size + behind
    with_alpha = header_size >= 56 or struct.unpack_from("<I", data, 30)[0] == 6
    if not all(masks[:3]):
        raise UnsupportedImage("This BMP is damaged: a colour has no bits; send it again.")
    stride = (width * bits // 8 + 3) // 4 * 4
    if len(data) < start + stride * abs(height):
        raise UnsupportedImage(
            "This BMP was cut off: its last rows are missing. Send the whole file again."
        )
    rows = np.frombuffer(data, np.uint8, stride * abs(height), start)
    rows = rows.reshape(abs(height), stride)[:, : width * bits // 8]
    if height > 0:  # the usual: from the bottom up
        rows = rows[::-1]
    used = masks if with_alpha and masks[3] else masks[:3]
    pixels = np.empty((abs(height), width, len(used)), np.uint8)
    step = max(1, _BLOCK // width)
    for y in range(0, abs(height), step):
        block = np.ascontiguousarray(rows[y : y + step]).view(f"<u{bits // 8}").astype(np.uint32)
        for n, mask in enumerate(used):
            pixels[y : y + step, :, n] = _samples(block, mask)
    # Programs that know no alpha leave it 0: a photo of which nothing is to be seen.
    if len(used) == 4 and not pixels[..., 3].any():
        pixels = np.ascontiguousarray(pixels[..., :3])
    return opened.upright(Image.fromarray(pixels), 1)


def _samples(block: NDArray[np.uint32], mask: int) -> NDArray[np.uint8]:
    shift = (mask & -mask).bit_length() - 1
    top = mask >> shift
    values = (block & np.uint32(mask)) >> np.uint32(shift)
    return np.asarray(np.rint(values * (255 / top)), np.uint8)
