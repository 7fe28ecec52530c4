"""Names and metadata in memory."""

from __future__ import annotations

import json
from typing import Any


class Details:
    """JSON objects, one after the other in a run of bytes that only grows.

    The caller keeps the position of each, so an object can be read unchanged, whatever is added
    after it. A million small dictionaries would take several times the memory.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._overwritten = 0

    @property
    def nbytes(self) -> int:
        return len(self._bytes)

    @property
    def overwritten(self) -> int:
        """Bytes of objects that were overwritten."""
        return self._overwritten

    def add(self, encoded: bytes) -> int:
        """Append any number of encoded objects; returns where they begin."""
        start = len(self._bytes)
        self._bytes += encoded
        return start

    def overwrite(self, start: int, length: int) -> None:
        """Overwrite an object that nobody reads any more."""
        self._bytes[start : start + length] = b" " * length
        self._overwritten += length

    def cut(self, nbytes: int) -> None:
        """Take back all that was added since there were ``nbytes``."""
        del self._bytes[nbytes:]

    def encoded(self, start: int, length: int) -> bytes:
        return bytes(self._bytes[start : start + length])

    def find(self, text: bytes, start: int, end: int) -> int:
        """Where ``text`` is between these two places, the first time; -1: nowhere."""
        return self._bytes.find(text, start, end)

    def get(self, start: int, length: int) -> dict[str, Any]:
        """One object; length 0 stands for an empty one."""
        details: dict[str, Any] = json.loads(self.encoded(start, length)) if length else {}
        return details
