"""Calling a stage: what Ray makes of a failure becomes an error of the tree."""

from __future__ import annotations

from typing import Any

import grpc
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException

from serving import tracing
from serving.errors import Overloaded, ServingError, Unavailable


async def call(method: Any, *args: Any) -> Any:
    """Await ``method.remote(*args)`` of a deployment's handle.

    Raises:
        ServingError: what the stage raised; `Overloaded` when too many calls wait for it already;
            `Unavailable` when its replica died.
    """
    trace = tracing.carrier()
    try:
        return await (method.remote(*args, trace=trace) if trace else method.remote(*args))
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
        raise Unavailable(
            "A replica went away while it worked on this request; send it again."
        ) from error
