"""Cutting a stream into lines and parts, wherever the network cuts it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import pytest

from serving.api.streams.frames import Frame, Lines, Parts, Splitter
from serving.errors import BadRequest, TooLarge

KIND = "multipart/form-data; boundary=xyz"
LINES = b'\xef\xbb\xbf{"a": 1}\r\n\n  \r\n{"b": 2}\n{"\xff": 3}\n{"c": 4}'
BODIES = [b'\xef\xbb\xbf{"a": 1}', b'{"b": 2}', b'{"\xff": 3}', b'{"c": 4}']


def part(data: bytes, name: str = 'image"; filename="a.jpg') -> bytes:
    return b'Content-Disposition: form-data; name="%b"\r\n\r\n%b' % (name.encode(), data)


def form(*parts: bytes, before: bytes = b"", end: bytes = b"--xyz--\r\n") -> bytes:
    return before + b"".join(b"--xyz\r\n" + one + b"\r\n" for one in parts) + end


PHOTOS = [part(b"\r\n--xy\r\n--"), part(b""), part(b"a--xyz\r\nb")]
FORM = form(*PHOTOS)


def lines() -> Lines:
    return Lines(1000, 1000)


def parts() -> Parts:
    return Parts(KIND, b"xyz", 2000, 1000)


def frames(splitter: Splitter, pieces: Sequence[bytes]) -> Iterator[Frame]:
    for piece in pieces:
        splitter.feed(piece)
        while (frame := splitter.take()) is not None:
            yield frame
    if (frame := splitter.rest()) is not None:
        yield frame
    assert splitter.held == 0 or isinstance(splitter, Parts)


@pytest.mark.parametrize(
    ("make", "body", "wanted"),
    [
        (lines, LINES, BODIES),
        (parts, FORM, [form(one).removesuffix(b"\r\n") + b"\r\n" for one in PHOTOS]),
        (parts, form(*PHOTOS, before=b"for mail\r\n", end=b"--xyz-- \r\n"), None),
    ],
    ids=["lines", "parts", "a preamble"],
)
def test_a_body_is_cut_alike_however_it_comes(
    make: Callable[[], Splitter], body: bytes, wanted: Sequence[bytes] | None
) -> None:
    whole = [frame.body for frame in frames(make(), [body])]
    assert wanted is None or whole == wanted
    assert [f.body for f in frames(make(), [bytes([byte]) for byte in body])] == whole
    for at in range(len(body)):
        assert [f.body for f in frames(make(), [body[:at], body[at:]])] == whole


def test_a_part_is_a_form_of_its_own_and_named_by_its_file() -> None:
    (frame,) = frames(parts(), [form(part("ü".encode(), 'image"; filename="ü.jpg'))])
    assert (frame.kind, frame.ref) == (KIND, "ü.jpg")
    assert frame.body is not None
    assert frame.body == form(part("ü".encode(), 'image"; filename="ü.jpg'))


@pytest.mark.parametrize(
    "name",
    ["image", 'image"; filename="', 'image"; filename="a\tb', f'image"; filename="{"a" * 300}'],
)
def test_a_name_that_cannot_be_shown_is_none(name: str) -> None:
    (frame,) = frames(parts(), [form(part(b"photo", name))])
    assert frame.ref is None


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_too_long_is_passed_over_and_takes_no_memory(end: bytes) -> None:
    splitter = Lines(100, 1000)
    found = []
    for _ in range(50):
        splitter.feed(b"x" * 20)
        found.append(splitter.take())
        assert splitter.held <= 120
    assert set(found) == {None}
    splitter.feed(end + b"{}" * bool(end))
    (first, *more) = frames(splitter, [b""])
    assert (first.body, first.nbytes) == (None, 1000)
    assert [frame.body for frame in more] == [b"{}"] * bool(end)


def test_a_part_that_is_too_long_is_passed_over() -> None:
    body = form(part(b"x" * 500), part(b"ok"))
    splitter = Parts(KIND, b"xyz", 200, 1000)
    first, second = frames(splitter, [body[at : at + 7] for at in range(0, len(body), 7)])
    assert first.body is None
    assert second.body == form(part(b"ok"))
    first, second = frames(Parts(KIND, b"xyz", 200, 1000), [body])
    assert first.body is None
    assert second.body is not None


def test_the_end_of_a_line_is_not_looked_for_for_ever() -> None:
    splitter = Lines(100, 200)
    for _ in range(15):
        splitter.feed(b"x" * 20)
        assert splitter.take() is None
    splitter.feed(b"x" * 30)
    with pytest.raises(TooLarge, match="MiB"):
        splitter.take()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (FORM[:-20], "has no end"),
        (b"--xyz", "has no end"),
        (FORM + b"more", "Something follows the form's end"),
        (FORM.replace(b"--xyz\r\nContent", b"--xyzz\r\nContent", 2), "damaged"),
        (b"\xff\xd8\xff\xe0" + bytes(2000), "is no form, but a JPEG"),
        (b'{"image": "' + b"A" * 2000, "looks like JSON"),
        (b"--abc\r\n" + b"a" * 2000, "another boundary"),
        (form(part(b"a"), before=part(b"lost") + b"\r\n"), "damaged"),
    ],
)
def test_a_form_that_is_no_form_ends_the_stream(body: bytes, sentence: str) -> None:
    for pieces in ([body], [bytes([byte]) for byte in body]):
        with pytest.raises(BadRequest, match=re.escape(sentence)):
            list(frames(parts(), pieces))


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\n \n", b"\xef\xbb\xbf\n"])
def test_of_nothing_comes_nothing(body: bytes) -> None:
    assert list(frames(lines(), [body])) == []
    assert list(frames(parts(), [body.replace(b"\xef\xbb\xbf", b"")])) == []
