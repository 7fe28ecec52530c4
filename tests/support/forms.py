"""Bodies of POST /generate as forms: whole ones with what they say, and others with their status.

They are the corpus of tests/unit/api/test_forms_fuzz.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.support.names import SCRIPTS

END = b"\r\n--FORM--\r\n"
KIND = "multipart/form-data; boundary=FORM"
# Bytes of a photo that look like pieces of the frame, but are none.
PHOTO = b"\xff\xd8\r\n-\r\n--FOR\n\n--\r --FORM \r\n\x00\xff"


@dataclass(frozen=True)
class Asked:
    """What a whole form asks for."""

    images: tuple[bytes, ...] = (PHOTO,)
    person: int = 7
    name: str | None = None
    append: bool = False
    force: bool = False


@dataclass(frozen=True)
class Sent:
    """A body, its Content-Type, and what comes of it: what it asks for, or an error's status."""

    body: bytes
    expected: Asked | int
    kind: str = KIND


def part(content: bytes | str, head: str | bytes) -> bytes:
    """One part, behind the boundary; ``head`` is its Content-Disposition behind `form-data;`, and
    perhaps more headers."""
    head = head.encode() if isinstance(head, str) else head
    content = content.encode() if isinstance(content, str) else content
    return b"Content-Disposition: form-data; " + head + b"\r\n\r\n" + content


ID = part("7", "name=id")
FILE = part(PHOTO, 'name="images"; filename="a.jpg"\r\nContent-Type: image/jpeg')
MODE = part("append", 'name="mode"')


def form(parts: Sequence[bytes], boundary: bytes = b"FORM") -> bytes:
    line = b"--" + boundary
    return line + b"\r\n" + (b"\r\n" + line + b"\r\n").join(parts) + b"\r\n" + line + b"--\r\n"


def named(name: str) -> bytes:
    return part(name, 'name="name"')


def file(head: str | bytes) -> bytes:
    return part(PHOTO, head)


_WHOLE_FORM = form([ID, FILE, MODE])
_ASKED = Asked(append=True)

WHOLE: dict[str, Sent] = {
    "fields first": Sent(_WHOLE_FORM, _ASKED),
    "fields last": Sent(form([FILE, MODE, ID]), _ASKED),
    "two photos, one empty": Sent(
        form([FILE, ID, part("", 'name="images"; filename=""')]), Asked((PHOTO, b""))
    ),
    "no line end behind the end": Sent(_WHOLE_FORM[:-2], _ASKED),
    "blanks behind the end": Sent(_WHOLE_FORM + b" \t\r\n\n", _ASKED),
    "a preamble": Sent(b"This is a message in MIME format.\r\n" + _WHOLE_FORM, _ASKED),
    "a line end first": Sent(b"\r\n" + _WHOLE_FORM, _ASKED),
    "small letters in headers": Sent(
        form([ID, FILE, MODE]).replace(b"Content-", b"content-"), _ASKED
    ),
    "capitals in headers": Sent(
        form([ID, FILE, MODE]).replace(b"Content-Disposition", b"CONTENT-DISPOSITION"), _ASKED
    ),
    "no blank in a header": Sent(
        form([ID, FILE, MODE]).replace(b": form-data; ", b":form-data;"), _ASKED
    ),
    "blanks in a header": Sent(
        form([ID, FILE, MODE]).replace(b": form-data; ", b": \t form-data ; "), _ASKED
    ),
    "capitals in a parameter": Sent(form([ID, FILE, MODE]).replace(b"name=", b"Name="), _ASKED),
    "a length in each part": Sent(
        form([ID + b"", FILE, MODE]).replace(b"\r\n\r\n7", b"\r\nContent-Length: 1\r\n\r\n7"),
        _ASKED,
    ),
    "no filename but a type": Sent(
        form([ID, file('name="images"\r\nContent-Type: image/jpeg')]), Asked()
    ),
    "only filename*": Sent(
        form([ID, file("name=\"images\"; filename*=UTF-8''%C3%BC.jpg")]), Asked()
    ),
    "filename and filename*": Sent(
        form([ID, file('name="images"; filename="u.jpg"; filename*=UTF-8\'\'%C3%BC.jpg')]),
        Asked(),
    ),
    "a filename in Latin-1": Sent(
        form([ID, file(b'name="images"; filename="\xfcber.jpg"')]), Asked()
    ),
    "a filename in Shift JIS": Sent(
        form([ID, file('name="images"; filename="表.jpg"'.encode("shift_jis"))]), Asked()
    ),
    "a filename with quotes": Sent(
        form([ID, file('name="images"; filename="a\\"; name=\\"id.jpg"')]), Asked()
    ),
    "a filename of Windows": Sent(
        form([ID, file('name="images"; filename="C:\\\\photos\\\\a;b.jpg"')]), Asked()
    ),
    "a long filename": Sent(
        form([ID, file(f'name="images"; filename="{"ü" * 255}.jpg"')]), Asked()
    ),
    "nested boundaries": Sent(
        form([ID, part(b"\r\n--FORM\r\n" + PHOTO + END, "name=images; filename=a")], b"X"),
        Asked((b"\r\n--FORM\r\n" + PHOTO + END,)),
        "multipart/form-data; boundary=X",
    ),
    "the longest boundary": Sent(
        form([ID, FILE], b"x" * 70), Asked(), f"multipart/form-data; boundary={'x' * 70}"
    ),
    "a boundary in quotes": Sent(
        form([ID, FILE], b"a b?:=,;"), Asked(), 'multipart/form-data; boundary="a b?:=,;"'
    ),
    "a boundary of dashes": Sent(
        form([ID, FILE], b"----a--"), Asked(), "multipart/form-data; boundary=----a--"
    ),
    "a charset of the form": Sent(_WHOLE_FORM, _ASKED, f'{KIND}; charset="UTF-8"'),
    "a charset of a part": Sent(
        form([ID, FILE, part("Имя", "name=name\r\nContent-Type: text/plain; charset=utf-8")]),
        Asked(name="Имя"),
    ),
    "binary": Sent(
        form([ID, file("name=images; filename=a\r\nContent-Transfer-Encoding: binary")]), Asked()
    ),
    **{
        f"a name, {script}": Sent(form([ID, FILE, named(name)]), Asked(name=name))
        for script, name in SCRIPTS.items()
    },
}


def _whole(body: bytes) -> Sent:
    return Sent(body, 400)


_HUGE = 'name="images"; filename="a"\r\nX-Huge: ' + "x" * 20_000

BROKEN: dict[str, Sent] = {
    "nothing": _whole(b""),
    "no form": _whole(PHOTO),
    "only a boundary": _whole(b"--FORM"),
    "no part": _whole(b"--FORM--\r\n"),
    "no end": _whole(_WHOLE_FORM[:-12]),
    "half an end": _whole(_WHOLE_FORM[:-3]),
    "cut in the last field": _whole(_WHOLE_FORM[: -len(END) - 3]),
    "cut in the photo": _whole(_WHOLE_FORM[: _WHOLE_FORM.index(PHOTO) + 9]),
    "cut in a header": _whole(_WHOLE_FORM[: _WHOLE_FORM.index(b"filename")]),
    "ended twice": _whole(_WHOLE_FORM + b"--FORM--\r\n"),
    "two forms": _whole(_WHOLE_FORM + _WHOLE_FORM),
    "something behind the end": _whole(_WHOLE_FORM + b"\x00"),
    "bare LF": _whole(_WHOLE_FORM.replace(b"\r\n", b"\n")),
    "bare CR": _whole(_WHOLE_FORM.replace(b"\r\n", b"\r")),
    "bare LF before the last part": _whole(_WHOLE_FORM.replace(MODE, b"\n" + MODE[1:])),
    "an empty line for the boundary": _whole(_WHOLE_FORM.replace(b"--FORM\r\n", b"\r\n")),
    "another boundary": replace(_whole(_WHOLE_FORM), kind="multipart/form-data; boundary=MROF"),
    "a shorter boundary": replace(_whole(_WHOLE_FORM), kind="multipart/form-data; boundary=FOR"),
    "a long preamble": _whole(bytes(2000) + b"\r\n" + _WHOLE_FORM),
    "a part in front of the form": _whole(FILE + b"\r\n" + _WHOLE_FORM),
    "a form in a part": replace(
        _whole(form([ID, part(_WHOLE_FORM, "name=images; filename=a")], b"X")),
        kind="multipart/form-data; boundary=X",
    ),
    "no headers": _whole(form([ID, FILE, b"\r\nappend"])),
    "no name": _whole(form([ID, FILE, part("x", 'filename="a"')])),
    "blanks behind a boundary": _whole(_WHOLE_FORM.replace(b"--FORM\r\n", b"--FORM \r\n")),
    "a header twice": _whole(
        form([ID, FILE, part("x", "name=a\r\nContent-Disposition: form-data; name=b")])
    ),
    "a header that is folded": _whole(form([ID, FILE, part("append", "\r\n name=mode")])),
    "a huge header": _whole(form([ID, file(_HUGE)])),
    "many headers": _whole(form([ID, file('name="images"; filename="a"' + "\r\nX: x" * 500)])),
    "many parameters": _whole(form([ID, file('name="images"; filename="a"' + ";" * 2000)])),
    "base64 in a part": _whole(
        form([ID, file('name="images"; filename="a"\r\nContent-Transfer-Encoding: base64')])
    ),
    "an unknown charset": replace(_whole(_WHOLE_FORM), kind=f"{KIND}; charset=klingon"),
    "an unknown charset of a part": _whole(
        form([ID, FILE, part("x", "name=name\r\nContent-Type: text/plain; charset=undefined")])
    ),
    "UTF-16": _whole(form([ID, FILE, part("Имя".encode("utf-16"), "name=name")])),
    "windows-1251": _whole(form([ID, FILE, part("Имя".encode("cp1251"), "name=name")])),
    "a field in Latin-1": _whole(form([ID, FILE, part("x", 'name="né"'.encode("latin-1"))])),
    "the id twice": _whole(form([ID, ID, FILE])),
    "an unknown field": _whole(form([ID, FILE, part("x", "name=modus")])),
    "a photo as text": _whole(form([ID, part("x", "name=images")])),
    "an id as a file": _whole(form([part("7", "name=id; filename=a"), FILE])),
    "a name that nobody sees": _whole(form([ID, FILE, named("\u200b")])),
    "no boundary": replace(_whole(_WHOLE_FORM), kind="multipart/form-data"),
    "a long boundary": replace(
        _whole(form([ID, FILE], b"x" * 600)), kind=f"multipart/form-data; boundary={'x' * 600}"
    ),
    "too many fields": Sent(form([ID, FILE, *[part("x", "name=a")] * 200]), 413),
    "too many photos": Sent(form([ID, *[FILE] * 101]), 413),
    "no form by its type": Sent(_WHOLE_FORM, 415, "multipart/mixed; boundary=FORM"),
    "UTF-16 as a whole": _whole(_WHOLE_FORM.decode("latin-1").encode("utf-16")),
}
