"""Large values travel between deployments by reference, through Ray's object store.

Serve's gRPC mode refuses messages over 4 MiB, and a photo is often larger. A value is put where it
is made and read where it is needed; the stages in between hand on a few bytes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray

T = TypeVar("T")


@dataclass(frozen=True)
class Ref(Generic[T]):
    """A reference to a value in Ray's object store.

    The ObjectRef lies inside a tuple: as a bare argument, Ray would resolve it before the call.
    """

    held: tuple[Any]

    async def get(self) -> T:
        """The value. Arrays in it are read-only views of shared memory."""
        value: T = await self.held[0]
        return value


async def put(value: T) -> Ref[T]:
    """Store ``value``; the copy into shared memory runs in a thread."""
    return Ref((await asyncio.to_thread(ray.put, value),))
