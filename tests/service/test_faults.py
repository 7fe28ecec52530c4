"""The service under load while what it needs fails: what clients see, and that it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.model.repository import REPOSITORY
from serving.stack import s3, triton
from serving.stack.config import BUCKET, StackSettings
from serving.stack.process import LOOPBACK, Process
from serving.stack.run import running
from tests.service import logs
from tests.service.wire import answer, proxied
from tests.support.load import (
    NO_ANSWER,
    Answer,
    Load,
    Row,
    alive,
    loaded,
    replicas,
    stopped,
    table,
    wait_until,
)
from tests.support.seaweed import kill

PORT = 17060
S3_ELSEWHERE = PORT + 20
TIMEOUT_S = 8.0
TRITON_TIMEOUT_S = 3.0
FRESHNESS_S = 1.0
IN_FLIGHT = 24
OVERRIDES: dict[str, Any] = {
    "triton": {"timeout_s": TRITON_TIMEOUT_S},
    # All that there is room for, though it has to wait: so more is lost when something is wrong.
    "limits": {"timeout_s": TIMEOUT_S, "max_in_flight": IN_FLIGHT, "max_wait": 0},
    "gallery": {"freshness_timeout_s": FRESHNESS_S},
    "scale": {
        stage: {"graceful_shutdown_timeout_s": 2} for stage in ("ingress", "decode", "detect")
    }
    | {"match": {"min_replicas": 2, "max_replicas": 2, "graceful_shutdown_timeout_s": 2}},
}
# What the work takes where nothing is wrong, at most, on a machine that others use, too: whoever
# waits in vain has his answer after it.
WORK_S = TIMEOUT_S
RECOVERY_S = 60.0

pytestmark = pytest.mark.timeout(180)


@dataclass
class Stack:
    """The stack, whose parts die and are started again."""

    settings: StackSettings
    s3: Process
    triton: Process
    application: Process
    starts: Iterator[int] = field(default_factory=itertools.count)

    @property
    def folder(self) -> Path:
        return self.settings.folder

    def start_s3(self, port: int | None = None) -> None:
        port = port or self.settings.s3_port
        self.s3 = s3.start(self.folder, self._logs(), port)
        self.s3.wait_until(lambda: s3.make_bucket(self.folder, port, BUCKET), 60)

    def start_triton(self) -> None:
        port, model = self.settings.triton_port, self.settings.model
        threads = len(os.sched_getaffinity(0))
        self.triton = triton.start(self.folder, self._logs(), port, REPOSITORY, model, threads)
        self.triton.wait_until(lambda: triton.is_ready(self.folder, model), 60)

    def _logs(self) -> Path:
        return self.folder / "logs" / f"again-{next(self.starts)}"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("faults")
    settings = StackSettings(folder=folder, port=PORT, overrides=OVERRIDES)
    with running(settings) as processes:
        s3_server, triton_server, application = processes
        stack = Stack(settings, s3_server, triton_server, application)
        try:
            yield stack
        finally:
            for process in (stack.s3, stack.triton):
                with contextlib.suppress(ProcessLookupError):
                    kill(process)


@pytest.fixture(scope="module")
def ids() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture(scope="module")
def photos(data: Path) -> list[bytes]:
    names = ("2576/photo_01.jpg", "2576/photo_05.jpg", "people/101/macron_2014.jpg")
    return [(data / name).read_bytes() for name in names]


@pytest.fixture
def load(stack: Stack, photos: list[bytes], ids: Iterator[int]) -> Iterator[Load]:
    for process in (stack.s3, stack.triton, stack.application):
        process.check()
    with loaded(stack.settings.url, photos, ids) as load:
        load.recovered(time.monotonic(), ("identify", "enrol"), RECOVERY_S)
        yield load


@dataclass
class Fault:
    """What a test looks at: what clients got while something was wrong."""

    began: float
    mended: float = 0.0
    answers: list[Answer] = field(default_factory=list)

    def of(self, what: str) -> list[Answer]:
        """Of those that were sent after it began: it takes a moment to be noticed."""
        return [a for a in self.answers if a.what == what and a.sent > self.began]


Watch = Callable[[str], contextlib.AbstractContextManager[Fault]]


@pytest.fixture
def watch(load: Load, rows: list[Row]) -> Watch:
    """Watches what is done in the ``with``: at its end all is mended, and must come back."""

    @contextlib.contextmanager
    def watch(name: str) -> Iterator[Fault]:
        fault = Fault(time.monotonic())
        yield fault
        fault.mended = time.monotonic()
        back = load.recovered(fault.mended, ("identify", "enrol"), RECOVERY_S)
        # What was under way when it was mended belongs to it.
        wait_until(lambda: len(load.between(fault.mended + 0.01, time.monotonic())) > 8, RECOVERY_S)
        fault.answers = load.between(fault.began, fault.mended)
        everybody = load.between(0, time.monotonic())
        acknowledged = {a.person for a in everybody if a.what == "enrol" and a.written}
        refused = {a.person for a in everybody if a.what == "enrol" and a.written is False}
        known = load.enrolled()
        lasted, lost = fault.mended - fault.began, len(acknowledged - known)
        rows.append(Row(name, lasted, fault.answers, back, len(acknowledged), lost))
        print(f"\n{table(rows[-1:])}")
        assert acknowledged <= known, "an acknowledged write is lost"
        assert not refused & known, "a refused write was carried out"
        health = [a for a in fault.answers if a.what == "health" and a.status != 200]
        assert health == [] or "ingress" in name

    return watch


def refusals(answers: list[Answer]) -> list[Answer]:
    return [a for a in answers if a.status != 200]


def all_honest(answers: list[Answer], *types: str) -> None:
    """Each is an answer, or a problem of these types that says when to ask again; of a write also
    that nobody knows whether it was carried out, which is not to be sent again blindly."""
    refused = [a for a in refusals(answers) if (a.what, a.type) != ("enrol", "not-confirmed")]
    assert [a for a in refused if a.type not in types or not a.detail] == []
    assert [a for a in refused if a.status == 503 and not a.retry_after] == []


# --- Triton --------------------------------------------------------------------------------------


def test_triton_is_killed_and_started_again(stack: Stack, watch: Watch) -> None:
    with watch("Triton killed") as fault:
        kill(stack.triton)
        time.sleep(3)
        stack.start_triton()
    all_honest(fault.answers, "unavailable")
    assert refusals(fault.of("identify"))
    assert max(a.seconds for a in fault.answers) < WORK_S


def test_triton_hangs(stack: Stack, watch: Watch) -> None:
    with watch("Triton stopped (SIGSTOP)") as fault, stopped(stack.triton.pid):
        time.sleep(TRITON_TIMEOUT_S + 3)
    all_honest(fault.answers, "unavailable")
    # Maybe only of those that were under way when it began: the next ones may be saved by its end.
    assert "did not answer within" in " ".join(a.detail for a in refusals(fault.answers))
    assert max(a.seconds for a in fault.answers) < TRITON_TIMEOUT_S + WORK_S


def test_triton_without_the_model(stack: Stack, watch: Watch) -> None:
    model = f"/v2/repository/models/{stack.settings.model}"
    with watch("the model unloaded from Triton") as fault, triton.client(stack.folder) as client:
        client.post(f"{model}/unload").raise_for_status()
        time.sleep(3)
        client.post(f"{model}/load", timeout=60).raise_for_status()
    all_honest(fault.answers, "unavailable")
    assert refusals(fault.of("identify"))
    assert max(a.seconds for a in fault.answers) < WORK_S


# --- S3 ------------------------------------------------------------------------------------------


def test_s3_is_killed_and_started_again(stack: Stack, watch: Watch) -> None:
    with watch("S3 killed") as fault:
        kill(stack.s3)
        time.sleep(5)
        stack.start_s3()
    assert refusals(fault.of("identify")) == []
    assert refusals(fault.of("enrol"))
    all_honest(fault.answers, "unavailable")
    assert max(a.seconds for a in fault.answers) < WORK_S


def test_s3_hangs(stack: Stack, watch: Watch) -> None:
    before = unconfirmed(stack)
    with watch("S3 stopped (SIGSTOP)") as fault, stopped(stack.s3.pid):
        time.sleep(TIMEOUT_S + 4)
        ready = httpx.get(f"{stack.settings.url}/readyz", timeout=60)
    assert ready.elapsed.total_seconds() < TIMEOUT_S
    assert ready.status_code == 200, ready.text
    assert refusals(fault.of("identify")) == []
    assert max(a.seconds for a in fault.of("identify")) < FRESHNESS_S + WORK_S
    assert [a for a in refusals(fault.answers) if a.what == "enrol"]
    all_honest(fault.answers, "unavailable", "timed-out")
    assert max(a.seconds for a in fault.answers) < TIMEOUT_S + WORK_S
    wait_until(lambda: unconfirmed(stack) > before, 30)  # Ray gathers them every few seconds


def unconfirmed(stack: Stack) -> float:
    """Searches that were answered from memory since the store could not be asked."""
    page = httpx.get(f"http://{LOOPBACK}:{PORT + 11}/metrics", timeout=30).text
    name = "ray_faces_gallery_unconfirmed_total{"
    return sum(float(x.rpartition(" ")[2]) for x in page.splitlines() if x.startswith(name))


def test_s3_is_full(stack: Stack, watch: Watch) -> None:
    kill(stack.s3)
    stack.start_s3(S3_ELSEWHERE)
    with (
        proxied(S3_ELSEWHERE, stack.settings.s3_port) as wire,
        watch("S3 full (507 to each PUT)") as fault,
        wire.during("PUT", "", answer(507, "InsufficientStorage")),
    ):
        time.sleep(5)
    assert refusals(fault.of("identify")) == []
    full = fault.of("enrol")
    assert refusals(full)
    assert {(a.status, a.type) for a in full} <= {(503, "unavailable"), (200, "")}
    assert all("InsufficientStorage" in a.detail for a in refusals(full))
    kill(stack.s3)
    stack.start_s3()


# --- replicas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["decode", "detect", "match", "ingress"])
def test_a_replica_is_killed(stack: Stack, load: Load, watch: Watch, stage: str) -> None:
    application = stack.application.pid
    before = replicas(application, stage)
    with watch(f"a replica of {stage} killed") as fault:
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: not alive(before[0]), 5)
        # It mends itself: over when all are there again and serve.
        wait_until(lambda: len(replicas(application, stage)) == len(before), RECOVERY_S)
        load.recovered(time.monotonic(), ("identify", "enrol"), RECOVERY_S)
    refused = refusals(fault.answers)
    if stage == "ingress":  # the only one: nobody is there to give an answer
        assert {a.status for a in refused} <= {NO_ANSWER, 502, 503}
    else:
        # Those who wait for the only replica of a stage are served by the next one, in time or not.
        all_honest(fault.answers, "unavailable", "overloaded", "timed-out")
    assert max(a.seconds for a in fault.answers) < TIMEOUT_S + WORK_S


# --- clients -------------------------------------------------------------------------------------


def test_clients_go_away(stack: Stack, load: Load, watch: Watch, data: Path) -> None:
    """Whoever left takes no place and no work from those who stay."""
    photo = (data / "group.jpg").read_bytes()
    wrong = errors_of(stack)
    gone: list[logs.Line] = []
    with watch("clients that leave in mid-request") as fault:
        for burst, size in enumerate((len(photo), len(photo) // 2, len(photo), 100, len(photo))):
            leaving = [Leaving(photo, size, f"left-{burst}-{n}") for n in range(IN_FLIGHT - 8)]
            time.sleep(0.2)
            for client in leaving:
                client.leave()
            # Their places are free again before others come.
            gone += logs.wait_for(stack.folder, [client.id for client in leaving])
        left = time.monotonic()
    # Without an end of the work for those who left it would be those of five bursts.
    first = min(a.came for a in load.answers if a.what == "identify" and a.sent > left)
    assert first < left + WORK_S
    assert refusals(fault.answers) == []
    # Some had their answer before they left.
    assert {line["status"] for line in gone} <= {200, 499}
    gone = [line for line in gone if line["status"] == 499]
    assert len(gone) > IN_FLIGHT
    assert max(line["ms"] for line in gone) < 1000 * WORK_S
    assert errors_of(stack) == wrong


class Leaving:
    """A client who sends a part of his photo, or all of it, and does not wait for the answer."""

    def __init__(self, photo: bytes, size: int, id_: str) -> None:
        self.id = id_
        self._connection = socket.create_connection((LOOPBACK, PORT))
        head = (
            f"POST /infer HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Type: image/jpeg\r\n"
            f"Content-Length: {len(photo)}\r\nX-Request-ID: {id_}\r\n\r\n"
        )
        self._connection.sendall(head.encode() + photo[:size])

    def leave(self) -> None:
        self._connection.close()


def identified_since(stack: Stack, start: datetime.datetime) -> list[logs.Line]:
    """The lines of the access log."""
    lines = logs.lines(stack.folder, "_ingress_")
    lines = (x for x in lines if x["asctime"] > f"{start:%F %T}" and x["name"] == logs.ACCESS)
    return [x for x in lines if x["route"] == "/infer"]


def errors_of(stack: Stack) -> list[str]:
    """What the replicas took for bugs."""
    return [x["message"] for x in logs.lines(stack.folder) if x["levelname"] == "ERROR"]


def test_more_clients_than_can_be_served(stack: Stack, watch: Watch, photos: list[bytes]) -> None:
    answers: list[httpx.Response] = []
    start = datetime.datetime.now()

    async def crowd() -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=stack.settings.url, limits=limits) as client:
            until = time.monotonic() + 10

            async def one(photo: bytes) -> None:
                while time.monotonic() < until:
                    headers = {"Content-Type": "image/jpeg"}
                    got = await client.post("/infer", content=photo, headers=headers, timeout=60)
                    answers.append(got)
                    if got.status_code != 200:
                        await asyncio.sleep(float(got.headers.get("Retry-After", 1)))

            await asyncio.gather(*(one(photo) for photo in (photos * 40)[:100]))

    with watch("100 clients more than can be served") as fault:
        asyncio.run(crowd())
    kinds = {a.json().get("type", "answer").rpartition(":")[2] for a in answers}
    # The others where a busy machine makes Triton late, or all of it.
    honest = {"overloaded", "unavailable", "timed-out"}
    assert {"answer", "overloaded"} <= kinds <= {"answer", *honest}
    # As the service measures it; its clients here have to wait for a busy machine, too.
    slowest = max(line["ms"] for line in identified_since(stack, start))
    assert slowest < 1000 * (TIMEOUT_S + WORK_S)
    all_honest(fault.answers, *honest)
    health = [a for a in fault.answers if a.what == "health"]
    assert max(a.seconds for a in health) < WORK_S
