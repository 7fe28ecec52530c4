"""What one deployment makes for another: a small value as it is, a large one by reference.

Serve's gRPC mode refuses messages over 4 MiB, and a photo is often larger. It is put into Ray's
object store where it is made and read where it is needed; the stages in between hand on a few
bytes. Putting and reading take milliseconds, which a small value need not spend.

A value in the store goes with the replica that put it, while the next stage may still have it in
its queue. Otherwise it goes as soon as nobody refers to it any more, which Ray knows as long as
references travel in its own calls: see `serving.stages.calls`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import ObjectLostError, ObjectStoreFullError, OutOfDiskError

from serving.errors import NoRoom, Unavailable

T = TypeVar("T")

# Well below what a message may have: pickled, the value is larger than its parts.
_SMALL = 2**20

# What Ray raises when its store is full: the first where it waits for room, the second where it may
# neither spill nor allocate on the disk.
FULL = (ObjectStoreFullError, OutOfDiskError)


class Lost(Unavailable):
    """The value has gone with the replica that put it; it can be made again."""


@dataclass(frozen=True)
class Ref(Generic[T]):
    """A value, or a reference to it in Ray's object store.

    An ObjectRef lies inside a tuple: as a bare argument, Ray would resolve it before the call.

    Attributes:
        work_ms: milliseconds that the stage which made the value worked on it.
    """

    held: tuple[Any]
    small: bool
    work_ms: float = 0.0

    async def get(self) -> T:
        """The value. Arrays in it are read-only where they are views of shared memory.

        Raises:
            Lost: the replica that put it is gone.
        """
        try:
            value: T = self.held[0] if self.small else await self.held[0]
        except ObjectLostError:
            raise Lost(
                "A replica went away with what it had made for this request; send it again."
            ) from None
        return value


async def put(value: T, nbytes: int | None = None, work_ms: float = 0.0) -> Ref[T]:
    """Store ``value``, of about so many bytes, unless it is small.

    The copy into shared memory runs in a thread. None: nobody knows how large it is.

    Raises:
        NoRoom: Ray's object store is full.
    """
    if nbytes is not None and nbytes <= _SMALL:
        return Ref((value,), True, work_ms)
    try:
        held = await asyncio.to_thread(ray.put, value)
    except FULL:
        raise no_room() from None
    return Ref((held,), False, work_ms)


def no_room() -> NoRoom:
    return NoRoom(
        "The photos that are under way take all the room there is; try again in a moment."
    )


async def kept(make: Callable[[], Awaitable[T]]) -> T:
    """What ``make`` makes, by way of references; once more when one of them is lost."""
    try:
        return await make()
    except Lost:
        return await make()
