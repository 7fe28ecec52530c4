"""Cuts the body of a stream into the bodies of single requests: lines of JSON, or parts of a form.

Nothing is parsed here, so whatever is wrong with a line or a part, the single request says. A
splitter holds the bytes that have arrived and are in no `Frame` yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from python_multipart.multipart import parse_options_header

from serving.api.forms import BEHIND_END, DAMAGED_LINE, NO_END, PREAMBLE_BYTES, why_none
from serving.errors import BadRequest, TooLarge
from serving.reading.names import NAME_CHARACTERS

_CR = ord("\r")
_CRLF = b"\r\n"
_BOM = b"\xef\xbb\xbf"
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class Frame:
    """What came for one photo or one person.

    Attributes:
        body: of the single request; None: it was longer than a body may be, and is gone.
        kind: its Content-Type.
        ref: the caller's name of it, where the frame itself has one.
        nbytes: that it has in the stream.
    """

    body: bytes | None
    kind: str
    nbytes: int
    ref: str | None = None


class Splitter(Protocol):
    """Cuts a body that is fed to it in pieces of any size."""

    @property
    def held(self) -> int:
        """Bytes that are fed and not taken."""

    def feed(self, data: bytes) -> None: ...

    def take(self) -> Frame | None:
        """The next frame that is whole; None: feed more.

        Raises:
            BadRequest: nothing behind this can be cut any more.
            TooLarge: a frame is too long, and so is the way to its end.
        """

    def rest(self) -> Frame | None:
        """The last frame, once all is fed and `take` has no more; None: there is none.

        Raises:
            BadRequest: the body is cut.
        """


class _Buffer:
    """The bytes of a splitter, and how far they were searched for the mark that ends a frame.

    Args:
        mark: that ends a frame.
        most: bytes of a frame; a longer one is passed over.
        passed_over: bytes of such a frame beyond which its end is not looked for.
    """

    def __init__(self, mark: bytes, most: int, passed_over: int) -> None:
        self.data = bytearray()
        self._mark = mark
        self._most = most
        self._longest = most + passed_over
        self._searched = 0
        self._gone = 0  # of the frame that is passed over

    def __len__(self) -> int:
        return len(self.data)

    def find(self) -> int:
        """Where the next mark begins; -1: it is not there yet. Raises TooLarge."""
        at = self.data.find(self._mark, self._searched)
        if at >= 0:
            self._searched = at
            return at
        self._searched = max(0, len(self.data) - len(self._mark) + 1)
        if self._gone or len(self.data) > self._most:
            self._gone += self._searched
            del self.data[: self._searched]
            self._searched = 0
            if self._gone > self._longest:
                raise TooLarge(
                    f"The end of this is not within {self._longest / 2**20:g} MiB; a photo may "
                    f"have {self._most / 2**20:g} MiB, with all that is sent for it."
                )
        return -1

    def cut(self, at: int, behind: int) -> tuple[bytes | None, int]:
        """Take the bytes before ``at``, and drop those ``behind`` it that are the mark's; the
        bytes, or None for a frame that is too long, and how many there were."""
        nbytes = self._gone + at
        body = None if nbytes > self._most else bytes(memoryview(self.data)[:at])
        del self.data[: at + behind]
        self._searched = self._gone = 0
        return body, nbytes


class Lines:
    """NDJSON: a JSON object in each line, which ends with LF or CRLF; the last one need not.

    Blank lines are passed over. A last line that is cut is no JSON object, whatever it lacks.

    Args:
        most, passed_over: see `_Buffer`.
    """

    def __init__(self, most: int, passed_over: int) -> None:
        self._buffer = _Buffer(b"\n", most, passed_over)

    @property
    def held(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer.data += data

    def take(self) -> Frame | None:
        while (at := self._buffer.find()) >= 0:
            if (frame := self._frame(at, 1)) is not None:
                return frame
        return None

    def rest(self) -> Frame | None:
        return self._frame(len(self._buffer), 0)

    def _frame(self, at: int, behind: int) -> Frame | None:
        if at and self._buffer.data[at - 1] == _CR:
            at, behind = at - 1, behind + 1
        body, nbytes = self._buffer.cut(at, behind)
        if body is not None and (not body or body.isspace() or body.rstrip() == _BOM):
            return None
        return Frame(body, "application/json", nbytes)


class Parts:
    """multipart/form-data: each part becomes a form of this part alone.

    Args:
        kind: the stream's Content-Type.
        boundary: see `serving.api.forms.boundary_of`.
        most, passed_over: see `_Buffer`.
    """

    def __init__(self, kind: str, boundary: bytes, most: int, passed_over: int) -> None:
        self._kind = kind
        self._line = b"--" + boundary
        self._mark = b"\r\n" + self._line
        self._buffer = _Buffer(self._mark, most, passed_over)
        self._buffer.data += _CRLF  # so that the first line ends something as the others do
        self._begun = self._over = False

    @property
    def held(self) -> int:
        return len(self._buffer) - (0 if self._begun else len(_CRLF))

    def feed(self, data: bytes) -> None:
        self._buffer.data += data

    def take(self) -> Frame | None:
        data = self._buffer.data
        first = PREAMBLE_BYTES + len(self._mark)
        if not self._begun and len(data) > first and data.find(self._mark, 0, first) < 0:
            raise BadRequest(self._why_none())
        while not self._over and (at := self._buffer.find()) >= 0:
            if not self._begun and b"content-disposition" in data[:at].lower():
                raise BadRequest(DAMAGED_LINE)
            behind = bytes(data[at + len(self._mark) : at + len(self._mark) + 2])
            if len(behind) < 2:
                return None
            if behind not in (b"\r\n", b"--"):
                raise BadRequest(DAMAGED_LINE)
            body, nbytes = self._buffer.cut(at, len(self._mark) + 2)
            begun, self._begun, self._over = self._begun, True, behind == b"--"
            if begun:
                return self._frame(body, nbytes)
        if self._over:
            if data.strip(b" \t\r\n"):
                raise BadRequest(BEHIND_END)
            data.clear()
        return None

    def rest(self) -> Frame | None:
        if self._over or not self._buffer.data.strip():
            return None
        raise BadRequest(NO_END if self._begun else self._why_none())

    def _why_none(self) -> str:
        return why_none(bytes(self._buffer.data[2:]), self._line)

    def _frame(self, body: bytes | None, nbytes: int) -> Frame:
        if body is None:
            return Frame(None, self._kind, nbytes)
        form = b"".join((self._line, b"\r\n", body, self._mark, b"--\r\n"))
        return Frame(form, self._kind, nbytes, _filename(body))


def _filename(part: bytes) -> str | None:
    """The filename of a part, if it is one that can be shown."""
    head = part[:_HEAD_BYTES].partition(b"\r\n\r\n")[0]
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition" and value.count(b";") < 10:
            given = parse_options_header(value.strip())[1].get(b"filename", b"")
            try:
                text = given.decode()
            except UnicodeDecodeError:
                return None
            return text if text.isprintable() and 0 < len(text) <= NAME_CHARACTERS else None
    return None
