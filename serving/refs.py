"""Large values travel between deployments by reference, through Ray's object store.

Serve's gRPC mode refuses messages over 4 MiB, and a photo is often larger. A value is put where it
is made and read where it is needed; the stages in between hand on a few bytes.

A value goes with the replica that put it, also when Serve stops that one in good order while the
next stage still has it in its queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import ObjectLostError

from serving.errors import Unavailable

T = TypeVar("T")


class Lost(Unavailable):
    """The value has gone with the replica that put it; it can be made again."""


@dataclass(frozen=True)
class Ref(Generic[T]):
    """A reference to a value in Ray's object store.

    The ObjectRef lies inside a tuple: as a bare argument, Ray would resolve it before the call.
    """

    held: tuple[Any]

    async def get(self) -> T:
        """The value. Arrays in it are read-only views of shared memory. Raises `Lost`."""
        try:
            value: T = await self.held[0]
        except ObjectLostError:
            raise Lost(
                "A replica went away with what it had made for this request; send it again."
            ) from None
        return value


async def put(value: T) -> Ref[T]:
    """Store ``value``; the copy into shared memory runs in a thread."""
    return Ref((await asyncio.to_thread(ray.put, value),))


async def kept(make: Callable[[], Awaitable[T]]) -> T:
    """What ``make`` makes, by way of references; once more when one of them is lost."""
    try:
        return await make()
    except Lost:
        return await make()
