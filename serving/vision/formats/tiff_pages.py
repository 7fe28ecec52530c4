"""The pages of a TIFF: which of them is the photo, and how its samples lie in the file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from serving.errors import UnsupportedImage

# Pages are looked through for the photo; a loop of them ends here.
MOST_PAGES = 64
MOST_SAMPLES = 8  # of a pixel

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
_PHOTOMETRIC = {
    WHITE_IS_ZERO: "grey",
    BLACK_IS_ZERO: "grey",
    RGB: "RGB",
    PALETTE: "palette",
    4: "mask",
    CMYK: "CMYK",
    YCBCR: "YCbCr",
    LAB: "Lab",
    32803: "raw camera",
    34892: "raw camera",
}
_FORMATS = {SIGNED: " signed", FLOAT: " float", 5: " complex", 6: " complex"}
_LETTERS = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d"}
_LETTERS |= {13: "I", 16: "Q", 17: "q", 18: "Q"}


@dataclass(frozen=True)
class Page:
    """One page: its tags by number, with their values as a tuple, or as bytes for text."""

    tags: dict[int, Any]
    at: int  # where its directory begins
    order: str  # < or >

    def number(self, tag: int, otherwise: int) -> int:
        value = self.tags.get(tag, ())
        return int(value[0]) if value and not isinstance(value, bytes) else otherwise

    def numbers(self, tag: int) -> tuple[Any, ...]:
        value = self.tags.get(tag, ())
        return () if isinstance(value, bytes) else value

    @cached_property
    def size(self) -> tuple[int, int]:
        return self.number(256, 0), self.number(257, 0)

    @cached_property
    def compression(self) -> int:
        return self.number(259, 1)

    @cached_property
    def photometric(self) -> int:
        return self.number(262, WHITE_IS_ZERO)

    @cached_property
    def samples(self) -> int:
        return self.number(277, max(1, len(self.numbers(258))))

    @cached_property
    def colours(self) -> int:
        """Samples of a pixel that are colours; the others are alpha or unknown."""
        return _COLOURS.get(self.photometric, 0)

    @cached_property
    def bits(self) -> int:
        """Bits of a sample; 0 when samples differ."""
        bits = set(self.numbers(258)[: self.samples] or (1,))
        return int(bits.pop()) if len(bits) == 1 else 0

    @cached_property
    def format(self) -> int:
        """UNSIGNED, SIGNED or FLOAT; 0 when samples differ. Undefined ones (4) are unsigned."""
        formats = {UNSIGNED if f == 4 else f for f in self.numbers(339)[: self.samples] or (1,)}
        return int(formats.pop()) if len(formats) == 1 else 0

    @cached_property
    def planes(self) -> bool:
        return self.number(284, 1) == 2 and self.samples > 1

    @cached_property
    def reduced(self) -> bool:
        """Whether it stands for another page, which has the photo in full."""
        return bool(self.number(254, 0) & 1) or self.number(255, 1) == 2

    def __str__(self) -> str:
        """What it is, as errors name it."""
        bits = f"{self.bits}{_FORMATS.get(self.format, '')} bits" if self.bits else "mixed bits"
        colours = _PHOTOMETRIC.get(self.photometric, f"unknown colours ({self.photometric})")
        planes = " in planes" if self.planes else ""
        return f"TIFF of {bits} a sample, {colours}{planes}, compression {self.compression}"


def photo_page(data: bytes) -> Page:
    """The first page that is no reduced picture of another one; the largest where all are.

    Raises:
        UnsupportedImage: there is none, or it is the raw file of a camera.
    """
    reduced: list[Page] = []
    for page in _pages(data):
        if 50706 in page.tags or page.photometric in (32803, 34892):
            raise UnsupportedImage(
                "This is the raw file of a camera (DNG); develop it and send a JPEG."
            )
        if not page.reduced:
            return page
        reduced.append(page)
    if not reduced:
        raise UnsupportedImage("This TIFF is damaged: it has no page; send the whole file again.")
    if any(330 in page.tags for page in reduced):
        raise UnsupportedImage(
            "This TIFF shows only a reduced picture of another one, as raw files of cameras do; "
            "develop it and send a JPEG."
        )
    return max(reduced, key=lambda page: page.size[0] * page.size[1])


def _pages(data: bytes) -> Iterator[Page]:
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    (at,) = _unpack(order + ("Q" if big else "I"), data, 8 if big else 4) or (0,)
    seen: set[int] = set()
    while at and at not in seen and len(seen) < MOST_PAGES:
        seen.add(at)
        tags, at_next = _directory(data, at, order, big)
        if tags:
            yield Page(tags, at, order)
        at = at_next


def _directory(data: bytes, at: int, order: str, big: bool) -> tuple[dict[int, Any], int]:
    head, size, width = ("Q", 20, 8) if big else ("H", 12, 4)
    number = "Q" if big else "I"
    (count,) = _unpack(order + head, data, at) or (0,)
    start = at + struct.calcsize(order + head)
    tags: dict[int, Any] = {}
    room = len(data)  # a file's tags are no larger than the file, even where they overlap
    for n in range(min(count, (len(data) - start) // size)):
        entry = start + n * size
        tag, type_, length = struct.unpack_from(order + "HH" + number, data, entry)
        letter = _LETTERS.get(type_)
        if letter is None or tag in tags:
            continue
        long = length * struct.calcsize(order + letter)
        where = entry + size - width
        if long > width:
            (where,) = struct.unpack_from(order + number, data, where)
        if long > room or where + long > len(data):
            continue
        room -= long
        values = struct.unpack_from(f"{order}{length}{letter}", data, where)
        tags[tag] = values[0] if letter == "s" else values
    (following,) = _unpack(order + number, data, start + count * size) or (0,)
    return tags, following


def _unpack(form: str, data: bytes, at: int) -> tuple[Any, ...]:
    if at < 0 or at + struct.calcsize(form) > len(data):
        return ()
    return struct.unpack_from(form, data, at)
