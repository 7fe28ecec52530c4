"""What the commands over a bucket share."""

from __future__ import annotations

import threading

import click
import pytest

from serving.cli import jobs
from serving.client import ClientError
from serving.errors import InvalidInput
from tests.support.service import FakeService

READY = {"ready": True, "checks": {}}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout=None: self.is_set())


def client_of(url: str, wait: float) -> None:
    with click.Context(click.Command("faces")):
        jobs.patient_client(url, None, wait, threading.Event())


def test_without_a_wait_the_service_has_to_answer_now(service: FakeService) -> None:
    client_of(service.url, 0)
    assert service.asked == ["GET /healthz"]
    with pytest.raises(ClientError, match="No service answers"):
        client_of("http://127.0.0.1:1", 0)


def test_a_service_that_comes_is_waited_for(service: FakeService) -> None:
    service.answers = [(502, b""), (503, {**READY, "ready": False}), (200, READY)]
    client_of(service.url, 60)
    assert service.asked == ["GET /readyz"] * 3


def test_what_is_no_service_is_not_waited_for(service: FakeService) -> None:
    service.status, service.body = 404, b"<html>"
    with pytest.raises(ClientError, match="is not this service"):
        client_of(service.url, 60)
    assert service.asked == ["GET /readyz", "GET /healthz"]


def test_a_pause_ends_with_the_run() -> None:
    stopping = threading.Event()
    jobs.pause(stopping, 0.0)
    stopping.set()
    with pytest.raises(ClientError, match="has ended"):
        jobs.pause(stopping, 100.0)


def test_errors_of_lines_fail_unless_they_are_results() -> None:
    summary = {"errors": {"gone": 2, "too-large": 1}}
    assert jobs.errors_of(summary) == "2 gone, 1 too-large"
    assert jobs.errors_of({"errors": {}}) == "none"
    with pytest.raises(click.ClickException, match="3 photos are bad"):
        jobs.fail_for(summary, "photos are bad", accepted=False)
    jobs.fail_for(summary, "photos are bad", accepted=True)
    jobs.fail_for({"errors": {}}, "", accepted=False)


def test_names_of_collections() -> None:
    jobs.check_collection("shop")
    jobs.check_collection(None)
    with pytest.raises(InvalidInput):
        jobs.check_collection("../x")
