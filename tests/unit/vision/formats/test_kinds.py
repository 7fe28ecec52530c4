"""Files that are not read: each is named, with what to send instead."""

from __future__ import annotations

import gzip

import pytest

from serving.errors import UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from serving.vision.formats import kinds
from tests.support.images import encode, quadrants

JPEG, PNG = encode(quadrants(), "JPEG"), encode(quadrants(), "PNG")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "raw file of a camera (CR2)"),
        (b"FUJIFILMCCD-RAW 0201", "raw file of a camera (RAF)"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "raw file of a camera (CR3)"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"8BPS\0\1", "PSD"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\0\1\0\1\0\x20\x20", "ICO"),
        (b"P6 2 2 255\n" + bytes(12), "PNM"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0", "video"),
        (b"\0\0\0\x14ftypisom\0\0\0\0", "video"),
        (gzip.compress(b"photo", mtime=0), "gzip"),
        (b"PK\x03\x04\x14\0", "ZIP"),
        (b"<?xml version='1.0'?>\n<!-- me --><svg xmlns='x'/>", "SVG"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b'{"image": "/9j/"}', "JSON"),
        (b"data:image/jpeg;base64,/9j/4AAQ", "data: URL"),
        (b"/9j/4AAQSkZJRgABAQ", "base64"),
        (b'\n"/9j/4AAQSkZJRgABAQ"', "base64"),
        (b"FFD8FFE000104A464946", "hexadecimal"),
        (b"b'\\xff\\xd8\\xff'", "Python's text"),
        (b"https://faces/a.jpg", "an address, and none is fetched"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"[InternetShortcut]\r\nURL=x", "link of Windows"),
        (b"{\\rtf1\\ansi", "This is text"),
        (b"Not Found\n", "This is text"),
        (b"\xef\xbb\xbfNicht gefunden: \xc3\xbc\r\n" * 99, "This is text"),
        ("名前".encode() * 999, "This is text"),
        (b"\x89\x01", "no image that can be read"),
        (b"   \n", "no image that can be read"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X        ", "macOS"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office"),
        (b"\0\0\0\x08wide\0\0\0\x08mdat", "video"),
        (bytes(1000), "only zeros"),
        (JPEG.decode("latin-1").encode(), "read as text"),
        (JPEG.decode("utf-8", "replace").encode(), "read as text"),
        (PNG.decode("latin-1").encode(), "read as text"),
        (b"\n" + JPEG, "behind 1 other byte;"),
        (b"\xef\xbb\xbf" + PNG, "behind 3 other bytes"),
        (b"1a2b\r\n" + JPEG, "behind 6 other bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + JPEG, "behind 19 other bytes"),
        (b"--FORM\r\ncontent-type: image/jpeg\r\n\r\n" + JPEG, "a form"),
        (b"--FORM\r\nContent-Disposition: form-data", "a form"),
        (b"\xff\xd8", "cut off"),
        (b"\x89PNG\n\x1a\n" + bytes(20), "changed on the way"),
        (b"hello, this is text", "This is text"),
        (b"\0", "zeros"),
        (b"\1", "JPEG, PNG"),
    ],
)
def test_what_is_not_read_is_named(data: bytes, named: str) -> None:
    with pytest.raises(UnsupportedImage) as caught:
        decode(data, DecodeSettings())
    assert named in str(caught.value)
    assert "send" in str(caught.value) or "changed" in str(caught.value)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_what_is_read_is_known_by_its_first_bytes(format: str) -> None:
    assert kinds.format_of(encode(quadrants(), format)[:16]) == format


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            b"--FORM\r\nContent-Disposition: form-data",
            "This is a form; send it with the Content-Type multipart/form-data and its boundary.",
        ),
        (
            b"https://faces/a.jpg",
            "This is an address, and none is fetched; send the bytes of the photo.",
        ),
        (
            b"/9j/4AAQSkZJRgABAQ",
            "This is base64, not the bytes that it stands for; send the bytes, or base64 of them, "
            "made once, as the image of a JSON.",
        ),
    ],
)
def test_what_to_do_fits_what_was_sent(data: bytes, sentence: str) -> None:
    assert kinds.refusal(data) == sentence
