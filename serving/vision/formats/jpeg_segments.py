"""The segments of a JPEG: those that make the photo, its orientation, and what its scans bring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from serving.vision.formats import opened

SCAN = 0xDA
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
    """Each marker with its place and its segment; pixels and bare markers are skipped."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 < len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:
            at += 1
            continue
        yield at, marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def is_frame(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
