"""Certificates and the token for the inside of the one-machine stack.

Ray Serve's replicas listen for one another on all interfaces, and unpickle what they are sent. The
S3 server's inner servers ask for no keys. With TLS in both directions only those who can read the
stack's folder can send them anything: no page in a browser, and no other account of the machine.
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serving.stack.process import LOOPBACK, write_private

_DAYS = 3650


def environment(folder: Path) -> dict[str, str]:
    """Ray's settings, with a new certificate and a new token, readable by the user alone.

    What Ray serves by plain HTTP asks for the token. Its own lies in the user's home, where others
    may be able to read it.
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
    """A certificate for loopback and its key, made anew, readable by the user alone.

    It is its own authority: nobody else gets a certificate of it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "faces")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address(LOOPBACK))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([address, x509.DNSName("localhost")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    for path, content in zip(paths, (pem, private), strict=True):
        path.unlink(missing_ok=True)  # nobody who has it open sees the new one
        write_private(path, content.decode())
    return paths
