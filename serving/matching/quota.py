"""The quota: how many people one collection may hold."""

from __future__ import annotations

from collections.abc import Sequence

from serving.errors import CollectionFull
from serving.gallery import Gallery, Kind, Operation, Snapshot

_ENROLS = (Kind.PUT, Kind.APPEND)


def check(gallery: Gallery, operations: Sequence[Operation], most: int) -> None:
    """Raise CollectionFull when the operations would enrol somebody new in a collection of ``most``
    people or more. Asks the store only when the people in memory are so many.

    What others enrol at the same moment is not counted: the quota bounds memory, for which a few
    more do not matter.

    Raises:
        Unavailable: the store is away.
    """
    if _exceeded(gallery.snapshot, operations, most):
        people = gallery.refresh()  # some may have been deleted
        if _exceeded(people, operations, most):
            raise CollectionFull(
                f"The collection holds {len(people):,} people, and match.max_people allows "
                f"{most:,}; delete some, or enrol in another collection."
            )


def _exceeded(people: Snapshot, operations: Sequence[Operation], most: int) -> bool:
    return len(people) >= most and any(o.kind in _ENROLS and o.id not in people for o in operations)
