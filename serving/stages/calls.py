"""Calling a stage: what Ray makes of a failure becomes an error of the tree.

The caller's trace and deadline go with every call, beside the arguments.

Small values go by gRPC ("by value"), which is the faster way. There an ObjectRef would be pickled
behind Ray's back, and what it refers to pinned for as long as the process lives. So a call whose
arguments or answer hold one goes by Ray's own calls ("by reference"). Of the arguments that is seen
before, of the answer only by the stage, which then asks for another call: nobody can forget it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

import grpc
from ray.exceptions import OufOfBandObjectRefSerializationException, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException

from serving import deadline, garbage, tracing
from serving.errors import NotConfirmed, Overloaded, ServingError, Unavailable
from serving.stages import refs

T = TypeVar("T")

_DIED_WORKING = "A replica went away while it worked on this request; send it again."
_DIED_WRITING = (
    "A replica went away while it wrote: look whether it is there before you send it again."
)


class _Instead(Enum):
    """By value: what a stage says instead of an answer that can only go by reference."""

    TOO_LARGE = "too large for a message"


def stage(deployment: type[T]) -> type[T]:
    """Class decorator of a stage: its methods go on with the caller's trace and deadline, of which
    they themselves see nothing."""
    for name, method in list(vars(deployment).items()):
        if inspect.iscoroutinefunction(method) and not name.startswith("_"):
            setattr(deployment, name, _going_on(f"{deployment.__name__}.{name}", method))
    deployment.is_stage = True  # type: ignore[attr-defined]
    return deployment


def _going_on(name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def go_on(
        *args: Any,
        trace: Mapping[str, str] | None = None,
        until: float | None = None,
        by_value: bool = False,
        **more: Any,
    ) -> Any:
        with deadline.until(until), tracing.continued(name, trace):
            deadline.check()
            try:
                answer = await method(*args, **more)
            except asyncio.CancelledError:
                garbage.collect_soon()
                raise
            return _Instead.TOO_LARGE if by_value and _is_reference(answer) else answer

    return go_on


def _is_reference(value: Any) -> bool:
    return isinstance(value, refs.Ref) and not value.small


async def call(method: Any, *args: Any) -> Any:
    """Await ``method.remote(*args)`` of a deployment's handle.

    An answer that turns out to be a large `Ref` is made twice; see `make`.

    Raises:
        ServingError: what the stage raised; `Overloaded` when too many calls wait for it already;
            `NoRoom` when Ray's object store is full; `Unavailable` when its replica died.
    """
    if not any(map(_is_reference, args)):
        answer = await _call(method, args, Unavailable(_DIED_WORKING))
        if answer is not _Instead.TOO_LARGE:
            return answer
    return await make(method, *args)


async def make(method: Any, *args: Any) -> Any:
    """`call` of what mostly answers with a large `Ref`: by reference from the start."""
    return await _call(method, args, Unavailable(_DIED_WORKING), by_reference=True)


async def write(method: Any, *args: Any) -> Any:
    """`call` of what changes the gallery. Neither arguments nor answer are a `Ref`.

    Raises:
        NotConfirmed: the replica died, and whether it has written nobody knows.
    """
    answer = await _call(method, args, NotConfirmed(_DIED_WRITING))
    if answer is _Instead.TOO_LARGE:  # to write twice would be wrong
        raise TypeError(f"{method.deployment_name} answers a write with a Ref.")
    return answer


async def _call(
    method: Any, args: tuple[Any, ...], died: Unavailable, by_reference: bool = False
) -> Any:
    beside: dict[str, Any] = {}
    if trace := tracing.carrier():
        beside["trace"] = trace
    if (until := deadline.current()) is not None:
        beside["until"] = until
    try:
        if not by_reference:
            return await method.remote(*args, **beside, by_value=True)
        response = method.options(_by_reference=True).remote(*args, **beside)
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()  # what gRPC does by itself
            garbage.collect_soon()
            raise
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
        if isinstance(cause or error, OufOfBandObjectRefSerializationException):
            raise  # a bug: what it refers to would stay for ever
        if isinstance(error, RayTaskError) and not isinstance(cause, RayError):
            raise  # a bug in the stage
        raise died from error
