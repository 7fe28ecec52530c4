"""The address of a service, and the proxy of the environment that is on the way to it."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from serving.client.errors import ClientError

_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # in which httpx looks, in this order
_LAST_PORT = 65_535
_WITH_USER = re.compile(r"[^/?#]*//[^/?#]*@")


def checked(url: str) -> httpx.URL:
    """The address, parsed.

    Raises:
        ClientError: it is malformed, or holds what belongs to no service.
    """
    # Its password would get into logs, and httpx would send it in place of the API key.
    if _WITH_USER.match(url):
        raise ClientError(
            "The address of a service has no user name and no password before an @; the API key is "
            "given apart from it."
        )
    if (end := re.search(r"[?#]", url)) is not None:
        raise ClientError(
            f"The address of a service ends with its path: {url[: end.start()]!r} is followed by "
            f"a {end[0]}."
        )
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ClientError(f"{url!r} is no address of a service: {error}.") from None
    if parsed.port is not None and not 0 < parsed.port <= _LAST_PORT:
        raise ClientError(f"{url!r} is no address of a service: there is no port {parsed.port}.")
    if parsed.scheme in ("http", "https") and not parsed.host:
        raise ClientError(f"{url!r} is no address of a service: the name of a host is missing.")
    return parsed


def proxy_to(url: httpx.URL) -> str | None:
    """The proxy that the environment sets for this address, without its password; None: none."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(url.host):
        return None
    scheme, _, rest = proxy.rpartition("://")
    return f"{scheme or 'http'}://{rest.rpartition('@')[2]}"


@contextmanager
def proxies() -> Iterator[None]:
    """While a client of httpx is made, which reads proxies and authorities of the environment.

    Raises:
        ClientError: a proxy is malformed, or of a kind that cannot be used; or the authorities
            cannot be read.
    """
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        name = next((n for n in _AUTHORITIES if os.environ.get(n)), None)
        if name is None:
            raise
        raise ClientError(
            f"The authorities in {os.environ[name]}, which {name} names, cannot be read: "
            f"{error.strerror or error}."
        ) from None
    except (httpx.InvalidURL, ValueError, ImportError) as error:
        raise ClientError(f"A proxy of the environment cannot be used: {error}") from None
