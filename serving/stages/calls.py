"""Calling a stage: what Ray makes of a failure becomes an error of the tree.

The caller's trace and deadline, and who it is, go with every call, beside the arguments.

Small values go by gRPC ("by value"), which is the faster way. There an ObjectRef would be pickled
behind Ray's back, and what it refers to pinned for as long as the process lives. So a call whose
arguments hold one, or whose answer is large, goes by Ray's own calls ("by reference"), which store
the answer. Of the arguments that is seen before, of the answer only by the stage, which then asks
for another call: nobody can forget it.

What an answer holds, Ray stores as the caller's own. A reference in it to something of the stage's
(`ray.put` there) would not do: Serve's calls are generators, and while Ray hears of what is in an
item by two ways, about one in a hundred is let go of before its caller has it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any, TypeVar

import grpc
from ray.exceptions import (
    ObjectLostError,
    OufOfBandObjectRefSerializationException,
    RayError,
    RayTaskError,
)
from ray.serve.exceptions import BackPressureError, RayServeException

from serving import deadline, garbage, tracing
from serving.actor import acting
from serving.actor import current as current_actor
from serving.errors import NotConfirmed, Overloaded, ServingError, Unavailable
from serving.stages import refs
from serving.telemetry.clock import ClockGauge

T = TypeVar("T")

_DIED_WORKING = "A replica went away while it worked on this request; send it again."
_DIED_WRITING = (
    "A replica went away while it wrote: look whether it is there before you send it again."
)


class _Instead(Enum):
    """By value: what a stage says instead of an answer that can only go by reference."""

    TOO_LARGE = "too large for a message"


# Of the twin of a stage's method that leaves its answer in Ray's store, see `make`.
_LEAVING = "_and_leave"


def stage(deployment: type[T]) -> type[T]:
    """Class decorator of a stage: its methods go on with the caller's trace and deadline, of which
    they themselves see nothing; and each has a twin for `make`."""
    for name, method in list(vars(deployment).items()):
        if inspect.iscoroutinefunction(method) and not name.startswith("_"):
            going_on = _going_on(f"{deployment.__name__}.{name}", method)
            setattr(deployment, name, going_on)
            setattr(deployment, name + _LEAVING, _leaving(going_on))
    deployment.is_stage = True  # type: ignore[attr-defined]
    return deployment


@functools.cache
def _clock() -> ClockGauge:
    """Made by the first call: whoever only calls stages has none."""
    return ClockGauge()


def _going_on(name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def go_on(
        *args: Any,
        trace: Mapping[str, str] | None = None,
        until: deadline.Left | None = None,
        by_value: bool = False,
        actor: str | None = None,
        **more: Any,
    ) -> Any:
        if until is not None and until.ahead_s is not None:
            _clock().seen(until.ahead_s)
        own_until = None if until is None else until.until
        with deadline.until(own_until), tracing.continued(name, trace), acting(actor):
            deadline.check()
            try:
                answer = await method(*args, **more)
            except asyncio.CancelledError:
                garbage.collect_soon()
                raise
            return _Instead.TOO_LARGE if by_value and _is_reference(answer) else answer

    return go_on


def _leaving(going_on: Callable[..., Awaitable[Any]]) -> Callable[..., AsyncIterator[Any]]:
    async def leave(*args: Any, **beside: Any) -> AsyncIterator[Any]:
        answer = await going_on(*args, **beside)
        yield answer.held[0]
        # Past a value for which there is no room Ray does not go on.
        yield answer.work_ms

    return leave


def _is_reference(value: Any) -> bool:
    return isinstance(value, refs.Ref) and not value.small


async def call(method: Any, *args: Any) -> Any:
    """Await ``method.remote(*args)`` of a deployment's handle.

    An answer that turns out to be a large `Ref` is made twice; see `fetch`.

    Raises:
        ServingError: what the stage raised; `Overloaded` when too many calls wait for it already;
            `NoRoom` when Ray's object store is full; `Lost` when the answer has gone with its node;
            `Unavailable` when its replica died.
    """
    if not any(map(_is_reference, args)):
        answer = await _call(_by_value, method, args, Unavailable(_DIED_WORKING))
        if answer is not _Instead.TOO_LARGE:
            return answer
    return await fetch(method, *args)


async def fetch(method: Any, *args: Any) -> Any:
    """`call` of what mostly answers with a large `Ref`: by reference from the start."""
    return await _call(_by_reference, method, args, Unavailable(_DIED_WORKING))


async def make(method: Any, *args: Any) -> refs.Ref[Any]:
    """`fetch` without fetching: a reference to what the `Ref` in the answer holds, for the
    arguments of another call. It is in Ray's store when this returns."""
    made: refs.Ref[Any] = await _call(_left, method, args, Unavailable(_DIED_WORKING))
    return made


async def write(method: Any, *args: Any) -> Any:
    """`call` of what changes the gallery. Neither arguments nor answer are a `Ref`.

    Raises:
        NotConfirmed: the replica died, and whether it has written nobody knows.
    """
    answer = await _call(_by_value, method, args, NotConfirmed(_DIED_WRITING))
    if answer is _Instead.TOO_LARGE:  # to write twice would be wrong
        raise TypeError(f"{method.deployment_name} answers a write with a Ref.")
    return answer


async def _call(
    way: Callable[[Any, tuple[Any, ...], Mapping[str, Any]], Awaitable[Any]],
    method: Any,
    args: tuple[Any, ...],
    died: Unavailable,
) -> Any:
    beside: dict[str, Any] = {}
    if trace := tracing.carrier():
        beside["trace"] = trace
    if (until := deadline.current()) is not None:
        beside["until"] = deadline.Left(until)
    if (who := current_actor()) is not None:
        beside["actor"] = who
    try:
        return await way(method, args, beside)
    except BackPressureError:
        raise Overloaded(
            f"Too many requests wait for {method.deployment_name}; try again in a moment."
        ) from None
    except (RayError, RayServeException, grpc.RpcError) as error:
        # A stage's own exception comes wrapped, with a traceback for a text.
        cause = error.cause if isinstance(error, RayTaskError) else None
        if isinstance(cause, ServingError):
            raise cause from None
        if isinstance(cause or error, refs.FULL):
            raise refs.no_room() from None
        if isinstance(error, ObjectLostError):
            raise refs.lost() from None
        if isinstance(cause or error, OufOfBandObjectRefSerializationException):
            raise  # a bug: what it refers to would stay for ever
        if isinstance(error, RayTaskError) and not isinstance(cause, RayError):
            raise  # a bug in the stage
        raise died from error


async def _by_value(method: Any, args: tuple[Any, ...], beside: Mapping[str, Any]) -> Any:
    return await method.remote(*args, **beside, by_value=True)


async def _by_reference(method: Any, args: tuple[Any, ...], beside: Mapping[str, Any]) -> Any:
    response = method.options(_by_reference=True).remote(*args, **beside)
    with _cancelled(response):
        return await response


async def _left(method: Any, args: tuple[Any, ...], beside: Mapping[str, Any]) -> refs.Ref[Any]:
    twin = method.handle_options.method_name + _LEAVING
    leaving = method.options(method_name=twin, stream=True, _by_reference=True)
    response = leaving.remote(*args, **beside)
    with _cancelled(response):
        items = await response._to_object_ref_gen()
        value = await anext(items)
        async for work_ms in items:
            return refs.Ref((value,), False, await work_ms)
        # In its place is what went wrong.
        raise AssertionError(f"{twin} ended without a word: {type(await value)}")


@contextmanager
def _cancelled(response: Any) -> Iterator[None]:
    """Cancel the call when its caller gives up, as gRPC does by itself."""
    try:
        yield
    except asyncio.CancelledError:
        response.cancel()
        garbage.collect_soon()
        raise
