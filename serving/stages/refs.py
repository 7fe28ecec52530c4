"""What one deployment makes for another: a small value as it is, a large one by reference.

Serve's gRPC mode refuses messages over 4 MiB, and a photo is often larger. Then it lies in Ray's
object store where it was made and is read where it is needed; the stages in between hand on a few
bytes. Storing and reading take milliseconds, which a small value need not spend.

A value in the store belongs to whoever called the stage, see `serving.stages.calls`, and goes as
soon as nobody there refers to it any more; or with the node that it lies on, while the next stage
may still have it in its queue.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

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
    """The value has gone with its node; it can be made again."""


@dataclass(frozen=True)
class Ref(Generic[T]):
    """A value, or a reference to it in Ray's object store.

    An ObjectRef lies inside a tuple: as a bare argument, Ray would resolve it before the call.

    Attributes:
        small: it may go in a message.
        work_ms: milliseconds that the stage which made the value worked on it.
    """

    held: tuple[Any]
    small: bool
    work_ms: float = 0.0

    async def get(self) -> T:
        """The value. Arrays in it are read-only where they are views of shared memory.

        Raises:
            Lost: it has gone with its node.
        """
        value = self.held[0]
        try:
            return cast(T, await value if inspect.isawaitable(value) else value)
        except ObjectLostError:
            raise lost() from None


def made(value: T, nbytes: int | None = None, work_ms: float = 0.0) -> Ref[T]:
    """What a stage answers with, of about so many bytes; None: nobody knows how many. Ray stores it
    if it is large."""
    return Ref((value,), nbytes is not None and nbytes <= _SMALL, work_ms)


async def put(value: T, nbytes: int) -> Ref[T]:
    """Store ``value``, of about so many bytes, unless it is small: for those who call stages. In an
    answer Ray loses sight of what was put, and lets go of it too early.

    The copy into shared memory runs in a thread.

    Raises:
        NoRoom: Ray's object store is full.
    """
    if nbytes <= _SMALL:
        return Ref((value,), True)
    try:
        return Ref((await asyncio.to_thread(ray.put, value),), False)
    except FULL:
        raise no_room() from None


def no_room() -> NoRoom:
    return NoRoom(
        "The photos that are under way take all the room there is; try again in a moment."
    )


def lost() -> Lost:
    return Lost("A replica went away with what it had made for this request; send it again.")


async def kept(make: Callable[[], Awaitable[T]]) -> T:
    """What ``make`` makes, by way of references; once more when one of them is lost."""
    try:
        return await make()
    except Lost:
        return await make()
