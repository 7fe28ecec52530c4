from __future__ import annotations

import ssl
from pathlib import Path

from serving.stack import tls


def test_the_key_is_for_the_user_alone_and_new_each_time(tmp_path: Path) -> None:
    first = tls.environment(tmp_path)
    key = Path(first["RAY_TLS_SERVER_KEY"])
    before = key.read_bytes()
    assert key.stat().st_mode & 0o077 == 0
    assert tls.environment(tmp_path) == first
    assert key.read_bytes() != before


def test_what_ray_serves_by_http_asks_for_a_token_of_this_stack_and_start(tmp_path: Path) -> None:
    first = tls.environment(tmp_path)
    token = Path(first["RAY_AUTH_TOKEN_PATH"])
    before = token.read_text()
    assert first["RAY_AUTH_MODE"] == "token"
    assert len(before) == 64
    assert token.is_relative_to(tmp_path)
    assert token.stat().st_mode & 0o077 == 0
    tls.environment(tmp_path)
    assert token.read_text() != before


def test_the_certificate_fits_the_key_and_is_its_own_authority(tmp_path: Path) -> None:
    env = tls.environment(tmp_path)
    context = ssl.create_default_context(cafile=env["RAY_TLS_CA_CERT"])
    context.load_cert_chain(env["RAY_TLS_SERVER_CERT"], env["RAY_TLS_SERVER_KEY"])
    (authority,) = context.get_ca_certs()
    assert ("IP Address", "127.0.0.1") in authority["subjectAltName"]
