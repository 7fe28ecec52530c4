"""Reads multipart/form-data: a whole form, or none of it.

python-multipart reads the parts. It keeps what was finished when a body stops, takes a delimiter
behind a bare LF for a piece of a photo, and skips what follows the end; so the lines that part the
form are checked first.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from serving.errors import BadRequest, TooLarge
from serving.reading.spelling import shown
from serving.vision.formats.kinds import format_of

# More than any option has in UTF-8. Photos are files, whose bytes are bounded elsewhere.
TEXT_BYTES = 8192
_FIELDS = 32
# RFC 2046 has 70; python-multipart reads as many as these.
_BOUNDARY = 256
# Of one header. Reading them takes time with the square of their number.
_PARAMETERS = 100
# Before the first part; mail programs write a sentence there.
PREAMBLE_BYTES = 1024
# A closed list: decoding with a codec that the caller names could take minutes.
_CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii")
_BINARY = ("", "binary", "8bit", "7bit")
# In the data of a part they are another part, whose delimiter was damaged.
_HEADERS = (b"\nContent-Disposition:", b"\ncontent-disposition:")
_FILENAME = re.compile(r";\s*filename\*?=", re.IGNORECASE)

# Its warnings name no request; a refusal has a line of its own in the log.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

NO_END = "The form has no end: it was cut, or its last line is missing."
BEHIND_END = "Something follows the form's end."
DAMAGED_LINE = (
    "The form is damaged: the lines between its parts are -- and the boundary, between two CRLF."
)
_OTHER_BOUNDARY = (
    "The lines between the form's parts have another boundary than its Content-Type; let the HTTP "
    "client set both."
)
_NESTED = (
    "A part of the form is a list of files of its own ({}); send each file as a part, with curl: "
    "-F images=@a.jpg -F images=@b.jpg."
)
_NO_LIST = "{} has the Content-Type {}, which is that of a form; send a file with its own."
_DAMAGED_HEADERS = "The form is damaged: the headers of a part cannot be read."


@dataclass(frozen=True)
class Form:
    """The parts of a form in their order, each with the name of its field.

    Attributes:
        files: parts with a filename, or with a Content-Type that is neither text nor JSON.
        fields: the other parts.
        as_json: names of the fields whose Content-Type is that of JSON.
    """

    files: list[tuple[str, bytes]]
    fields: list[tuple[str, str]]
    as_json: set[str] = field(default_factory=set)


def boundary_of(content_type: str) -> bytes:
    """The boundary of a form.

    Raises:
        BadRequest: there is none, it is too long, or there is a charset other than UTF-8.
    """
    # Reading one takes time with the square of its length.
    parameters = parse_options_header(content_type)[1] if len(content_type) < 500 else {}
    _check_charset("The form", parameters)
    boundary = parameters.get(b"boundary", b"")
    if not boundary:
        raise BadRequest("The form's Content-Type needs a boundary; let the HTTP client set it.")
    if len(boundary) > _BOUNDARY:
        raise BadRequest("The form's boundary is too long: 70 characters are allowed.")
    return boundary


def read_form(boundary: bytes, body: bytes, max_files: int, texts: Collection[str] = ()) -> Form:
    """Read a form; to be called in a thread.

    Args:
        boundary: see `boundary_of`.
        texts: names of fields that are no files, so that nobody is told how to send one as a file.

    Raises:
        BadRequest: the form is cut, damaged or followed by something, or a text is too long or not
            UTF-8.
        TooLarge: more than ``max_files`` files.
    """
    if not body:
        raise BadRequest("The body is empty; send a form.")
    start = _check_lines(body, b"--" + boundary, max_files)
    reader = _Reader()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": reader.begin,
            "on_header_field": reader.header_name,
            "on_header_value": reader.header_value,
            "on_header_end": reader.header_end,
            "on_part_data": reader.data,
        },
    )
    try:
        parser.write(body[start:])
    except FormParserError as error:
        raise BadRequest(_DAMAGED_HEADERS) from error
    if parser.state != MultipartState.END:
        raise BadRequest(NO_END)
    return _form_of(reader.parts, max_files, texts)


def _check_charset(what: str, parameters: dict[bytes, bytes]) -> None:
    charset = parameters.get(b"charset", b"utf-8").decode("latin-1")
    if charset.strip("\"' ").lower() not in _CHARSETS:
        raise BadRequest(f"{what} has the charset {charset[:40]!r}; send text as UTF-8.")


def _check_lines(body: bytes, line: bytes, max_files: int) -> int:
    """Check each line that begins with ``line``: the first place of one, where the form begins."""
    first, parts = -1, 0
    at = body.find(line)
    while at >= 0:
        after = at + len(line)
        if at and body[at - 1 : at] not in (b"\r", b"\n"):  # inside of a line
            at = body.find(line, after)
            continue
        if at and body[at - 2 : at] != b"\r\n":
            raise BadRequest(DAMAGED_LINE)
        if first < 0:
            first = at
            # Behind a first line that is damaged, the first part looks like such a text.
            if first > PREAMBLE_BYTES or b"content-disposition" in body[:first].lower():
                raise BadRequest(DAMAGED_LINE)
        if body[after : after + 2] == b"--":
            if body[after + 2 :].strip(b" \t\r\n"):
                raise BadRequest(BEHIND_END)
            return first
        if after < len(body) and body[after : after + 2] != b"\r\n":
            raise BadRequest(DAMAGED_LINE)
        parts += 1
        if parts > max_files + _FIELDS:
            raise _too_many(max_files)
        at = body.find(line, after)
    raise BadRequest(NO_END if first >= 0 else why_none(body, line))


def why_none(body: bytes, line: bytes) -> str:
    """What is wrong with a body in which no line parts a form."""
    if body.startswith(b"--") and not line.startswith(body[: len(line)]):
        return _OTHER_BOUNDARY
    if (kind := format_of(body)) is not None:
        return f"The body is no form, but a {kind}; set Content-Type to its own, as image/jpeg."
    if body.lstrip(b" \t\r\n")[:1] in (b"{", b"["):
        return "The body is no form, but looks like JSON; set Content-Type to application/json."
    return NO_END


def _too_many(max_files: int) -> TooLarge:
    return TooLarge(f"Send at most {max_files} photos and {_FIELDS} other fields in one request.")


@dataclass
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""


class _Reader:
    """The callbacks of python-multipart."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self._name = self._value = b""

    def begin(self) -> None:
        self.parts.append(_Part())

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        name, headers = self._name.decode("latin-1").lower(), self.parts[-1].headers
        if name in headers or b"\n" in self._value or self._value.count(b";") > _PARAMETERS:
            raise BadRequest(_DAMAGED_HEADERS)
        headers[name] = self._value.decode("latin-1")
        self._name = self._value = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data += data[start:end]  # once for each part: the form comes in one piece


def _form_of(parts: list[_Part], max_files: int, texts: Collection[str]) -> Form:
    form = Form([], [])
    for part in parts:
        disposition = part.headers.get("content-disposition", "")
        kind, options = parse_options_header(disposition)
        if kind != b"form-data" or b"name" not in options:
            raise BadRequest(
                "Each part of a form needs a Content-Disposition: form-data with a name."
            )
        media_type, parameters = parse_options_header(
            part.headers.get("content-type", "text/plain")
        )
        name = _text("The name of a field", options[b"name"])
        if media_type.startswith(b"multipart/"):
            kind_shown = shown(media_type.decode("latin-1"))
            if b"boundary" in parameters:
                raise BadRequest(_NESTED.format(kind_shown))
            raise BadRequest(_NO_LIST.format(shown(name), kind_shown))
        if any(header in part.data for header in _HEADERS):
            raise BadRequest(DAMAGED_LINE)
        encoding = part.headers.get("content-transfer-encoding", "").strip().lower()
        if encoding not in _BINARY:
            raise BadRequest(f"Send {shown(name)} without a Content-Transfer-Encoding.")
        # The filename is optional, and one in `filename*` is not read. Some clients (Retrofit,
        # Spring) write each field as JSON, and no photo is.
        is_text = media_type.startswith(b"text/") or media_type == b"application/json"
        if _FILENAME.search(disposition) or not is_text:
            form.files.append((name, part.data))
            continue
        if len(part.data) > TEXT_BYTES:
            too_long = f"{shown(name)} is text of more than {TEXT_BYTES} bytes."
            if name in texts:
                raise BadRequest(too_long)
            raise BadRequest(
                f"{too_long} The part of a file needs a filename or a Content-Type, and base64 is "
                "read in JSON alone."
            )
        _check_charset(shown(name), parameters)
        form.fields.append((name, _text(shown(name), part.data)))
        if media_type == b"application/json":
            form.as_json.add(name)
    if len(form.files) > max_files or len(form.fields) > _FIELDS:
        raise _too_many(max_files)
    return form


def _text(what: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{what} is not UTF-8.") from None
