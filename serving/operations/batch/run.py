"""A run of a job: its items are worked on, several at once, and their lines written in parts.

A run may end at any moment. The next one goes on after the last part; what it had not written yet
is done again.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from serving.gallery.store import NotFound, PreconditionFailed
from serving.operations.batch.formats import Format, Line
from serving.operations.batch.job import SUMMARY, Job, Place, begin, is_begun
from serving.operations.batch.once import create
from serving.operations.batch.parts import Parts
from serving.operations.batch.tally import Tally

Item = TypeVar("Item")
Counts = TypeVar("Counts", bound=Tally, covariant=True)

# Answers that wait for one before them; without them one large photo would hold up all others.
_AHEAD = 4


class Task(Protocol[Item, Counts]):
    """What a kind of job does."""

    @property
    def job(self) -> Job: ...

    @property
    def part_lines(self) -> int: ...

    @property
    def format(self) -> Format: ...

    @property
    def tally(self) -> type[Counts]: ...

    def check(self) -> None:
        """Called before a job is begun, which so leaves nothing behind.

        Raises:
            InvalidInput: there is nothing to do.
        """

    def items(self, after: str) -> Iterator[tuple[int, Item | None]]:
        """The items that follow the one that ``after`` names, or all; each with the number of
        objects passed over before it. The last one may be None, for such objects at the end."""

    def line(self, item: Item) -> Line:
        """Do the item; called in several threads."""


@dataclass(frozen=True)
class Done:
    """A finished job.

    Attributes:
        summary: see `Tally.summary`.
        before: an earlier run had finished it.
    """

    summary: Mapping[str, Any]
    before: bool


def run(
    task: Task[Item, Tally],
    out: Place,
    *,
    concurrency: int,
    begun: Callable[[int], None] = lambda lines: None,
    done: Callable[[Line], None] = lambda line: None,
    stopping: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Done:
    """Run a job to its end, from where earlier runs have left it.

    Args:
        concurrency: items that are worked on at once.
        begun: called once with the number of lines that earlier runs have written.
        done: called with each further line, in the order of the items.
        stopping: is set when the run ends, so that the task need not wait any longer.
        clock: seconds, monotonic.

    Raises:
        InvalidInput: there is nothing to do, or the folder of results holds something else.
        CommitConflict: another run of this job is at work.
        StoreUnfit: a bucket is missing, or the keys do not suffice.
        Unavailable: the store is away.
    """
    summary_key = out.folder.key(SUMMARY)
    job = task.job
    if is_begun(out, job):
        with suppress(NotFound):
            return Done(json.loads(out.store.get(summary_key).data), before=True)
    run_id = uuid.uuid4().hex
    parts = Parts(out, job.digest(), task.format, task.tally, run_id, sleep)
    last = parts.last()
    if last is None:
        # Before job.json: a mistyped prefix leaves nothing behind.
        task.check()
    begin(out, job, sleep)
    tally = last.tally if last else task.tally()
    begun(tally.lines)
    number = last.number + 1 if last else 0
    lines: list[Line] = []
    before, start = tally.seconds, clock()

    def write() -> None:
        nonlocal number
        tally.seconds = before + clock() - start
        parts.write(number, lines, tally)
        number += 1
        lines.clear()

    items = task.items(last.last if last else "")
    for passed_over, line in _in_order(task.line, items, concurrency, stopping):
        tally.passed_over += passed_over
        if line is None:
            continue
        tally.add(line)
        lines.append(line)
        done(line)
        if len(lines) == task.part_lines:
            write()
    if lines:
        write()
    return Done(_finish(out, tally.summary(number), run_id, sleep), before=False)


def _in_order(
    work: Callable[[Item], Line],
    items: Iterable[tuple[int, Item | None]],
    concurrency: int,
    stopping: threading.Event | None,
) -> Iterator[tuple[int, Line | None]]:
    """The lines of the items in their order, several of them in work at once; each with the
    objects passed over before it."""
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="item")
    waiting: deque[tuple[int, Future[Line] | None]] = deque()

    def first() -> tuple[int, Line | None]:
        passed_over, line = waiting.popleft()
        return passed_over, None if line is None else line.result()

    try:
        for passed_over, item in items:
            if len(waiting) == concurrency * _AHEAD:
                yield first()
            waiting.append((passed_over, None if item is None else pool.submit(work, item)))
        while waiting:
            yield first()
    finally:
        if stopping is not None:
            stopping.set()
        pool.shutdown(cancel_futures=True)


def _finish(
    out: Place, summary: Mapping[str, Any], run_id: str, sleep: Callable[[float], None]
) -> Mapping[str, Any]:
    """Write the summary, and return the one that is there afterwards: where another run came
    between, that of more parts, which counts all of them."""
    key, data = out.folder.key(SUMMARY), json.dumps(summary, indent=2).encode() + b"\n"
    while not create(out.store, key, data, {"run": run_id}, sleep):
        with suppress(NotFound, PreconditionFailed):
            there = out.store.get(key)
            others: Mapping[str, Any] = json.loads(there.data)
            if others["parts"] >= summary["parts"]:
                return others
            out.store.put(key, data, if_match=there.etag)
            break
    return summary
