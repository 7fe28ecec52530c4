"""A run of a job: photos are read and looked up, several at once, and their lines written in parts.

A run may end at any moment. The next one goes on after the last part; what it had not written yet
is looked up again.
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
from typing import Any

from serving.errors import InvalidInput, StoreUnfit, TooLarge, Unavailable
from serving.gallery.store import Entry, NotFound, PreconditionFailed, StoredObject
from serving.operations.batch.formats import Line, format_named
from serving.operations.batch.job import SUMMARY, Job, Place, begin, is_begun
from serving.operations.batch.parts import Parts, create
from serving.operations.batch.photos import Photo, Photos
from serving.operations.batch.tally import Tally

# Answers that wait for one before them; without them one large photo would hold up all others.
_AHEAD = 4


class Refused(Exception):
    """A photo gets an error in place of an answer; the job goes on.

    Args:
        kind: of the problem, as ``type`` in an answer of the service.
        status: of the service's answer; None: it was not asked.
    """

    def __init__(self, kind: str, status: int | None, detail: str) -> None:
        super().__init__(detail)
        self.body = {"type": kind, "status": status, "detail": detail}


# From the bytes of a photo to the service's answer. Raises Refused when it is the photo's fault;
# every other error ends the run.
LookUp = Callable[[bytes], Mapping[str, Any]]


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
    job: Job,
    source: Place,
    out: Place,
    look_up: LookUp,
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
        look_up: asks the service; called in several threads.
        concurrency: photos that are read and looked up at once.
        begun: called once with the number of lines that earlier runs have written.
        done: called with each further line, in the order of the photos.
        stopping: is set when the run ends, so that ``look_up`` need not wait any longer.
        clock: seconds, monotonic.

    Raises:
        InvalidInput: there are no photos, or the folder of results holds something else.
        CommitConflict: another run of this job is at work.
        StoreUnfit: a bucket is missing, or the keys do not suffice.
        Unavailable: the store is away.
    """
    summary_key = out.folder.key(SUMMARY)
    if is_begun(out, job):
        with suppress(NotFound):
            return Done(json.loads(out.store.get(summary_key).data), before=True)
    run_id = uuid.uuid4().hex
    parts = Parts(out, job.digest(), format_named(job.format), run_id, sleep)
    last = parts.last()
    if last is None:
        # Before job.json: a mistyped prefix leaves nothing behind.
        _check_photos(source)
    begin(out, job, sleep)
    tally = last.tally if last else Tally()
    begun(tally.photos)
    number = last.number + 1 if last else 0
    photos = Photos(source.store, source.folder.prefix, last.last if last else "")
    lines: list[Line] = []
    before, start = tally.seconds, clock()

    def write() -> None:
        nonlocal number
        tally.seconds = before + clock() - start
        parts.write(number, lines, tally)
        number += 1
        lines.clear()

    reader = _Reader(job, source, look_up)
    for passed_over, line in _in_order(reader.line, photos, concurrency, stopping):
        tally.passed_over += passed_over
        tally.add(line)
        lines.append(line)
        done(line)
        if len(lines) == job.part_photos:
            write()
    if lines:
        write()
    tally.passed_over += photos.passed_over
    return Done(_finish(out, tally.summary(number), run_id, sleep), before=False)


def _check_photos(source: Place) -> None:
    photos = Photos(source.store, source.folder.prefix)
    if next(iter(photos), None) is None:
        others = f"; {photos.passed_over} objects there are none" if photos.passed_over else ""
        raise InvalidInput(f"There are no photos below {source.folder}{others}.")


def _in_order(
    work: Callable[[Entry], Line],
    photos: Iterable[Photo],
    concurrency: int,
    stopping: threading.Event | None,
) -> Iterator[tuple[int, Line]]:
    """The lines of the photos in their order, several of them in work at once; each with the
    objects passed over before it."""
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="photo")
    waiting: deque[tuple[int, Future[Line]]] = deque()
    try:
        for photo in photos:
            if len(waiting) == concurrency * _AHEAD:
                passed_over, line = waiting.popleft()
                yield passed_over, line.result()
            waiting.append((photo.passed_over, pool.submit(work, photo.entry)))
        while waiting:
            passed_over, line = waiting.popleft()
            yield passed_over, line.result()
    finally:
        if stopping is not None:
            stopping.set()
        pool.shutdown(cancel_futures=True)


class _Reader:
    """Makes the line of a photo."""

    def __init__(self, job: Job, source: Place, look_up: LookUp) -> None:
        self._max_bytes = job.max_bytes
        self._source = source
        self._look_up = look_up

    def line(self, entry: Entry) -> Line:
        etag = entry.etag
        try:
            if entry.size > self._max_bytes:
                raise self._too_large(entry.size)
            photo = self._read(entry.key)
            etag = photo.etag
            if len(photo.data) > self._max_bytes:  # replaced since it was listed
                raise self._too_large(len(photo.data))
            outcome = self._look_up(photo.data)
        except Refused as refused:
            outcome = {"error": refused.body}
        return {"photo": entry.key, "etag": etag.strip('"'), **outcome}

    def _too_large(self, size: int) -> Refused:
        detail = f"{size} bytes are more than the {self._max_bytes} that are read."
        return Refused(TooLarge.type, None, detail)

    def _read(self, key: str) -> StoredObject:
        try:
            return self._once(key)
        except StoreUnfit as error:
            raise StoreUnfit(f"{self._source.folder.uri(key)} cannot be read. {error}") from None
        except Unavailable:
            # Either this object cannot be read (an archived one, for example), or the store is
            # away, which raises here and is no fault of the photo.
            self._source.store.page(self._source.folder.prefix)
        try:
            return self._once(key)
        except Unavailable as error:
            raise Refused("unreadable", None, str(error)) from None

    def _once(self, key: str) -> StoredObject:
        try:
            return self._source.store.get(key)
        except NotFound:
            raise Refused("gone", None, "It was removed after it was listed.") from None


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
