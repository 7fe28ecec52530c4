"""A stage's replica is ready after its pod's proxy, but only where the application does not run."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from serving.stages import proxy


class Proxy(http.server.ThreadingHTTPServer):
    """Answers 503 so many times."""

    busy = 0
    asked = 0


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Proxy)
        assert self.path == "/-/healthz"
        self.server.asked += 1
        self.send_response(503 if self.server.asked <= self.server.busy else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv(proxy.VARIABLE, f"127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


def test_it_waits_until_the_proxy_answers_and_is_seen_to(pod: Proxy) -> None:
    pod.busy, slept = 3, list[float]()
    proxy.wait(lambda: True, slept.append)
    assert pod.asked == 4
    assert slept[-1] >= 2  # a kubelet asks every second
    assert len(slept) == 3


def test_nobody_waits_where_the_proxy_answers(pod: Proxy) -> None:
    slept: list[float] = []
    proxy.wait(lambda: True, slept.append)
    assert (pod.asked, slept) == (1, [])


def test_one_more_replica_of_an_application_that_runs_does_not_wait(pod: Proxy) -> None:
    pod.busy, slept = 100, list[float]()
    proxy.wait(lambda: False, slept.append)
    assert (pod.asked, slept) == (1, [])


def test_a_proxy_that_never_answers_costs_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(proxy.VARIABLE, "127.0.0.1:1")
    monkeypatch.setattr(proxy, "_LONGEST_S", 0.05)
    proxy.wait(lambda: True)
    assert "does not answer" in caplog.text


def test_without_the_variable_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(proxy.VARIABLE, raising=False)

    def never() -> bool:
        raise AssertionError

    proxy.wait(never)
