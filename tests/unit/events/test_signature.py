"""Signatures of deliveries."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from serving.errors import InvalidInput
from serving.events.signature import KeyFile, headers_of, keys_in
from tests.support.webhooks import SECRET, is_signed

# The example of the specification of Standard Webhooks.
_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_MESSAGE, _TIME, _BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_signs_as_the_specification_does() -> None:
    assert headers_of(keys_in(_KEY), _MESSAGE, _TIME, _BODY) == {
        "webhook-id": _MESSAGE,
        "webhook-timestamp": str(_TIME),
        "webhook-signature": _SIGNATURE,
    }


def test_each_key_of_the_file_signs() -> None:
    other = "whsec_" + base64.b64encode(b"x" * 24).decode()
    headers = headers_of(keys_in(f"{SECRET}\n\n {other} \n"), "m", 1, b"body")
    assert is_signed(headers, b"body", SECRET)
    assert is_signed(headers, b"body", other)
    assert not is_signed(headers, b"bodY", other)


@pytest.mark.parametrize(
    "text", ["", "\n", "short", "whsec_AAAA", "whsec_%%%%", "\n".join(["x" * 32] * 6)]
)
def test_refuses_a_file_without_good_keys(text: str) -> None:
    with pytest.raises(InvalidInput):
        keys_in(text)


@pytest.mark.parametrize("begin", ["v1,", '"', "'", "key=", "WEBHOOK_KEY: "])
def test_a_key_with_something_before_it_is_no_text_of_its_own(begin: str) -> None:
    with pytest.raises(InvalidInput, match="something before whsec_"):
        keys_in(f"{begin}{SECRET}")


def test_a_mark_of_windows_at_the_begin_of_the_file_is_no_part_of_a_key() -> None:
    assert keys_in(f"\ufeff{SECRET}\r\n") == keys_in(SECRET)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("x" * 32)
    file = KeyFile(str(path))
    assert file.keys() == [b"x" * 32]
    path.write_text("y" * 32)
    assert file.keys() == [b"y" * 32]
    path.unlink()
    with pytest.raises(InvalidInput, match="cannot be read"):
        file.keys()
