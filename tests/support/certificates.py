"""Certificates of servers that tests start."""

from __future__ import annotations

from pathlib import Path

import trustme


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1, with its authority in the same file, and its key."""
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    chain, key = folder / "ca.pem", folder / "key.pem"
    issued.cert_chain_pems[0].write_to_path(chain)
    ca.cert_pem.write_to_path(chain, append=True)
    issued.private_key_pem.write_to_path(key)
    return chain, key


def authority(folder: Path) -> tuple[Path, Path]:
    """Write the certificate of an authority, and the key with which it signs others."""
    ca = trustme.CA(path_length=0)
    own, key = folder / "ca.pem", folder / "key.pem"
    ca.cert_pem.write_to_path(own)
    ca.private_key_pem.write_to_path(key)
    return own, key
