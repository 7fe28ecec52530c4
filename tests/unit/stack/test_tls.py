from __future__ import annotations

import contextlib
import datetime
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

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


def side(env: dict[str, str], protocol: int) -> ssl.SSLContext:
    """One side of mutual TLS with the files that Ray is given."""
    context = ssl.SSLContext(protocol)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(env["RAY_TLS_CA_CERT"])
    context.load_cert_chain(env["RAY_TLS_SERVER_CERT"], env["RAY_TLS_SERVER_KEY"])
    return context


def greet(client: ssl.SSLContext, server: ssl.SSLContext, address: str = "127.0.0.1") -> None:
    """A handshake in memory; raises ssl.SSLError when one side refuses the other."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=address),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(10):
        for end in list(ends):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                ends.remove(end)
    assert ends == []


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
def test_both_sides_present_the_certificate_and_trust_it(tmp_path: Path, address: str) -> None:
    env = tls.environment(tmp_path)
    client, server = side(env, ssl.PROTOCOL_TLS_CLIENT), side(env, ssl.PROTOCOL_TLS_SERVER)
    assert client.check_hostname
    greet(client, server, address)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        greet(client, server, "127.0.0.2")


def test_the_certificate_of_another_stack_or_none_is_refused(tmp_path: Path) -> None:
    envs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        envs.append(tls.environment(tmp_path / name))
    server = side(envs[0], ssl.PROTOCOL_TLS_SERVER)
    stranger = side(envs[1], ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(stranger, server)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(stranger, server)
    anybody = ssl.create_default_context(cafile=envs[0]["RAY_TLS_CA_CERT"])
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        greet(anybody, server)


def test_the_certificate_is_valid_for_ten_years_from_yesterday(tmp_path: Path) -> None:
    """A clock that is set back a little does not lock the stack's processes out."""
    certificate, _ = tls.make(tmp_path, "ray")
    made = x509.load_pem_x509_certificate(certificate.read_bytes())
    now = datetime.datetime.now(datetime.timezone.utc)
    assert timedelta(hours=23) < now - made.not_valid_before_utc < timedelta(hours=25)
    assert timedelta(days=3649) < made.not_valid_after_utc - now <= timedelta(days=3650)


def test_the_certificate_fits_the_key_and_holds_its_authority(tmp_path: Path) -> None:
    env = tls.environment(tmp_path)
    context = ssl.create_default_context(cafile=env["RAY_TLS_CA_CERT"])
    context.load_cert_chain(env["RAY_TLS_SERVER_CERT"], env["RAY_TLS_SERVER_KEY"])
    assert len(context.get_ca_certs()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ray.crt", "ray.key", "ray.token"]
