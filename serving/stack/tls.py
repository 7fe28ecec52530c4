"""Certificates and the token for the inside of the one-machine stack.

Ray Serve's replicas listen for one another on all interfaces, and unpickle what they receive. The
S3 server's inner servers ask for no keys. With mutual TLS only a process that can read the stack's
folder can send them anything: no page in a browser, and no other account of the machine.
"""

from __future__ import annotations

import datetime
import secrets
from pathlib import Path

import trustme

from serving.stack.process import LOOPBACK, write_private

_DAYS = 3650


def environment(folder: Path) -> dict[str, str]:
    """Ray's settings, with a new certificate and a new token, readable by the user alone.

    Ray's plain HTTP servers ask for the token. Ray's own token would lie in the user's home, where
    other accounts may be able to read it.
    """
    certificate, key = make(folder, "ray")
    token = folder / "ray.token"
    write_private(token, secrets.token_hex(32))
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": str(certificate),
        "RAY_TLS_SERVER_KEY": str(key),
        "RAY_TLS_CA_CERT": str(certificate),
    }


def make(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a new certificate for loopback and its key, readable by the user alone.

    The certificate's file also holds its authority, so it is the CA file of both sides too. The
    authority's key is never written: no other certificate can come from it.

    Returns:
        The paths of the certificate and of the key.
    """
    authority = trustme.CA(path_length=0, organization_name="faces")
    now = datetime.datetime.now(datetime.timezone.utc)
    issued = authority.issue_cert(
        LOOPBACK,
        "localhost",
        organization_name="faces",
        not_before=now - datetime.timedelta(days=1),
        not_after=now + datetime.timedelta(days=_DAYS),
    )
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    (own,) = issued.cert_chain_pems
    for path, pem in (
        (certificate, own.bytes() + authority.cert_pem.bytes()),
        (key, issued.private_key_pem.bytes()),
    ):
        path.unlink(missing_ok=True)  # a process that has the old file open does not see the new
        write_private(path, pem.decode())
    return certificate, key
