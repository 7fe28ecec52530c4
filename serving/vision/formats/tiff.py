"""TIFF: the page with the photo, by Pillow or, where that reads it wrongly, `tiff_samples`."""

from __future__ import annotations

import struct

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.formats import opened, tiff_samples
from serving.vision.formats.tiff_pages import (
    BLACK_IS_ZERO,
    CMYK,
    LAB,
    MOST_SAMPLES,
    PALETTE,
    RGB,
    UNSIGNED,
    WHITE_IS_ZERO,
    YCBCR,
    Page,
    photo_page,
)
from serving.vision.records import Photo

_OLD_JPEG, _ORIENTATION = 6, 274


def read(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode the photo of a TIFF, of any page but reduced pictures.

    Raises:
        UnsupportedImage: damaged, or a kind that would be shown wrongly; it is named.
        TooLarge: see `opened.check_size`.
    """
    page = photo_page(data)
    width, height = page.size
    if width <= 0 or height <= 0:
        raise UnsupportedImage(f"This TIFF is damaged: its size is {width} x {height}.")
    opened.check_size(width, height, settings.max_pixels)
    if page.samples > MOST_SAMPLES:
        raise _unread(page)
    # Pillow takes a BigTIFF of this byte order for none.
    if by_pillow(page) and data[:4] != b"MM\x00\x2b":
        view = beginning_with(page.at, data)
        try:
            return opened.read(view, "TIFF", settings)
        except UnsupportedImage:
            raise _unread(page) from None
    if not tiff_samples.readable(page):
        raise _unread(page)
    image = tiff_samples.picture(page, data, settings)
    orientation = opened.orientation_of(page.tags.get(_ORIENTATION, 1))
    return opened.upright(image, orientation)


def by_pillow(page: Page) -> bool:
    """Whether Pillow shows this kind right; tests try them all."""
    if page.compression == _OLD_JPEG:
        return True
    if page.format != UNSIGNED or page.photometric not in _BITS:
        return False
    with_extra = page.samples > page.colours
    if page.photometric == YCBCR and page.compression == 1:
        return False
    if page.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) and with_extra:
        return False
    if page.planes and (with_extra or page.bits != 8):
        return False
    return page.bits in _BITS[page.photometric]


_BITS = {
    WHITE_IS_ZERO: (1, 2, 4, 8),
    BLACK_IS_ZERO: (1, 2, 4, 8),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    CMYK: (8, 16),
    YCBCR: (8,),
    LAB: (8,),
}


def beginning_with(at: int, data: bytes) -> bytes:
    """The same file with the directory at this place as its first."""
    order = "<" if data[:2] == b"II" else ">"
    if 43 in data[2:4]:
        return data[:8] + struct.pack(order + "Q", at) + data[16:]
    return data[:4] + struct.pack(order + "I", at) + data[8:]


def _unread(page: Page) -> UnsupportedImage:
    return UnsupportedImage(
        f"A {page} cannot be read; send it with 8 bits a sample and without compression, "
        "or as PNG or JPEG."
    )
