"""Keyed hashes of the photos that were looked up: they find a photo again, and show nothing of it.

The key is a secret outside of the settings. Without it a hash could be compared with those of
photos that somebody has.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from serving.errors import InvalidInput

VARIABLE = "FACES_AUDIT_KEY"
_CHARACTERS = 32


def key_in(environ: Mapping[str, str]) -> bytes:
    """The key of the hashes.

    Raises:
        InvalidInput: there is none in the environment, or a short one.
    """
    key = environ.get(VARIABLE, "")
    if len(key) < _CHARACTERS:
        raise InvalidInput(
            f"Hashes of photos need a secret of {_CHARACTERS} or more characters in the "
            f"environment's {VARIABLE}."
        )
    return key.encode()


def hash_of(image: bytes, key: bytes) -> str:
    """The keyed hash of an image file, HMAC-SHA256 in hex."""
    return hmac.new(key, image, hashlib.sha256).hexdigest()
