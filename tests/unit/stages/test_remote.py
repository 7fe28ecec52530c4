"""Each call of a stage: the method of that name, with the caller's arguments in their order."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Any

import pytest
from ray.exceptions import RayActorError

from serving.errors import NotConfirmed, Unavailable
from serving.stages import interfaces
from serving.stages.refs import Ref
from serving.stages.remote import RemoteDecode, RemoteDetect, RemoteMatch
from tests.support.stages import Handle, Method

STAGES = [
    (interfaces.Decode, RemoteDecode),
    (interfaces.Detect, RemoteDetect),
    (interfaces.Match, RemoteMatch),
]
METHODS = [
    (remote, name, list(inspect.signature(method).parameters)[1:])
    for protocol, remote in STAGES
    for name, method in vars(protocol).items()
    if inspect.iscoroutinefunction(method)
]
WRITES = ("enrol", "change", "move", "undo", "tell", "rename", "remove", "erase")


class Stage:
    """Answers every method with its name and arguments."""

    failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        async def method(*args: Any) -> Any:
            if self.failure is not None:
                raise self.failure
            return name, *args

        return method


async def answer(call: Awaitable[Any]) -> Any:
    made = await call
    return await made.get() if isinstance(made, Ref) else made


def test_all_methods_are_here() -> None:
    assert len(METHODS) == 22


@pytest.mark.parametrize(("remote", "name", "parameters"), METHODS)
def test_arguments_arrive_as_they_were_given(remote: Any, name: str, parameters: list[str]) -> None:
    method = getattr(remote(Handle("stage", Stage())), name)
    assert list(inspect.signature(method).parameters) == parameters
    assert asyncio.run(answer(method(*parameters))) == (name, *parameters)
    by_name = {parameter: parameter for parameter in parameters}
    assert asyncio.run(answer(method(**by_name))) == (name, *parameters)


@pytest.mark.parametrize(("remote", "name", "parameters"), METHODS)
def test_a_change_that_may_have_been_written_is_said_to_be(
    remote: Any, name: str, parameters: list[str]
) -> None:
    stage = Stage()
    stage.failure = RayActorError()
    method = getattr(remote(Handle("stage", stage)), name)
    with pytest.raises(Unavailable) as caught:
        asyncio.run(method(*parameters))
    assert isinstance(caught.value, NotConfirmed) == (name in WRITES)


class Noting(Handle):
    """Keeps the methods that were asked for."""

    def __init__(self, name: str, stage: Any) -> None:
        super().__init__(name, stage)
        self.methods: list[Method] = []

    def __getattr__(self, method: str) -> Method:
        self.methods.append(super().__getattr__(method))
        return self.methods[-1]


@pytest.mark.parametrize(("remote", "name", "parameters"), METHODS)
def test_what_is_mostly_large_goes_by_reference_from_the_start(
    remote: Any, name: str, parameters: list[str]
) -> None:
    """Otherwise a photo would be decoded twice: once to learn that it is large."""
    handle = Noting("stage", Stage())
    asyncio.run(getattr(remote(handle), name)(*parameters))
    (method,) = handle.methods
    assert method.by_reference == [name in ("decode", "detect_crowd", "duplicates")]
