"""The stage that is short grows under load and shrinks again, and no request suffers from it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from serving.stack.config import StackSettings
from serving.stack.process import Process
from tests.support.crowd import crowd
from tests.support.load import Answer, ask, replicas, stopped, wait_until
from tests.support.replicas import Count, Replicas, watched
from tests.support.stacks import TARGETS, Stack

CLIENTS = 6
# What takes seconds on a quiet machine.
LONGEST_S = 180.0

pytestmark = pytest.mark.timeout(3 * LONGEST_S)


@dataclass(frozen=True)
class Watched:
    settings: StackSettings
    application: Process
    replicas: Replicas

    def wait_for(self, true: Callable[[Count], bool]) -> None:
        since = time.monotonic()

        def is_true() -> bool:
            now = self.replicas.now()
            return now is not None and now.at >= since and true(now)

        wait_until(is_true, LONGEST_S)


@pytest.fixture(scope="module")
def stack(tuned_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    _, _, application = tuned_stack.processes
    with watched(application, tmp_path_factory.mktemp("scaling")) as counted:
        yield Watched(tuned_stack.settings, application, counted)


@pytest.fixture(scope="module")
def photo(data: Path) -> bytes:
    return (data / "id_is_2576.jpg").read_bytes()


def failed(answers: list[Answer]) -> list[Answer]:
    """All but what was identified, and what was refused since too many wait."""
    return [
        a
        for a in answers
        if a.status != 200 and not (a.status == 503 and a.type == "overloaded" and a.retry_after)
    ]


def test_the_stage_that_is_short_comes_and_goes_with_the_load(stack: Watched, photo: bytes) -> None:
    stack.wait_for(lambda count: count.running("detect") == 1)
    with crowd(stack.settings.url, photo) as clients:
        clients.resize(CLIENTS)
        stack.wait_for(lambda count: count.running("detect") == 2)
        clients.resize(1)
        stack.wait_for(lambda count: count.all("detect") == 1)
        clients.empty()
    assert failed(clients.answers) == []
    assert 200 in {answer.status for answer in clients.answers}
    # All clients together are fewer than one replica of these is for. A decoder may well be short
    # of a core, where others use it.
    for stage in ("ingress", "match"):
        assert TARGETS[stage] > CLIENTS
        assert {count.all(stage) for count in stack.replicas.counts()} == {1}, stage


def test_a_photo_in_line_survives_its_decoder(stack: Watched, photo: bytes) -> None:
    stack.wait_for(lambda count: count.all("decode") == count.all("detect") == 1)
    (decoder,) = replicas(stack.application.pid, "decode")
    (detector,) = replicas(stack.application.pid, "detect")
    answers: list[Answer] = []
    with httpx.Client(base_url=stack.settings.url, timeout=LONGEST_S) as client:
        asking = threading.Thread(target=lambda: answers.append(ask(client, "identify", photo)))
        with stopped(detector):
            asking.start()
            time.sleep(2)
            # A decoder works on one after the other, so it has done the photo after these.
            for _ in range(3):
                assert ask(client, "identify", b"no photo").status == 415
            os.kill(decoder, signal.SIGKILL)
            # What it made is lost by the time that another one is up.
            wait_until(
                lambda: set(replicas(stack.application.pid, "decode")) - {decoder} != set(),
                LONGEST_S,
            )
            stack.wait_for(lambda count: count.running("decode") == count.all("decode") == 1)
        asking.join()
    assert [answer.kind for answer in answers] == ["200"], answers
