"""Keyed hashes of photos, and the secret that they need."""

from __future__ import annotations

import pytest

from serving.errors import InvalidInput
from serving.trail.inputs import hash_of, key_in


def test_is_hmac_sha256() -> None:
    # RFC 4231, test case 2
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hash_of(b"what do ya want for nothing?", b"Jefe") == digest


@pytest.mark.parametrize("environ", [{}, {"FACES_AUDIT_KEY": "k" * 31}])
def test_a_secret_that_can_be_guessed_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="32 or more characters"):
        key_in(environ)


def test_takes_the_secret_of_the_environment() -> None:
    assert key_in({"FACES_AUDIT_KEY": "k" * 32}) == b"k" * 32
