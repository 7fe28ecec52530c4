"""Refuses cross-site requests and DNS rebinding: a browser reaches services that only its own
machine may reach.

Where callers need no key, reaching the service is enough. A page that a user of `make run` happens
to open could enrol people by a form, without reading the answer; and through a host name of its own
that suddenly resolves to 127.0.0.1 (DNS rebinding) it could read answers, too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from serving.errors import ForeignPage, ServingError, UnknownHost

# These change nothing, and a page of another origin cannot read their answers.
_SAFE = ("GET", "HEAD", "OPTIONS")


def refusal(
    method: str, headers: Headers, hosts: Sequence[str] | None, keys: bool
) -> ServingError | None:
    """The error to refuse a request with, or None.

    Args:
        hosts: names of the service; None: any. Addresses are always accepted: a page whose host is
            the service's address comes from the service.
        keys: callers need keys, which no browser sends by itself.
    """
    # Every browser sends a Host; a program of HTTP/1.0 may not.
    host = headers.get("host")
    if hosts is not None and host is not None and not _is_ours(host, hosts):
        return UnknownHost(
            f"This service is not called by this name: use its address, {' or '.join(hosts)}, or "
            "add the name to the setting hosts."
        )
    if not keys and method not in _SAFE and _is_of_another_page(headers):
        return ForeignPage("Only the service's own pages may send this, or programs.")
    return None


def _is_ours(host: str, hosts: Sequence[str]) -> bool:
    name = _parsed(host).rstrip(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in hosts
    return True


def _parsed(host: str) -> str:
    """The name in a Host header, without the port; empty when there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_of_another_page(headers: Headers) -> bool:
    """Whether the request comes from a page of another site, by `Sec-Fetch-Site`, or by `Origin`
    where a browser does not send that. Programs send neither."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    # Without the scheme, which a proxy that ends TLS changes.
    return origin is not None and origin.partition("://")[2] != headers.get("host", "")
