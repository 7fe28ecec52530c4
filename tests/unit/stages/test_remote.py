"""Each call of a stage: the method of that name, with the caller's arguments in their order."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from ray.exceptions import RayActorError

from serving.errors import NotConfirmed, Unavailable
from serving.stages import interfaces
from serving.stages.remote import RemoteDecode, RemoteDetect, RemoteMatch
from tests.support.stages import Handle

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
WRITES = ("enrol", "change", "erase")


class Stage:
    """Answers every method with its name and arguments."""

    failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        async def method(*args: Any) -> Any:
            if self.failure is not None:
                raise self.failure
            return name, *args

        return method


def test_all_methods_are_here() -> None:
    assert len(METHODS) == 12


@pytest.mark.parametrize(("remote", "name", "parameters"), METHODS)
def test_arguments_arrive_as_they_were_given(remote: Any, name: str, parameters: list[str]) -> None:
    method = getattr(remote(Handle("stage", Stage())), name)
    assert list(inspect.signature(method).parameters) == parameters
    assert asyncio.run(method(*parameters)) == (name, *parameters)
    by_name = {parameter: parameter for parameter in parameters}
    assert asyncio.run(method(**by_name)) == (name, *parameters)


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
