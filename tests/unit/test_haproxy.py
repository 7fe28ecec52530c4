"""HAProxy itself, with the configuration that the installed Ray writes, over raw sockets.

Behind it stands a server that answers by path as a replica, Uvicorn or Serve would.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

from serving.haproxy import (
    BUFFER_BYTES,
    HEADER_SECONDS,
    SERVE_HEADERS,
    STREAMS,
    UNBUFFERED,
    amended,
)
from serving.stack.haproxy import write_program

PROBLEM = b'{"type": "urn:faces:problem:timed-out"}'
ANSWERS = {
    "/well": (200, "application/json", b"{}"),
    "/own": (504, "application/problem+json", PROBLEM),
    "/uvicorn": (400, "text/plain; charset=utf-8", b"Invalid HTTP request received."),
    "/serve": (503, "text/plain", b"Request dropped due to backpressure."),
    "/bug": (500, "text/plain; charset=utf-8", b"Internal Server Error"),
}


class _Replica(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        length = 0
        names = []
        while (line := self.rfile.readline().strip().lower()) != b"":
            names.append(line.split(b":")[0])
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.rfile.read(length)
        if path.startswith("/lost"):
            return
        status, kind, body = ANSWERS.get(path, (200, "text/plain", b"up"))
        if path.startswith("/headers"):
            body = b" ".join(names)
        head = f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        self.wfile.write(head.encode() + b"Connection: close\r\n\r\n" + body)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def written(folder: Path, port: int, replica: int, away: int, pages: tuple[int, int]) -> Path:
    """The file that Serve writes."""

    def backend(name: str, prefix: str, port: int) -> BackendConfig:
        server = ServerConfig(name=name, host="127.0.0.1", port=port)
        return BackendConfig(name=name, path_prefix=prefix, servers=[server], app_name=name)

    config = HAProxyConfig(
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        metrics_socket_path=str(folder / "metrics.sock"),
        metrics_port=pages[0],
        stats_port=pages[1],
        bufsize=BUFFER_BYTES,
        timeout_client_s=75,
        http_options=HTTPOptions(host="127.0.0.1", port=port),
        has_received_routes=True,
        has_received_servers=True,
        # Not found to be away before it is asked.
        health_check_inter="60s",
    )
    backends = {"faces": backend("faces", "/", replica), "away": backend("away", "/away", away)}
    api = HAProxyApi(config, backends, str(folder / "haproxy.cfg"))
    api._generate_config_file_internal()
    return folder / "haproxy.cfg"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("haproxy")
    port, away, *pages = free_ports(4)
    with _Server(("127.0.0.1", 0), _Replica) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        replica = server.server_address[1]
        config = written(folder, port, replica, away, (pages[0], pages[1]))
        program = write_program(folder)
        # As Serve starts it.
        environment = {**os.environ, "RAY_SERVE_HAPROXY_BINARY_PATH": str(program)}
        # In a folder of the user's, where a module may be called as ours.
        (folder / "serving.py").write_text("raise SystemExit('not ours')")
        command = [str(program), "-db", "-f", str(config)]
        with subprocess.Popen(command, env=environment, cwd=folder) as proxy:
            try:
                wait_for(port)
                yield port
            finally:
                proxy.kill()
                server.shutdown()


def wait_for(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> dict[str, object]:
        assert self.headers["content-type"] == "application/problem+json"
        problem: dict[str, object] = json.loads(self.body)
        assert problem["status"] == self.status
        assert problem["error"] == problem["detail"]
        assert {"title", "request_id"} <= problem.keys()
        return problem


def ask(port: int, request: bytes, *, within_s: float = 20) -> Answer:
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    return Answer(int(first.split()[1]), headers, body)


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: faces", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def test_answers_of_the_service_come_as_they_are(port: int) -> None:
    assert ask(port, get("/well")).body == b"{}"
    answer = ask(port, get("/own"))
    assert (answer.status, answer.body) == (504, PROBLEM)
    assert ask(port, get("/-/healthz")).status == 200


@pytest.mark.parametrize(
    ("request_", "status", "type_"),
    [
        (get("/well", f"Cookie: {'a' * 20_000}"), 431, "request-header-fields-too-large"),
        (get("/well", *["X: 1"] * 120), 431, "request-header-fields-too-large"),
        (get(f"/well?x={'a' * 20_000}"), 414, "request-uri-too-long"),
        (get("/well", method="get"), 400, "bad-request"),
        (get("*", method="OPTIONS"), 404, "not-found"),
        (get("/uvicorn"), 400, "bad-request"),
        (get("/serve"), 503, "unavailable"),
        (get("/bug"), 500, "internal"),
        (get("/away"), 503, "unavailable"),
    ],
)
def test_every_other_answer_is_a_problem(
    port: int, request_: bytes, status: int, type_: str
) -> None:
    answer = ask(port, request_)
    assert answer.status == status, answer
    problem = answer.problem()
    assert problem["type"] == f"urn:faces:problem:{type_}"
    assert answer.headers.get("retry-after") == ("2" if status == 503 else None)


@pytest.mark.parametrize("path", ["/", "/infer", "/infer/stream", "/v2/health/live", "/none"])
@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "h2c, websocket"])
@pytest.mark.parametrize("version", ["13", "8", ""])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_there_are_no_websockets(
    port: int, path: str, upgrade: str, version: str, method: str
) -> None:
    # HAProxy itself refuses one without a key.
    lines = [f"{method} {path} HTTP/1.1", "Host: faces", "Content-Length: 0"]
    lines += ["Connection: Upgrade, close", f"Upgrade: {upgrade}"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"Sec-WebSocket-Version: {version}"]
    lines += ["", ""]
    answer = ask(port, "\r\n".join(lines).encode())
    assert answer.status == 400
    assert str(answer.problem()["detail"]).startswith("There are no websockets here")


@pytest.mark.parametrize("upgrade", ["h2c", "TLS/1.0", "websocket"])
def test_an_upgrade_that_is_only_offered_is_passed_over(port: int, upgrade: str) -> None:
    # Without "upgrade" in Connection it is to be ignored, as of a proxy that passes it on.
    assert ask(port, get("/well", f"Upgrade: {upgrade}")).body == b"{}"


@pytest.mark.parametrize(
    ("method", "path", "type_"),
    [
        ("GET", "/lost", "unavailable"),
        ("POST", "/lost/infer", "unavailable"),
        ("POST", "/lost/generate", "not-confirmed"),
        ("DELETE", "/lost/7", "not-confirmed"),
    ],
)
def test_a_replica_that_goes_away_is_a_503_which_says_what_it_may_have_done(
    port: int, method: str, path: str, type_: str
) -> None:
    answer = ask(port, get(path, "Content-Length: 0", method=method))
    assert answer.status == 503
    assert answer.problem()["type"] == f"urn:faces:problem:{type_}"
    # Clients may follow it blindly.
    assert ("retry-after" in answer.headers) == (type_ == "unavailable")


@pytest.mark.parametrize(
    ("sent", "back"), [("a1-b2", "a1-b2"), ('x","status":200,"', ""), ("a" * 200, "")]
)
def test_a_proper_request_id_comes_back(port: int, sent: str, back: str) -> None:
    answer = ask(port, get("/away", f"X-Request-ID: {sent}"))
    assert answer.problem()["request_id"] == back


def test_a_caller_does_not_steer_serve(port: int) -> None:
    sent = [f"{name}: 0.001" for name in SERVE_HEADERS]
    names = ask(port, get("/headers", *sent, "X-Kept: 1")).body.decode().split()
    assert "x-kept" in names
    assert not {name.lower() for name in SERVE_HEADERS} & set(names)


@pytest.mark.parametrize("path", STREAMS)
def test_serve_does_not_read_a_stream_ahead(port: int, path: str) -> None:
    sent = [f"{name}: 0.001" for name in SERVE_HEADERS]
    names = ask(port, get(f"/headers{path}", *sent)).body.decode().split()
    assert {name.lower() for name in SERVE_HEADERS} & set(names) == {UNBUFFERED.lower()}
    assert names.count(UNBUFFERED.lower()) == 1


def test_an_answer_to_head_has_no_body(port: int) -> None:
    answer = ask(port, get("/away", method="HEAD"))
    assert (answer.status, answer.body) == (503, b"")


def test_headers_that_drip_end_and_hold_no_connection(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        start = time.monotonic()
        connection.sendall(b"GET /well HTTP/1.1\r\nX: ")
        while True:
            try:
                answer = connection.recv(4096)
                break
            except TimeoutError:
                connection.sendall(b"x")
    assert HEADER_SECONDS - 2 < time.monotonic() - start < HEADER_SECONDS + 10
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_what_it_does_not_recognise_stays(tmp_path: Path) -> None:
    config = written(tmp_path, 1, 2, 3, (4, 5)).read_text()
    assert amended("defaults\n    mode http\n") == "defaults\n    mode http\n"
    added = amended(config)
    assert added.count("http-error status") == 7
    assert added.count("faces_answered") == 2
    assert "errorfile" not in added
    assert "content-type text/plain lf-string" not in added.partition("backend default")[2]
    # Serve reads the file that it wrote only to start HAProxy with it.
    binds = [line for line in added.splitlines() if " bind " in line]
    assert binds == [line for line in config.splitlines() if " bind " in line]
    assert len(set(binds) - set(amended(config, "127.0.0.1").splitlines())) == 2
