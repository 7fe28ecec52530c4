"""Made-up forms: whole ones are read, in whatever pieces they come; of all others nothing.

A longer run: FUZZ=40 python -m pytest tests/unit/api/test_forms_fuzz.py
"""

from __future__ import annotations

import itertools
import re
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from serving.api.forms import boundary_of, read_form
from serving.errors import BadRequest, TooLarge
from serving.reading.names import name_problem
from tests.support.api import Api, detail_of
from tests.support.forms import BROKEN, END, ID, PHOTO, WHOLE, Asked, Sent, form, part
from tests.support.fuzzing import TIMES, examples

API = Api()


def send(sent: Sent, pieces: Sequence[bytes], end: bool = True) -> int:
    """The status of the answer, after a check that the form was obeyed, or not at all."""
    API.pipeline.asked.clear()
    answer = API.in_pieces("/generate", {"content-type": sent.kind}, pieces, end)
    if isinstance(sent.expected, Asked) and end:
        assert answer.status_code == 200, answer.text
        assert API.asked == {**asdict(sent.expected), "images": list(sent.expected.images)}
    else:
        assert not API.pipeline.asked
        if end:
            detail_of(answer, answer.status_code)
    return answer.status_code


def cut_at(body: bytes, places: Sequence[int]) -> list[bytes]:
    """The pieces of a body between these places, some of them perhaps empty."""
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_form_is_read_in_whatever_pieces_it_comes(name: str) -> None:
    sent = WHOLE[name]
    for size in (len(sent.body), 1, 7):
        send(sent, [sent.body[at : at + size] for at in range(0, len(sent.body), size)])


@pytest.mark.parametrize("name", BROKEN)
def test_of_any_other_nothing_is_read(name: str) -> None:
    sent = BROKEN[name]
    for size in (max(1, len(sent.body)), 7):
        pieces = [sent.body[at : at + size] for at in range(0, len(sent.body), size)]
        assert send(sent, pieces) == sent.expected


# --- made-up ones ---------------------------------------------------------------------------------

BOUNDARY_CHARACTERS = "abXYZ019'()+_,-./:=? "
names = st.text(min_size=1, max_size=30).filter(lambda name: name_problem(name) is None)
filenames = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters='"\\\r\n\0'), max_size=30
)


@st.composite
def wholes(draw: st.DrawFn) -> Sent:
    """A form as any client may write it, and what it asks for."""
    boundary = draw(st.text(BOUNDARY_CHARACTERS, min_size=1, max_size=70).filter(_may_be_boundary))
    line = b"--" + boundary.encode()
    pieces = st.sampled_from([b"\r\n", b"\n", b"\r", b"-", line[:-1], b"\r\n" + line[:-1], PHOTO])
    photos = st.lists(pieces | st.binary(max_size=20), max_size=6).map(b"".join)
    images = draw(st.lists(photos.filter(lambda p: _is_no_frame(p, line)), min_size=1, max_size=4))
    person = draw(st.integers(0, 2**63 - 1))
    parts = [part(str(person), "name=id")]
    parts += [part(image, draw(heads())) for image in images]
    asked = Asked(tuple(images), person)
    if draw(st.booleans()):
        asked = Asked(asked.images, person, draw(names), append=True, force=True)
        assume(asked.name is not None and _is_no_frame(asked.name.encode(), line))
        parts += [part(asked.name or "", 'name="name"'), part("append", "name=mode")]
        parts += [part("true", "name=force")]
    order = draw(st.permutations(range(len(parts))))
    # Photos stay in their order.
    places = iter(sorted(n for n in order if 1 <= n <= len(images)))
    parts = [parts[next(places)] if 1 <= n <= len(images) else parts[n] for n in order]
    preamble = draw(
        st.sampled_from([b"", b"\r\n", b"A message in MIME format.\r\n", b"- -\r\n\r\n"])
    )
    behind = draw(st.sampled_from([b"", b"\r\n", b" \t\r\n\n"]))
    body = preamble + form(parts, boundary.encode())[:-2] + behind
    assume(body.count(line) == len(parts) + 1)
    return Sent(body, asked, f'multipart/form-data; boundary="{boundary}"')


def _may_be_boundary(text: str) -> bool:
    return not text.endswith(" ") and not text.startswith(" ")


def _is_no_frame(content: bytes, line: bytes) -> bool:
    return line not in content and b"content-disposition:" not in content.lower()


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """The Content-Disposition of a photo behind `form-data;`, and perhaps its Content-Type."""
    field = draw(st.sampled_from(["images", '"images"', '"image"']))
    filename = draw(filenames)
    encoded = filename.encode(draw(st.sampled_from(["utf-8", "latin-1", "cp1251"])), "replace")
    told = draw(
        st.sampled_from(
            [
                b'; filename="' + encoded + b'"',
                b"; filename=a.jpg",
                b"; filename*=UTF-8''%C3%BC",
                b'; filename=""',
            ]
        )
    )
    kind = draw(st.sampled_from([b"", b"\r\nContent-Type: image/jpeg", b"\r\ncontent-type:a/b;c"]))
    return b"name=" + field.encode() + told + kind


@pytest.mark.fuzz
@settings(
    max_examples=examples(25),
    derandomize=TIMES <= 1,
    suppress_health_check=list(HealthCheck),
    deadline=None,
)
@given(sent=wholes(), places=st.lists(st.integers(0, 10_000), max_size=8))
def test_a_made_up_form_asks_for_what_it_says(sent: Sent, places: list[int]) -> None:
    send(sent, cut_at(sent.body, places))


@pytest.mark.fuzz
@settings(
    max_examples=examples(15),
    derandomize=TIMES <= 1,
    suppress_health_check=list(HealthCheck),
    deadline=None,
)
@given(sent=wholes(), place=st.integers(0, 10_000), data=st.data())
def test_a_made_up_form_that_is_damaged_asks_for_nothing(
    sent: Sent, place: int, data: st.DataObject
) -> None:
    line = b"--" + boundary_of(sent.kind)
    end = sent.body.rindex(line)
    cut = sent.body[: place % (end + len(line) + 2)]
    frame = [m.start() for m in re.finditer(re.escape(line), sent.body)]
    # Of each line of the frame: its own line ends, of the first one only the second.
    line_ends = [at + len(line) for at in frame[:-1]] + [at - 2 for at in frame[1:]]
    at = data.draw(st.sampled_from(line_ends))
    ending = data.draw(st.sampled_from([b"\n", b"\r", b"", b"\n\r", b"\r\r\n"]))
    # Where a content ends with a line end, or a part with its headers, that counts in its place.
    assume(at + 2 not in frame or not (sent.body[:at] + ending).endswith(b"\r\n"))
    damaged = [
        cut,
        sent.body[:at] + ending + sent.body[at + 2 :],
        sent.body + data.draw(st.sampled_from([b"x", b"\0", line, sent.body])),
    ]
    for body in damaged:
        assert send(Sent(body, 400, sent.kind), [body]) == 400
    # And a caller who leaves in the middle of it.
    assert send(sent, cut_at(cut, [place // 2]), end=False) == 499


@st.composite
def noise(draw: st.DrawFn) -> tuple[str, bytes]:
    """A body of the corpus with bytes changed, lost, repeated, or from another one."""
    known = [*WHOLE.values(), *BROKEN.values()]
    sent = draw(st.sampled_from(known))
    body = bytearray(sent.body[:3000])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        size = draw(st.integers(0, 40))
        kept = bytes(body[at : at + size])
        other = draw(st.sampled_from(known)).body
        body[at : at + size] = draw(
            st.sampled_from(
                [b"", kept + kept, b"\r\n", b"\r\n--FORM\r\n", END, other[at : at + 60]]
            )
            | st.binary(max_size=8)
        )
    return sent.kind, bytes(body)


@pytest.mark.fuzz
@settings(
    max_examples=examples(100),
    derandomize=TIMES <= 1,
    suppress_health_check=list(HealthCheck),
    deadline=None,
)
@given(noise())
@example(("multipart/form-data; boundary=FORM", b"--FORM\r\n\r\n\r\n--FORM--"))
def test_whatever_comes_is_read_as_it_is_or_refused(sent: tuple[str, bytes]) -> None:
    kind, body = sent
    try:
        boundary = boundary_of(kind)
        read = read_form(boundary, body, max_files=100)
    except (BadRequest, TooLarge):
        return
    # What is read lies between two lines of the frame, and nothing else does.
    line = b"\r\n--" + boundary
    contents = [content for _, content in read.files]
    contents += [text.encode() for _, text in read.fields]
    for content in contents:
        assert b"\r\n\r\n" + content + line in body
        assert line not in content
    assert body.count(b"--" + boundary) >= len(contents) + 1
    # Written anew it says the same.
    parts = [part(text, f'name="{name}"') for name, text in read.fields]
    parts += [part(data, f'name="{name}"; filename=""') for name, data in read.files]
    if parts and not any(set(name) & {'"', "\\"} for name, _ in [*read.fields, *read.files]):
        assert read_form(boundary, form(parts, boundary), max_files=100) == read


HEAD = b'--FORM\r\nContent-Disposition: form-data; name="images"; filename="a'
START = HEAD + b'"\r\n\r\n'
SIZE = 200_000
HOSTILE = {
    **{
        f"{unit!r} again and again": START + unit * (SIZE // len(unit)) + END
        for unit in (b"\r", b"\n", b"\r\n", b"\r\n-", b"\r\n--FOR", b"--FORM", b"\0", b"\r--FORM")
    },
    "a preamble": b"x" * SIZE + b"\r\n" + START + PHOTO + END,
    "blanks behind a boundary": b"--FORM" + b" " * SIZE + START[6:] + END,
    "blanks behind the end": START + PHOTO + END + b" " * SIZE,
    "one header": b"--FORM\r\nX: " + b"x" * SIZE + b"\r\n\r\n" + END,
    "many headers": b"--FORM\r\n" + b"X: x\r\n" * (SIZE // 6) + b"\r\n" + END,
    "many parts": (b"--FORM\r\n" + ID + b"\r\n") * (SIZE // len(ID)) + END[2:],
    "many files": (START + b"x\r\n") * (SIZE // len(START)) + END[2:],
    **{
        f"parameters {unit!r}": (HEAD + unit * (3900 // len(unit)) + b"\r\n\r\nx\r\n") * 100
        + END[2:]
        for unit in (b'";', b'\\";', b"x", b'";a="b', b'"; filename="', b'";a*0*=')
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_form_takes_long_or_much_memory(name: str) -> None:
    body = HOSTILE[name]
    tracemalloc.start()
    start = time.thread_time()
    try:
        read_form(b"FORM", body, max_files=100)
    except (BadRequest, TooLarge):
        pass
    finally:
        took, peak = time.thread_time() - start, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert took < 0.25
    assert peak < 3 * len(body) + 2**18
