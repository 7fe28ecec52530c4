"""The segments of a JPEG: those that make the photo, its orientation, and what its scans bring."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from serving.errors import UnsupportedImage
from serving.vision.formats import opened

SCAN = 0xDA
# Phones and editors write some hundreds (depth, long XMP), programs that compress well some dozens
# of scans. Each takes time, whatever it holds; a scan as much as all of the photo.
MOST_SEGMENTS = 4096
MOST_SCANS = 64
# Not a zero, a fill byte, a restart or a start: those have no segment.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_END = 0xD9
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


class Scan(NamedTuple):
    """A scan of a JPEG: its components, and the coefficients (of 64) that it brings."""

    components: tuple[int, ...]
    first: int
    last: int
    missing_bits: int  # of the coefficients' low bits; later scans bring them


def essential(data: bytes) -> tuple[bytes, int]:
    """The same photo without comments and metadata, and the EXIF orientation that they told.

    Of the application's segments those stay that say which colours the components are.
    """
    kept, exif, xmp = [b"\xff\xd8"], list[bytes](), b""
    for at, marker, content in of(data):
        if marker == SCAN:
            kept.append(data[at:])
            return b"".join(kept), opened.orientation_in(b"".join(exif), xmp)
        if marker == 0xE1 and content.startswith(_EXIF):
            exif.append(content[len(_EXIF) :])  # a long block comes in several segments
        elif marker == 0xE1 and content.startswith(_XMP):
            xmp = xmp or content[len(_XMP) :]
        jfif = marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 14
        adobe = marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12
        if jfif or adobe or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[at : at + 4 + len(content)])
    return data, 1


def all_scans(data: bytes) -> bool:
    """Whether the scans bring every bit of every coefficient of every component."""
    frame = next((c for _, marker, c in of(data) if is_frame(marker)), b"")
    components = frame[6::3][: frame[5]] if len(frame) > 5 else b""
    missing = {(n, k): 1 for n in components for k in range(64)}
    for scan in scans(data):
        for n in scan.components:
            missing.update({(n, k): scan.missing_bits for k in range(scan.first, scan.last + 1)})
    return not any(missing.values())


def scans(data: bytes) -> Iterator[Scan]:
    for _, marker, content in of(data):
        if marker == SCAN and content and len(content) >= 4 + 2 * content[0]:
            count = content[0]
            first, last, bits = content[1 + 2 * count : 4 + 2 * count]
            yield Scan(tuple(content[1 : 1 + 2 * count : 2]), first, min(last, 63), bits & 15)


def of(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Each marker with its place and its segment; pixels and bare markers are skipped.

    Raises:
        UnsupportedImage: more than `MOST_SEGMENTS`.
    """
    at, count, scanned = 2, 0, False
    while (found := _MARKER.search(data, at)) is not None and found.start() + 4 < len(data):
        at = found.start()
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _END and scanned:
            return
        count += 1
        if count > MOST_SEGMENTS:
            raise UnsupportedImage(
                f"This JPEG has more than {MOST_SEGMENTS:,} segments; save it anew, as JPEG or PNG."
            )
        if marker == _END:
            at += 2
            continue
        yield at, marker, data[at + 4 : at + 2 + length]
        scanned = scanned or marker == SCAN
        at += 2 + length


def scan_ends(data: bytes) -> Iterator[int]:
    """Where the pixels of each scan end: at the next marker, or with the file."""
    for at, marker, content in of(data):
        if marker == SCAN:
            found = _MARKER.search(data, at + 4 + len(content))
            yield len(data) if found is None else found.start()


def check_scans(data: bytes) -> None:
    """Refuse a JPEG for each of whose scans the decoder goes through all of the photo again.

    Raises:
        UnsupportedImage: more than `MOST_SCANS`.
    """
    # Counted without a look at what is a segment's content: most files have few in any case.
    if data.count(b"\xff\xda") <= MOST_SCANS:
        return
    if sum(marker == SCAN for _, marker, _ in of(data)) > MOST_SCANS:
        raise UnsupportedImage(
            f"This JPEG has more than {MOST_SCANS} scans; save it anew, as JPEG or PNG."
        )


def is_frame(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
