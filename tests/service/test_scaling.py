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

from serving.settings import ScaleSettings
from serving.stack.config import StackSettings, serve_config
from serving.stack.process import Process
from serving.stack.run import running
from tests.support.crowd import crowd
from tests.support.load import Answer, ask, replicas, stopped, wait_until
from tests.support.replicas import Count, Replicas, watched

PORT = 15700
CLIENTS = 6
# What takes seconds on a quiet machine.
LONGEST_S = 180.0
TARGETS = {stage: scale.target_ongoing_requests for stage, scale in ScaleSettings()}
OVERRIDES = {
    # Small faces take long to find, so that detection is what is short.
    "detect": {"threads": 1, "min_face_size": 12},
    "decode": {"threads": 1},
}
# As the chart writes it, beside the arguments. Serve is told of the load every second and decides
# by a shorter mean than the 10 and 30 s of its own, or this would take minutes.
TOLD_EVERY_S = "1"
AUTOSCALING = {
    "min_replicas": 1,
    "max_replicas": 2,
    "upscale_delay_s": 0,
    "downscale_delay_s": 1,
    "look_back_period_s": 11,
}

pytestmark = pytest.mark.timeout(3 * LONGEST_S)


@dataclass(frozen=True)
class Stack:
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
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("scaling")
    document = serve_config(StackSettings(folder=folder, port=PORT, overrides=OVERRIDES))
    (faces,) = document["applications"]
    faces["deployments"] = [
        {"name": stage, "autoscaling_config": {**AUTOSCALING, "target_ongoing_requests": target}}
        for stage, target in TARGETS.items()
    ]
    settings = StackSettings(folder=folder, port=PORT, document=document)
    with pytest.MonkeyPatch.context() as patch:
        for told_by in ("HANDLE", "REPLICA"):
            name = f"RAY_SERVE_{told_by}_AUTOSCALING_METRIC_PUSH_INTERVAL_S"
            patch.setenv(name, TOLD_EVERY_S)
        with running(settings) as (_, _, application), watched(application, folder) as counted:
            yield Stack(settings, application, counted)


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


def test_the_stage_that_is_short_comes_and_goes_with_the_load(stack: Stack, photo: bytes) -> None:
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


def test_a_photo_in_line_survives_its_decoder(stack: Stack, photo: bytes) -> None:
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
