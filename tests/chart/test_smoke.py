"""`helm test` itself, against a service that refuses callers without a key, and walls around it."""

from __future__ import annotations

import http.server
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.support.chart.helm import CHART, NAMESPACE, Helm, Values
from tests.support.chart.objects import only
from tests.support.chart.values import VARIANTS


class Service(http.server.BaseHTTPRequestHandler):
    """Ready, and closed to callers without a key."""

    def _answer(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 401)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = _answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def run(service: int, *walled: str) -> subprocess.CompletedProcess[str]:
    script = CHART / "files" / "smoke_test.py"
    arguments = [f"http://127.0.0.1:{service}", "1", "5", "keys", *walled]
    env = {name: value for name, value in os.environ.items() if name != "FACES_KEY"}
    return subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, env=env, timeout=60
    )


def test_walls_that_stand(service: int, nobody: int) -> None:
    done = run(service, f"127.0.0.1:{nobody}")
    assert done.returncode == 0, done.stderr
    assert "refuses requests without a key" in done.stdout


def test_a_network_plugin_that_enforces_nothing(service: int, nobody: int) -> None:
    done = run(service, f"127.0.0.1:{nobody}", f"127.0.0.1:{service}")
    assert done.returncode != 0
    assert f"can connect to 127.0.0.1:{service}" in done.stderr


def test_a_wall_around_nothing_proves_nothing(service: int) -> None:
    done = run(service, "faces-head-svc.invalid:8265")
    assert done.returncode != 0
    assert "faces-head-svc.invalid is not known" in done.stderr


HEAD, TRITON = "faces-facenet-serving-head-svc", "faces-facenet-serving-predictor"


@pytest.mark.parametrize(
    ("values", "walls"),
    [
        ({}, {(HEAD, 8265), (HEAD, 6379), (TRITON, 80)}),
        (
            {"triton": {"create": False, "url": "http://triton:8000"}},
            {(HEAD, 8265), (HEAD, 6379)},
        ),
        ({"networkPolicy": {"enabled": False}}, set()),
    ],
)
def test_what_is_tried(helm4: Helm, values: Values, walls: set[tuple[str, int]]) -> None:
    pod = only(helm4.template(values, files=[VARIANTS["defaults"]]), "Pod")
    arguments = pod["spec"]["containers"][0]["command"][7:]
    found = [re.fullmatch(rf"(.+)\.{NAMESPACE}\.svc:(\d+)", text) for text in arguments]
    assert {(each[1], int(each[2])) for each in found if each} == walls
    assert all(found)
