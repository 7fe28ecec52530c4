"""What the one-machine stack shows to the outside, and what it tells of itself."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

import httpx
import pytest

from serving.stack.config import StackSettings
from serving.stack.serve import metrics_port

_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_LISTENS = "0A"
_ALL_INTERFACES = "0" * 32


def open_to_all() -> list[int]:
    """Ports of this machine that listen on all IPv6 interfaces, as gRPC servers do."""
    lines = Path("/proc/net/tcp6").read_text().splitlines()[1:]
    addresses = [line.split()[1].split(":") for line in lines if line.split()[3] == _LISTENS]
    return [int(port, 16) for address, port in addresses if address == _ALL_INTERFACES]


def answers_plainly(port: int) -> bool:
    """Whether a gRPC server answers somebody without a certificate."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as plain:
        try:
            plain.sendall(_HTTP2)
            return len(plain.recv(9)) == 9
        except OSError:
            return False


def lets_in(port: int, folder: Path) -> bool:
    """Whether the stack's own certificate opens it."""
    context = ssl.create_default_context(cafile=str(folder / "ray.crt"))
    context.load_cert_chain(folder / "ray.crt", folder / "ray.key")
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=2) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            secure.sendall(_HTTP2)
            return len(secure.recv(9)) == 9
    except OSError:
        return False


def test_replicas_listen_to_nobody_without_the_stacks_key(
    api: httpx.Client, stack: StackSettings
) -> None:
    ours = [port for port in open_to_all() if lets_in(port, stack.folder)]
    assert len(ours) >= 4  # one a replica
    assert [port for port in ours if answers_plainly(port)] == []
    assert (stack.folder / "ray.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"Origin": "https://evil.example"}, "foreign-page"),
        ({"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"}, "foreign-page"),
        ({"Host": "evil.example:15000", "Sec-Fetch-Site": "same-origin"}, "unknown-host"),
    ],
)
def test_a_page_that_somebody_opens_in_his_browser_enrols_nobody(
    api: httpx.Client, data: Path, new_id: int, headers: dict[str, str], kind: str
) -> None:
    photo = {"images": (data / "group.jpg").read_bytes()}
    answer = api.post("/generate", headers=headers, data={"id": str(new_id)}, files=photo)
    assert (answer.status_code, answer.json()["type"]) == (403, f"urn:faces:problem:{kind}")
    assert api.get(f"/identities/{new_id}").status_code == 404
    if "Host" in headers:
        assert api.get("/identities", headers=headers).status_code == 403


def test_the_stack_is_called_by_address_or_as_localhost(
    api: httpx.Client, stack: StackSettings
) -> None:
    for host in (f"localhost:{stack.port}", f"127.0.0.1:{stack.port}"):
        origin = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert api.get("/identities", headers=origin).status_code == 200
        assert api.post("/detect", content=b"x", headers=origin).status_code == 415


def test_the_gallery_is_measured(api: httpx.Client, stack: StackSettings) -> None:
    version = api.get("/readyz").json()["checks"]["gallery"]["version"]
    deadline = time.monotonic() + 60
    found: list[str] = []
    while time.monotonic() < deadline and not any(line.endswith(f" {version}.0") for line in found):
        time.sleep(1)  # Ray gathers them every few seconds
        page = httpx.get(f"http://127.0.0.1:{metrics_port(stack.port)}/metrics", timeout=30).text
        found = [
            line for line in page.splitlines() if line.startswith("ray_faces_gallery_version{")
        ]
    assert any(line.endswith(f" {version}.0") for line in found), found
    assert "ray_faces_gallery_people{" in page
    assert "ray_faces_gallery_problem{" in page
