"""Signatures of deliveries, with the headers and the scheme of Standard Webhooks 1.0.

`webhook-signature` is `v1,` and the base64 of the HMAC-SHA256 over
`<webhook-id>.<webhook-timestamp>.<body>`; one for each key of the file, with blanks between them,
so that a key can be replaced while both sides run.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path

from serving.errors import InvalidInput

_PREFIX = "whsec_"
_BYTES = 24
_MOST = 5


def keys_in(text: str) -> list[bytes]:
    """The keys in a key file: one a line, as ``whsec_`` and base64, or as text of 32 or more
    characters.

    Raises:
        InvalidInput: there is none, there are too many, or one is short or wrapped in something.
    """
    text = text.removeprefix("\ufeff")  # as editors on Windows begin a file
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= _MOST:
        raise InvalidInput(f"The key file of the events has 1 to {_MOST} keys, one a line.")
    return [_key(line) for line in lines]


def _key(line: str) -> bytes:
    if not line.startswith(_PREFIX):
        if _PREFIX in line:
            # Taken for text, it would sign what no receiver can verify.
            raise InvalidInput(
                f"A key of the events has something before {_PREFIX}; a line is the key alone, "
                "without quotes or a name."
            )
        if len(line) < 32:
            raise InvalidInput("A key of the events has 32 characters or more.")
        return line.encode()
    try:
        key = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"A key of the events begins with {_PREFIX} and is no base64.") from None
    if len(key) < _BYTES:
        raise InvalidInput(f"A key of the events has {_BYTES} bytes or more.")
    return key


def headers_of(
    keys: Sequence[bytes], message: str, timestamp: int, body: bytes
) -> Mapping[str, str]:
    """The headers of a delivery.

    Args:
        message: the event's id.
        timestamp: of this try, in whole seconds since 1970.
    """
    signed = f"{message}.{timestamp}.".encode() + body
    codes = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()) for key in keys]
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{code.decode()}" for code in codes),
    }


class KeyFile:
    """The keys of a file, which is read again when it changes: a Secret in a pod does."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._known: tuple[str, list[bytes]] | None = None

    def keys(self) -> Sequence[bytes]:
        """Raises InvalidInput: the file cannot be read, or see `keys_in`."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"The key file of the events cannot be read: {error}.") from None
        if self._known is None or self._known[0] != text:
            self._known = text, keys_in(text)
        return self._known[1]
