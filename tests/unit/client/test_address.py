"""Addresses that are refused, and proxies of the environment that errors name."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from serving.client import Client, ClientError
from serving.client.address import proxy_to
from tests.support.caller import Caller
from tests.support.service import FakeService


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a proxy that does not answer, in the environment."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", url.replace("//", "//me:secret@"))
        yield url


def failure(call: Caller) -> str:
    with pytest.raises(ClientError) as caught:
        call("health")
    assert "secret" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://faces:port", "'http://faces:port' is no address"),
        ("http://me:secret@faces", "no user name and no password"),
        ("http://secret@faces:port", "no user name and no password"),
        ("//secret@faces", "no user name and no password"),
        ("http://faces?x=1", "'http://faces' is followed by a ?"),
        ("http://faces/?key=secret", "'http://faces/' is followed by a ?"),
        ("http://faces/path#secret", "'http://faces/path' is followed by a #"),
        ("http://faces?", "'http://faces' is followed by a ?"),
        ("http://127.0.0.1:99999", "there is no port 99999"),
        ("http://127.0.0.1:0", "there is no port 0"),
        ("http://:8000", "the name of a host is missing"),
        ("https:///path", "the name of a host is missing"),
    ],
)
def test_an_address_of_no_service_is_refused(
    call: Caller, monkeypatch: pytest.MonkeyPatch, url: str, sentence: str
) -> None:
    call.url = url
    assert sentence in failure(call)
    call.url = None
    monkeypatch.setenv("FACES_URL", url)
    assert sentence in failure(call)


def test_blanks_around_an_address_are_no_part_of_it(
    service: FakeService, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (f"{service.url}\n", f" {service.url}/\r\n"):
        call.url = url
        call("health")
        call.url = None
        monkeypatch.setenv("FACES_URL", url)
        call("health")
    assert service.asked == ["GET /healthz"] * 4


def test_a_path_may_hold_any_sign(service: FakeService, call: Caller) -> None:
    call.url = f"{service.url}/of/@team/"
    call("health")
    assert service.asked == ["GET /of/@team/healthz"]


def test_a_dead_proxy_is_named(service: FakeService, call: Caller, proxy: str) -> None:
    sentence = f"No service answers at {service.url} through the environment's proxy {proxy} ("
    assert failure(call).startswith(sentence)


def test_a_proxy_that_answers_itself_is_named(
    service: FakeService, call: Caller, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", service.url.removeprefix("http://"))
    call.url = "http://faces.example"
    service.status, service.body = 502, b"<html>"
    told = f"at http://faces.example through the environment's proxy {service.url} is not this"
    assert told in failure(call)


def test_an_address_without_a_proxy(
    service: FakeService, call: Caller, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("no_proxy", "example.com, 127.0.0.1")
    call("health")
    service.status, service.body = 502, b"<html>"
    assert "environment's proxy" not in failure(call)


@pytest.mark.parametrize("proxy", ["ftp://me:secret@proxy", "http://proxy:port", "socks5://proxy"])
def test_a_proxy_that_cannot_be_used(
    call: Caller, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    assert failure(call).startswith("A proxy of the environment cannot be used: ")


@pytest.mark.parametrize("url", ["http://faces", "https://faces.example:8000", "http://[::1]:8000"])
@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"all_proxy": "proxy:3128"},
        {"https_proxy": "http://proxy:3128", "no_proxy": "*"},
        {"https_proxy": "http://proxy:3128", "no_proxy": "faces.example"},
        {"http_proxy": "http://a", "https_proxy": "http://b", "no_proxy": "::1"},
    ],
)
def test_the_proxy_is_the_one_that_httpx_takes(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str]
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for written in (name, name.upper()):
            monkeypatch.delenv(written, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with httpx.Client() as client:
        direct = client._transport_for_url(httpx.URL(url)) is client._transport
    assert (proxy_to(httpx.URL(url)) is None) is direct


def test_authorities_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    with pytest.raises(ClientError, match=r"/nonexistent/ca\.pem, which SSL_CERT_FILE names"):
        Client("https://faces.example")
