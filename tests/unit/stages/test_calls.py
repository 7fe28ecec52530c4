"""What Ray makes of a stage's failure, and what the caller of the stage gets."""

from __future__ import annotations

import asyncio
import pickle
import time
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from ray.exceptions import (
    ObjectStoreFullError,
    OufOfBandObjectRefSerializationException,
    OutOfDiskError,
    OwnerDiedError,
    RayActorError,
    RayError,
    TaskCancelledError,
)
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from serving import deadline
from serving.errors import (
    GalleryCorrupt,
    NoRoom,
    NotConfirmed,
    Overloaded,
    ServingError,
    TimedOut,
    TooLarge,
    Unavailable,
)
from serving.stages import calls
from serving.stages.calls import call, fetch, make, stage, write
from serving.stages.refs import Lost, Ref
from tests.support.stages import Held, Method, wrapped


def raised_by(failure: Exception) -> BaseException:
    async def stage(*args: Any) -> None:
        raise failure

    with pytest.raises(BaseException) as caught:  # noqa: PT011  # any, to look at it
        asyncio.run(call(Method("detect", stage), 7))
    return caught.value


def test_an_answer_comes_back_and_arguments_arrive() -> None:
    async def stage(*args: Any) -> Any:
        return args

    assert asyncio.run(call(Method("detect", stage), 7, "x")) == (7, "x")


@pytest.mark.parametrize("cause", [TooLarge("Send less."), GalleryCorrupt("Damaged.")])
def test_a_stages_own_error_arrives_as_it_was_raised(cause: ServingError) -> None:
    error = raised_by(wrapped(cause))
    assert type(error) is type(cause)
    assert str(error) == str(cause)  # and not Ray's text, which holds the traceback


def test_too_many_waiting_is_overload_and_names_the_stage() -> None:
    error = raised_by(BackPressureError(num_queued_requests=64, max_queued_requests=64))
    assert isinstance(error, Overloaded)
    assert "detect" in str(error)


@pytest.mark.parametrize(
    "failure",
    [
        RayActorError(),
        DeploymentUnavailableError.__new__(DeploymentUnavailableError),
        grpc.RpcError("unavailable"),
        RayError("the object is lost"),
        wrapped(RayActorError()),
        wrapped(TaskCancelledError()),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_replica_that_went_away_can_be_asked_again(failure: Exception) -> None:
    error = raised_by(failure)
    assert type(error) is Unavailable
    assert "send it again" in str(error)


def test_a_replica_that_went_away_while_it_wrote_may_have_written() -> None:
    async def stage(*args: Any) -> None:
        raise RayActorError

    with pytest.raises(NotConfirmed, match="before you send it again"):
        asyncio.run(write(Method("match", stage), 7))


@stage
class Stage:
    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def work(self, *args: Any) -> float | None:
        self.asked.append(args)
        return deadline.current()


def test_the_deadline_goes_with_the_call() -> None:
    made = Stage()

    async def ask(until: float | None) -> Any:
        with deadline.until(until):
            return await call(Method("work", made.work), 7)

    assert asyncio.run(ask(None)) is None
    late = time.monotonic() + 60
    assert asyncio.run(ask(late)) == pytest.approx(late, abs=0.5)
    with pytest.raises(TimedOut):
        asyncio.run(ask(time.monotonic() - 1))
    assert made.asked == [(7,)] * 2  # the late one was not begun


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0])
def test_a_stage_whose_clock_is_an_hour_off_works_as_any(
    monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    seen: list[float] = []
    monkeypatch.setattr(calls, "_clock", lambda: SimpleNamespace(seen=seen.append))
    made = Stage()
    on_the_way = pickle.dumps({"until": deadline.Left(time.monotonic() + 60)})
    too_late = pickle.dumps({"until": deadline.Left(time.monotonic() - 0.1)})
    # From here on it is the other machine.
    wall, monotonic = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: wall() + ahead_s)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 1e6)
    until = asyncio.run(made.work(**pickle.loads(on_the_way)))
    assert until is not None
    assert until - time.monotonic() == pytest.approx(60, abs=1)
    assert seen == [pytest.approx(ahead_s, abs=1)]
    with pytest.raises(TimedOut):
        asyncio.run(made.work(**pickle.loads(too_late)))
    assert len(made.asked) == 1


def test_the_time_in_the_callers_queue_counts() -> None:
    """Serve serializes a call once it has a replica for it."""
    queued = deadline.Left(time.monotonic() + 60)
    first = pickle.loads(pickle.dumps(queued))
    time.sleep(0.3)
    second = pickle.loads(pickle.dumps(queued))
    assert second.until == pytest.approx(first.until, abs=0.1)
    assert pickle.loads(pickle.dumps(first)).until == pytest.approx(first.until, abs=0.1)


SMALL: Ref[Any] = Ref((7,), True)
LARGE: Ref[Any] = Ref((Held(7),), False)


@stage
class Makes:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def work(self, *args: Any) -> Any:
        return self.answer

    async def hang(self, *args: Any) -> Any:
        await asyncio.sleep(10)


class Fails:
    def __init__(self, failure: Any) -> None:
        self.failure = failure

    async def work(self, *args: Any) -> Any:
        """Its twin is what is called."""

    async def work_and_leave(self, *args: Any, **beside: Any) -> Any:
        if isinstance(self.failure, Exception):
            raise self.failure
        yield self.failure


@pytest.mark.parametrize(
    ("args", "answer", "by_reference"),
    [
        ((7, [8]), np.zeros(3), [False]),
        ((7,), SMALL, [False]),
        ((SMALL,), SMALL, [False]),
        ((7, LARGE), None, [True]),
        ((LARGE,), SMALL, [True]),
        ((LARGE,), LARGE, [True]),
        # Which nobody knew before.
        ((7,), LARGE, [False, True]),
        ((SMALL,), LARGE, [False, True]),
    ],
)
def test_what_holds_a_reference_goes_by_reference(
    args: tuple[Any, ...], answer: Any, by_reference: list[bool]
) -> None:
    method = Method("decode", Makes(answer).work)
    assert asyncio.run(call(method, *args)) is answer
    assert method.by_reference == by_reference


def test_what_mostly_answers_with_a_reference_is_made_once() -> None:
    method = Method("decode", Makes(LARGE).work)
    assert asyncio.run(fetch(method, SMALL)) is LARGE
    assert method.by_reference == [True]


@pytest.mark.parametrize("small", [True, False])
def test_what_is_for_another_stage_stays_where_it_is(small: bool) -> None:
    method = Method("decode", Makes(Ref((b"photo",), small, 3.5)).work)

    async def hand_on() -> tuple[Ref[bytes], bytes]:
        made = await make(method, SMALL)
        return made, await made.get()

    made, photo = asyncio.run(hand_on())
    assert (photo, made.work_ms, made.small) == (b"photo", 3.5, False)
    assert method.by_reference == [True]


def test_what_cannot_be_made_is_told_at_once() -> None:
    """And not to the stage that it was for."""
    for failure, meant in (
        (wrapped(TooLarge("Send less.")), TooLarge),
        (wrapped(OutOfDiskError("full")), NoRoom),
        (RayActorError(), Unavailable),
        (wrapped(ZeroDivisionError("7 / 0")), ZeroDivisionError),
        # In the value's place, after it was made.
        (Held(wrapped(OutOfDiskError("full"))), NoRoom),
    ):
        with pytest.raises(meant):
            asyncio.run(make(Method("decode", Fails(failure).work), SMALL))


def test_an_answer_that_has_gone_with_its_node_can_be_made_again() -> None:
    assert type(raised_by(OwnerDiedError.__new__(OwnerDiedError))) is Lost


def test_nothing_is_written_twice() -> None:
    method = Method("match", Makes(LARGE).work)
    with pytest.raises(TypeError, match="match answers a write with a Ref"):
        asyncio.run(write(method, 7))
    assert method.by_reference == [False]


def test_a_reference_that_a_call_hides_is_a_bug() -> None:
    """Ray would keep what it refers to for ever, and here refuses the call."""
    refused = OufOfBandObjectRefSerializationException("It is not allowed to serialize.")
    for failure in (refused, wrapped(refused)):
        assert isinstance(raised_by(failure), OufOfBandObjectRefSerializationException)


@pytest.mark.parametrize("full", [ObjectStoreFullError("full"), OutOfDiskError("full")])
def test_a_store_that_is_full_is_said_so_and_when_to_come_again(full: Exception) -> None:
    for failure in (full, wrapped(full)):
        error = raised_by(failure)
        assert type(error) is NoRoom
        assert (error.status, error.retry_after) == (503, 1)


def test_a_call_by_reference_that_is_given_up_is_cancelled() -> None:
    method = Method("decode", Makes(None).hang)

    async def give_up() -> None:
        await asyncio.wait_for(call(method, LARGE), 0.01)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(give_up())
    assert method.cancelled == 1


@pytest.mark.parametrize("bug", [ZeroDivisionError("7 / 0"), KeyError("x")])
def test_a_bug_in_a_stage_stays_a_bug(bug: Exception) -> None:
    error = raised_by(wrapped(bug))
    assert isinstance(error, type(bug))
    assert not isinstance(error, ServingError)


def test_a_bug_before_the_call_stays_a_bug() -> None:
    assert type(raised_by(TypeError("no such argument"))) is TypeError
