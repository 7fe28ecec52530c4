"""What the processes of a stack listen on, and what that answers to who has no business there."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_LISTENS = "0A"
_ACCEPTS = 0x10000  # __SO_ACCEPTCON, of a Unix socket's flags
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SECONDS = 5

FOREIGN = {"Host": "evil.example", "Origin": "https://evil.example", "Content-Type": "text/plain"}


@dataclass(frozen=True, order=True)
class Listener:
    """A TCP port, and the process that listens on it."""

    port: int
    on_loopback: bool
    process: str


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Answer:
    """An answer by HTTP/1.1; status 0: what came is none."""

    status: int
    body: bytes


def family(pids: Iterable[int], mark: str) -> set[int]:
    """The processes, all that descend from them, and all whose environment holds ``mark``.

    A process whose parent has ended is no descendant any more.
    """
    parents: dict[int, int] = {}
    found = set(pids)
    for path in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(path.name)
            parents[pid] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if mark.encode() in (path / "environ").read_bytes():
                found.add(pid)
    found.discard(os.getpid())
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def ports(pids: Iterable[int]) -> list[Listener]:
    """The TCP ports on which the processes listen, each once."""
    held = _sockets(pids)
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == _LISTENS and fields[9] in held:
                found.add(Listener(int(port, 16), address in _LOOPBACK, held[fields[9]]))
    return sorted(found)


def unix_sockets(pids: Iterable[int]) -> Iterator[tuple[Path, str]]:
    """The Unix sockets on which the processes listen, or take datagrams, and the process."""
    held = _sockets(pids)
    for line in (_PROC / "net" / "unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        stream = fields[4] != "0002"
        if len(fields) == 8 and fields[6] in held and (not stream or int(fields[3], 16) & _ACCEPTS):
            yield Path(fields[7]), held[fields[6]]


def _sockets(pids: Iterable[int]) -> dict[str, str]:
    """The inodes of all their sockets, with the name of a process."""
    found: dict[str, str] = {}
    for pid in sorted(pids):
        with contextlib.suppress(OSError):
            name = _name(pid)
            for entry in (_PROC / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if match := _SOCKET.fullmatch(os.readlink(entry)):
                        found.setdefault(match[1], name)
    return found


def _name(pid: int) -> str:
    words = (_PROC / str(pid) / "cmdline").read_bytes().decode().strip("\0").split("\0")
    script = next((w for w in words if w.endswith(".py")), words[0])
    return Path(script).name.strip() or script


def send(port: int, request: Request, context: ssl.SSLContext | None = None) -> Answer:
    """Send it as a page of another origin would that has given itself a name of this machine."""
    connection = (
        http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
        if context is None
        else http.client.HTTPSConnection("127.0.0.1", port, timeout=_SECONDS, context=context)
    )
    with contextlib.closing(connection):
        try:
            connection.request(request.method, request.path, request.body.encode(), FOREIGN)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        except OSError:  # also where the connection was closed without a word
            return Answer(0, b"")
        except http.client.HTTPException as error:
            return Answer(0, repr(error).encode())


def grpc(port: int, context: ssl.SSLContext | None = None) -> bytes:
    """What a server says to somebody who begins to speak HTTP/2, as gRPC does."""
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as plain:
        try:
            if context is None:
                plain.sendall(_HTTP2)
                return plain.recv(9)
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                secure.sendall(_HTTP2)
                return secure.recv(9)
        except OSError:
            return b""


def anybody() -> ssl.SSLContext:
    """For who takes any server for the right one, and has no certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def owner(certificate: Path) -> ssl.SSLContext:
    """For who has a certificate of the stack, with its key beside it."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context
