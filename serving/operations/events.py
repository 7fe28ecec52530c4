"""An operator's work on the queue of events: what ``faces events`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from serving.errors import InvalidInput
from serving.events.queue import NEEDS, Dead, Queue
from serving.gallery.s3 import Connect, connect
from serving.operations.config import Config


def opened(config: Config, connect: Connect = connect) -> Queue:
    """The queue of the configuration. No request is made."""
    args = config.args
    store = connect(args.gallery, needs=NEEDS, credentials=config.credentials)
    return Queue(store, args.events.prefix)


def dead(config: Config, connect: Connect = connect) -> Iterator[tuple[str, Dead]]:
    """See `serving.events.queue.Queue.dead`; by the names of their objects."""
    for key, found in opened(config, connect).dead():
        yield key.rpartition("/")[2].removesuffix(".json"), found


def redeliver(config: Config, names: Sequence[str] | None, connect: Connect = connect) -> int:
    """Queue events again that were given up; None: all of them. Returns how many.

    Raises:
        InvalidInput: there is none of one of the names; nothing was done.
    """
    return _each(config, names, connect, lambda queue, key: queue.revive(key))


def discard(config: Config, names: Sequence[str] | None, connect: Connect = connect) -> int:
    """Remove events for good that were given up; as `redeliver`."""
    return _each(config, names, connect, lambda queue, key: queue.remove(key))


def _each(
    config: Config,
    names: Sequence[str] | None,
    connect: Connect,
    work: Callable[[Queue, str], None],
) -> int:
    queue = opened(config, connect)
    keys = {key.rpartition("/")[2].removesuffix(".json"): key for key in queue.graves()}
    chosen = list(keys) if names is None else list(dict.fromkeys(names))
    for name in chosen:
        if name not in keys:
            raise InvalidInput(f"There is no event {name} that was given up.")
    for name in chosen:
        work(queue, keys[name])
    return len(chosen)
