"""Which format a file is of, by its first bytes; and what to send instead of others."""

from __future__ import annotations

import codecs
import re

# Formats that are read, as answers name them.
READ = ("JPEG", "PNG", "WebP", "HEIC", "AVIF", "GIF", "TIFF", "BMP")

# Brands of still pictures, and of sequences that begin with one.
_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}

_SEND = "send it as JPEG or PNG."
# The first bytes of what people send instead of a photo, and what it is.
_OTHERS = (
    (rb"II\*\0.{4}CR", "the raw file of a camera (CR2)"),
    (rb"(?:IIRO|IIRS|MMOR|IIU\0)", "the raw file of a camera"),
    (rb"FUJIFILMCCD-RAW", "the raw file of a camera (RAF)"),
    (rb"....ftypcrx ", "the raw file of a camera (CR3)"),
    (rb"(?:\xff\x0a|\0\0\0\x0cJXL \r\n)", "JPEG XL"),
    (rb"(?:\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n)", "JPEG 2000"),
    (rb"8BPS", "a Photoshop file (PSD)"),
    (rb"%PDF-", "a PDF"),
    (rb"(?:%!PS|\xc5\xd0\xd3\xc6)", "PostScript"),
    (rb"\0\0[\x01\x02]\0[^\0]", "an icon (ICO)"),
    (rb"P[1-7][\s#]", "a PNM (PPM, PGM or PBM)"),
    (rb".{128}DICM", "DICOM"),
    (rb"gimp xcf", "a GIMP file (XCF)"),
    (rb"....ftyp(?:qt|isom|iso[0-9]|mp4|M4V|MSNV|3g|avc1)", "a video"),
    (rb"(?:RIFF....AVI |\x1aE\xdf\xa3)", "a video"),
    (rb"\x1f\x8b", "data packed by gzip"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (
        rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg[^>]*>\s*)?<svg",
        "an SVG",
    ),
    (rb"\s*<", "a page or other text (HTML or XML)"),
    (rb"[\s\"']*(?i:data:)", "a data: URL, not the bytes that it stands for"),
    (
        rb"[\s\"']*(?:/9j/|iVBORw0KGgo|UklGR|R0lGOD|SUkq|TU0AK)",
        "base64, not the bytes that it stands for",
    ),
    (rb"[\s\"']*(?i:ffd8ff|89504e470d0a1a0a)", "hexadecimal, not the bytes that it stands for"),
    (rb"\s*(?:b['\"]|bytearray\()", "Python's text of bytes, not the bytes that it stands for"),
    (rb"\s*(?i:https?|ftp|file|s3|gs)://", "an address, and none is fetched"),
    (rb"version https://git-lfs", "the pointer of Git LFS to a file"),
    (rb"\[InternetShortcut\]", "a link of Windows to a file"),
    (rb"\s*[{\[]\s*[\"\d{\[\]}]", "JSON"),
    (rb"--[^\r\n]+\r\n(?i:content-)", "a form"),
    (rb"\0\x05\x16[\0\x07]", "what macOS keeps beside a file (its name begins with ._)"),
    (rb"\xd0\xcf\x11\xe0", "a document of Office"),
    (rb"....(?:wide|mdat|moov|skip)", "a video"),
)
# What is to be done with those that cannot be sent as JPEG or PNG.
_INSTEAD = {
    "a form": "send it with the Content-Type multipart/form-data and its boundary",
    "an address, and none is fetched": "send the bytes of the photo",
}
# Behind other bytes: a blank or a byte order mark, headers of HTTP, the length of a chunk.
_LINES = str.maketrans("\t\r\n\f\ufeff", "     ")
_SIGNATURES = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]|\x89PNG\r\n\x1a\n|GIF8[79]a")
# What is left of the first bytes of JPEG and PNG: as characters, and as question marks.
_AS_TEXT = (b"\xc3\xbf\xc3\x98\xc3\xbf", b"\xc2\x89PNG", b"\xef\xbf\xbd")


def format_of(data: bytes) -> str | None:
    """The name of the format as Pillow has it, "HEIC" or "AVIF"; None: none that is read."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data[:2] in (b"II", b"MM") and data[2:4] in (b"*\0", b"\0*", b"+\0", b"\0+"):
        return None if data[8:10] == b"CR" else "TIFF"
    if data.startswith(b"BM"):
        return "BMP"
    brands = _brands(data)
    if brands & _AVIF:
        return "AVIF"
    return "HEIC" if brands & _HEIC else None


def _brands(data: bytes) -> set[bytes]:
    """The brands of an ISO media file, of which HEIC, AVIF and most videos are."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}


def refusal(data: bytes) -> str:
    """What these bytes are, as far as that can be seen, and what to send instead."""
    start = data[:1024]
    for pattern, name in _OTHERS:
        if re.match(pattern, start, re.DOTALL):
            if "not the bytes" in name:
                return (
                    f"This is {name}; send the bytes, or base64 of them, made once, as the image "
                    "of a JSON."
                )
            if name in _INSTEAD:
                return f"This is {name}; {_INSTEAD[name]}."
            return f"This is {name}, which is not read; {_SEND}"
    if start.startswith(_AS_TEXT):
        return "These bytes were read as text, which destroys a photo; send them as they are."
    if (found := _SIGNATURES.search(start)) is not None:
        what = "1 other byte" if found.start() == 1 else f"{found.start()} other bytes"
        return f"The photo begins behind {what}; send the file without them."
    if not data.strip(b"\0"):
        return "The file has only zeros in place of a photo; send the file as it was."
    if start.startswith(b"\xff\xd8"):
        return "This JPEG was cut off after its first bytes; send the whole file again."
    if start.startswith(b"\x89PNG"):
        return "This PNG was changed on the way, as text is (its first line has lost a byte)."
    if _is_text(start):
        return f"This is text, which is not read; {_SEND}"
    formats = f"{', '.join(READ[:-1])} or {READ[-1]}"
    return f"These bytes are no image that can be read; send a file of {formats}."


def _is_text(start: bytes) -> bool:
    """Whether these first bytes of a file are UTF-8 and can be printed."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(start)
    return bool(text.strip()) and "\ufffd" not in text and text.translate(_LINES).isprintable()
