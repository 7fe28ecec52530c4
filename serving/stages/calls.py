"""Calling a stage: what Ray makes of a failure becomes an error of the tree.

The caller's trace and deadline go with every call, beside the arguments.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException

from serving import deadline, tracing
from serving.errors import NotConfirmed, Overloaded, ServingError, Unavailable

T = TypeVar("T")

_DIED_WORKING = "A replica went away while it worked on this request; send it again."
_DIED_WRITING = (
    "A replica went away while it wrote: look whether it is there before you send it again."
)


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
        *args: Any, trace: Mapping[str, str] | None = None, until: float | None = None, **more: Any
    ) -> Any:
        with deadline.until(until), tracing.continued(name, trace):
            deadline.check()
            return await method(*args, **more)

    return go_on


async def call(method: Any, *args: Any) -> Any:
    """Await ``method.remote(*args)`` of a deployment's handle.

    Raises:
        ServingError: what the stage raised; `Overloaded` when too many calls wait for it already;
            `Unavailable` when its replica died.
    """
    return await _call(method, args, Unavailable(_DIED_WORKING))


async def write(method: Any, *args: Any) -> Any:
    """`call` of what changes the gallery.

    Raises:
        NotConfirmed: the replica died, and whether it has written nobody knows.
    """
    return await _call(method, args, NotConfirmed(_DIED_WRITING))


async def _call(method: Any, args: tuple[Any, ...], died: Unavailable) -> Any:
    beside: dict[str, Any] = {}
    if trace := tracing.carrier():
        beside["trace"] = trace
    if (until := deadline.current()) is not None:
        beside["until"] = until
    try:
        return await method.remote(*args, **beside)
    except BackPressureError:
        raise Overloaded(
            f"Too many requests wait for {method.deployment_name}; try again in a moment."
        ) from None
    except (RayError, RayServeException, grpc.RpcError) as error:
        # A stage's own exception comes wrapped, with a traceback for a text.
        cause = error.cause if isinstance(error, RayTaskError) else None
        if isinstance(cause, ServingError):
            raise cause from None
        if isinstance(error, RayTaskError) and not isinstance(cause, RayError):
            raise  # a bug in the stage
        raise died from error
