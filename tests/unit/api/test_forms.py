"""Forms: whole ones are read, and of all others nothing."""

from __future__ import annotations

import encodings.aliases
import random
from collections.abc import Iterator

import httpx
import pytest

from serving.api.forms import TEXT_BYTES, Form, boundary_of, read_form
from serving.errors import BadRequest, TooLarge
from tests.support.timing import processor_seconds

# Bytes that look like pieces of a form's frame, but are none.
PHOTO = b"\xff\xd8\r\n-\r\n--FOR\n\n--\r --FORM \r\n\x00\xff"
FILES_FIRST: list[tuple[str, str | bytes]] = [
    ("images", PHOTO),
    ("images", b""),
    ("mode", "append"),
    ("id", "7"),
]
FIELDS_FIRST: list[tuple[str, str | bytes]] = [
    ("id", "7"),
    ("mode", "append"),
    ("images", PHOTO),
    ("images", b""),
]


def written(parts: list[tuple[str, str | bytes]], boundary: bytes = b"FORM") -> bytes:
    """A form in which bytes are files."""
    lines = []
    for name, value in parts:
        head = f'Content-Disposition: form-data; name="{name}"'
        if isinstance(value, bytes):
            head += '; filename="a.jpg"\r\nContent-Type: image/jpeg'
        content = value if isinstance(value, bytes) else value.encode()
        lines.append(b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n")
    return b"".join(lines) + b"--" + boundary + b"--\r\n"


def read(body: bytes, boundary: bytes = b"FORM", max_files: int = 100) -> Form:
    return read_form(boundary, body, max_files)


def one(head: str, content: bytes = b"x") -> Form:
    """A form with one part."""
    return read(b"--FORM\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n--FORM--\r\n")


def sentence(body: bytes) -> str:
    with pytest.raises(BadRequest) as caught:
        read(body)
    return str(caught.value)


@pytest.mark.parametrize("parts", [FILES_FIRST, FIELDS_FIRST], ids=["files first", "fields first"])
class TestAFormThatIsNotWhole:
    def test_a_whole_one_has_its_parts_in_order(self, parts: list[tuple[str, str | bytes]]) -> None:
        form = read(written(parts))
        assert form.files == [(n, v) for n, v in parts if isinstance(v, bytes)]
        assert form.fields == [(n, v) for n, v in parts if isinstance(v, str)]

    def test_cut_at_any_byte_it_has_no_end(self, parts: list[tuple[str, str | bytes]]) -> None:
        whole = written(parts)
        for length in range(len(whole) - 2):
            with pytest.raises(BadRequest):
                read(whole[:length])
        assert read(whole[:-1]) == read(whole[:-2]) == read(whole)

    @pytest.mark.parametrize("end", [b"\n", b"\r"])
    def test_any_line_end_that_is_damaged(
        self, parts: list[tuple[str, str | bytes]], end: bytes
    ) -> None:
        whole = written(parts)
        expected = read(whole)
        places = [n for n in range(len(whole)) if whole[n : n + 2] == b"\r\n"]
        frame = 0
        for place in places:
            damaged = whole[:place] + end + whole[place + 2 :]
            try:
                form = read(damaged)
            except BadRequest:
                frame += 1
                continue
            # A line end of the photo, or behind the end.
            assert form == expected or damaged.count(PHOTO) == 0
        assert frame == len(places) - 4  # three are the photo's, and one is behind the end

    def test_any_byte_of_a_delimiter_that_is_lost_or_changed(
        self, parts: list[tuple[str, str | bytes]]
    ) -> None:
        whole = written(parts)
        for place in self._delimiters(whole):
            for damaged in (
                whole[:place] + whole[place + 1 :],
                whole[:place] + b"#" + whole[place + 1 :],
            ):
                with pytest.raises(BadRequest):
                    read(damaged)

    @staticmethod
    def _delimiters(whole: bytes) -> Iterator[int]:
        at = whole.find(b"--FORM\r\nContent")
        while at >= 0:
            yield from range(at, at + 8)
            at = whole.find(b"--FORM\r\nContent", at + 1)


def test_a_large_form_cut_at_random() -> None:
    dice = random.Random(7)
    photo = dice.randbytes(3_000_000)
    whole = written([("id", "7"), ("images", photo), ("images", photo), ("mode", "append")])
    assert [len(data) for _, data in read(whole).files] == [len(photo)] * 2
    for length in (dice.randrange(len(whole) - 2) for _ in range(50)):
        with pytest.raises(BadRequest):
            read(whole[:length])


def test_what_follows_the_end() -> None:
    whole = written(FIELDS_FIRST)
    assert read(whole + b" \r\n\t\n") == read(whole[:-2]) == read(whole)
    for rest in (b"x", whole, written([("mode", "append")]), b"\x00"):
        assert sentence(whole + rest) == "Something follows the form's end."


def test_no_end_is_said() -> None:
    expected = "The form has no end: it was cut, or its last line is missing."
    for body in (b"--FORM", b"--FORM\r\n", b"no form at all", written(FIELDS_FIRST)[:-6]):
        assert sentence(body) == expected


def test_another_boundary_is_said() -> None:
    with pytest.raises(BadRequest, match="another boundary than its Content-Type"):
        read(written(FIELDS_FIRST), boundary=b"FROM")


def test_the_parser_adds_no_lines_of_its_own_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BadRequest):
        one("Content Disposition: form-data; name=a")
    assert caplog.records == []


def test_text_before_the_form() -> None:
    whole = written(FIELDS_FIRST)
    assert read(b"This is a message in MIME format.\r\n" + whole) == read(whole)
    assert read(b"\r\n" + whole) == read(whole)
    # That is a first part whose delimiter is damaged.
    assert "damaged" in sentence(b"-" + whole)
    assert "damaged" in sentence(b"text\n" + whole)
    assert "damaged" in sentence(bytes(2000) + b"\r\n" + whole)


def test_a_form_that_has_no_part() -> None:
    assert read(b"--FORM--\r\n") == Form([], [])


class TestFiles:
    @pytest.mark.parametrize(
        "head",
        [
            'Content-Disposition: form-data; name="image"; filename="a.jpg"',
            'Content-Disposition: form-data; name="image"; filename=""',
            'Content-Disposition: form-data; name="image"; filename="\xc8"',
            "Content-Disposition: form-data; name=image; filename*=UTF-8''%C3%BC.jpg",
            'Content-Disposition: form-data; name="image"\r\nContent-Type: image/jpeg',
            'content-disposition: FORM-DATA; name="image"\r\ncontent-type: x/y',
        ],
    )
    def test_a_filename_or_a_type_makes_a_file(self, head: str) -> None:
        assert one(head) == Form([("image", b"x")], [])

    @pytest.mark.parametrize(
        "more", ["", "\r\nContent-Type: text/plain", "; filename-of='x'", "; x=filename"]
    )
    def test_others_are_text(self, more: str) -> None:
        head = f'Content-Disposition: form-data; name="image"{more}'
        assert one(head) == Form([], [("image", "x")])

    @pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "BASE64"])
    def test_one_that_is_encoded_is_not_taken_as_it_is(self, encoding: str) -> None:
        head = 'Content-Disposition: form-data; name="image"; filename="a"'
        with pytest.raises(BadRequest, match="Content-Transfer-Encoding"):
            one(f"{head}\r\nContent-Transfer-Encoding: {encoding}")
        assert one(f"{head}\r\nContent-Transfer-Encoding: binary").files

    def test_more_than_are_taken(self) -> None:
        body = written([("images", b"x")] * 3)
        assert len(read(body, max_files=3).files) == 3
        with pytest.raises(TooLarge, match="at most 2 photos"):
            read(body, max_files=2)

    def test_a_million_parts_are_not_read(self) -> None:
        body = b"--FORM\r\n\r\n\r\n" * 1_000_000 + b"--FORM--"
        with processor_seconds(1), pytest.raises(TooLarge):
            read(body)


class TestText:
    def test_the_charset_is_not_the_callers_choice(self) -> None:
        names = {*encodings.aliases.aliases, *encodings.aliases.aliases.values(), "undefined"}
        names |= {"punycode", "idna", "unicode_escape", "raw_unicode_escape", "no such", "", "é"}
        taken = {"utf8", "utf-8", "us_ascii", "us-ascii", "ascii"}
        for charset in names - taken:
            with pytest.raises(BadRequest, match="UTF-8"):
                boundary_of(f"multipart/form-data; boundary=FORM; charset={charset}")
            with pytest.raises(BadRequest, match="UTF-8"):
                one(
                    'Content-Disposition: form-data; name="name"\r\n'
                    f'Content-Type: text/plain; charset="{charset}"'
                )

    @pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "utf8", "us-ascii", "ASCII"])
    def test_utf8_may_be_said(self, charset: str) -> None:
        kind = f"multipart/form-data; charset={charset}; boundary=FORM"
        assert boundary_of(kind) == b"FORM"

    def test_what_is_not_utf8_is_named(self) -> None:
        head = 'Content-Disposition: form-data; name="name"'
        assert one(head, "Имя 名".encode()).fields == [("name", "Имя 名")]
        with pytest.raises(BadRequest, match="name is not UTF-8"):
            one(head, "Имя".encode("cp1251"))
        body = written([("nom", "x")]).replace(b"nom", "né".encode("latin-1"))
        assert sentence(body) == "The name of a field is not UTF-8."

    def test_a_body_without_bytes_was_not_cut(self) -> None:
        assert sentence(b"") == "The body is empty; send a form."

    def test_it_is_bounded(self) -> None:
        assert read(written([("name", "x" * TEXT_BYTES)])).fields
        error = sentence(written([("name", "x" * (TEXT_BYTES + 1))]))
        assert error.startswith("name is text of more than 8192 bytes.")
        assert "filename" in error  # it may be a photo in base64

    def test_more_fields_than_are_taken(self) -> None:
        with pytest.raises(TooLarge):
            read(written([("a", "x")] * 33))


def test_a_boundary_as_long_as_the_parser_takes() -> None:
    boundary = boundary_of("multipart/form-data; boundary=" + "x" * 256)
    assert read(written(FIELDS_FIRST, boundary), boundary).files == [
        ("images", PHOTO),
        ("images", b""),
    ]


def test_files_in_a_form_within_the_form_are_named() -> None:
    """So curl sends -F 'images=@a.jpg,b.jpg'."""
    inner = b'--INNER\r\nContent-Disposition: attachment; filename="a.jpg"\r\n\r\n' + PHOTO
    head = b'Content-Disposition: form-data; name="images"\r\n'
    head += b"Content-Type: multipart/mixed; boundary=INNER"
    body = b"--FORM\r\n" + head + b"\r\n\r\n" + inner + b"\r\n--INNER--\r\n\r\n--FORM--\r\n"
    with pytest.raises(BadRequest, match="send each file as a part"):
        read(body)


def test_a_file_with_the_content_type_of_a_form_is_no_list() -> None:
    """So KNIME sends files."""
    head = b'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
    head += b"Content-Type: multipart/form-data"
    with pytest.raises(BadRequest, match="image has the Content-Type multipart/form-data") as told:
        read(b"--FORM\r\n" + head + b"\r\n\r\n" + PHOTO + b"\r\n--FORM--\r\n")
    assert "list" not in str(told.value)


def test_a_long_text_is_told_how_to_be_a_file_only_where_it_may_be_one() -> None:
    body = b'--FORM\r\nContent-Disposition: form-data; name="name"\r\n\r\n' + b"x" * 9000
    body += b"\r\n--FORM--\r\n"
    with pytest.raises(BadRequest, match="filename"):
        read_form(b"FORM", body, 3)
    with pytest.raises(BadRequest) as told:
        read_form(b"FORM", body, 3, {"name"})
    assert str(told.value) == "name is text of more than 8192 bytes."


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 257,
        "multipart/form-data; boundary=" + "x" * 500,
        "multipart/form-data; " + ';a="' * 4000,
    ],
    ids=["none", "empty", "long", "longer", "long header"],
)
def test_no_boundary(kind: str) -> None:
    with processor_seconds(0.1), pytest.raises(BadRequest, match="boundary"):
        boundary_of(kind)


@pytest.mark.parametrize(
    "head",
    [
        "",
        "Content-Type: image/jpeg",
        "Content-Disposition: form-data",
        'Content-Disposition: attachment; name="a"',
        "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b",
        "Content Disposition: form-data; name=a",
        "Content-Disposition: form-data;\n name=a",
        "X: " + "x" * 5000,
        "X: x\r\n" * 20,
    ],
    ids=lambda head: str(head)[:40],
)
def test_a_part_whose_headers_are_wrong(head: str) -> None:
    with pytest.raises(BadRequest):
        one(head)


def test_what_clients_write_is_read() -> None:
    request = httpx.Request(
        "POST",
        "http://faces",
        data={"id": "7", "name": "Ünal"},
        files=[("images", ("ü.jpg", PHOTO)), ("images", ("b.png", b"", "image/png"))],
    )
    boundary = boundary_of(request.headers["content-type"])
    form = read_form(boundary, request.read(), 100)
    assert form.files == [("images", PHOTO), ("images", b"")]
    assert form.fields == [("id", "7"), ("name", "Ünal")]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"\xff\xd8\xff\xe0 photo", "a JPEG; set Content-Type"),
        (b"\x89PNG\r\n\x1a\n photo", "a PNG; set Content-Type"),
        (b' {"image": "QUJD"}', "JSON; set Content-Type to application/json"),
    ],
)
def test_what_is_sent_as_a_form_and_is_none_is_named(body: bytes, named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        read_form(b"FORM", body, 10)


@pytest.mark.parametrize(
    "part",
    [
        b"\r\n\r\n" + b"x" * (TEXT_BYTES + 1),
        b"\r\n\r\n\xff",
        b"\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==",
        b"\r\nContent-Type: text/plain; charset=hex\r\n\r\nx",
    ],
)
def test_no_refusal_brings_back_what_a_terminal_obeys(part: bytes) -> None:
    head = b'--FORM\r\nContent-Disposition: form-data; name="\x1b[31m' + b"x" * 100 + b'"'
    with pytest.raises(BadRequest) as caught:
        read_form(b"FORM", head + part + b"\r\n--FORM--", 10)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200
