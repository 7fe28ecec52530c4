"""Objects that are written once: of two runs one writes, and the other sees that."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from serving.errors import CommitConflict, StoreUnfit, Unavailable
from serving.gallery.store import DescribedStore, NotFound, PreconditionFailed

_TRIES = 4


def create(
    store: DescribedStore,
    key: str,
    data: bytes,
    metadata: Mapping[str, str],
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Write an object, again after a failure. False: another run's is there.

    Args:
        metadata: with ``run``, by which the own write is recognised.

    Raises:
        Unavailable: the store is away; whether it is written is open.
    """
    for attempt in range(1, _TRIES):
        try:
            return _created(store, key, data, metadata)
        except StoreUnfit:
            raise
        except (Unavailable, NotFound):
            sleep(random.uniform(0.5, 1) * 2 ** (attempt - 1))
    try:
        return _created(store, key, data, metadata)
    except NotFound:
        raise CommitConflict(f"{key} is refused, and is not there.") from None


def _created(store: DescribedStore, key: str, data: bytes, metadata: Mapping[str, str]) -> bool:
    """Raises NotFound: refused because of a write at the same time that was refused, too."""
    try:
        store.put_described(key, data, metadata, if_absent=True)
    except PreconditionFailed:
        return store.head(key).metadata.get("run") == metadata["run"]
    return True
