"""What Ray makes of a stage's failure, and what the caller of the stage gets."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from ray.exceptions import RayActorError, RayError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from serving import deadline
from serving.errors import (
    GalleryCorrupt,
    NotConfirmed,
    Overloaded,
    ServingError,
    TimedOut,
    TooLarge,
    Unavailable,
)
from serving.stages.calls import call, stage, write
from tests.support.stages import Method, wrapped


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
    late = time.time() + 60
    assert asyncio.run(ask(late)) == late
    with pytest.raises(TimedOut):
        asyncio.run(ask(time.time() - 1))
    assert made.asked == [(7,)] * 2  # the late one was not begun


@pytest.mark.parametrize("bug", [ZeroDivisionError("7 / 0"), KeyError("x")])
def test_a_bug_in_a_stage_stays_a_bug(bug: Exception) -> None:
    error = raised_by(wrapped(bug))
    assert isinstance(error, type(bug))
    assert not isinstance(error, ServingError)


def test_a_bug_before_the_call_stays_a_bug() -> None:
    assert type(raised_by(TypeError("no such argument"))) is TypeError
