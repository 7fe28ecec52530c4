"""Writers, maintenance and the S3 server are killed under load: nothing acknowledged may be lost.

GALLERY_KILLING_SECONDS sets for how long (18), GALLERY_KILLING_SEED what is killed when.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.errors import GalleryError, Unavailable
from serving.gallery import Gallery, Kind, Operation, Store
from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.s3 import connect
from serving.gallery.sweep import sweep
from serving.stack.process import Process
from tests.service.writer_process import (
    LOG,
    Journal,
    Plan,
    gallery_in,
    stored_gallery,
)
from tests.support import seaweed

SECONDS = float(os.environ.get("GALLERY_KILLING_SECONDS", "18"))
SEED = int(os.environ.get("GALLERY_KILLING_SEED", "1"))
WRITERS = 4

Rows = dict[int, list[bytes]]  # the stored rows of each person, in order


class Worker:
    """A writer or the maintenance, as a process that is started again when it was killed."""

    def __init__(self, log: Path, keys: Mapping[str, str], *arguments: str | Path) -> None:
        self._log = log
        self._env = {**keys, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        self._command = [sys.executable, "-m", "tests.service.writer_process", *arguments]
        self._process: Process | None = None

    def start(self) -> None:
        self._process = Process(self._log.stem, self._command, log=self._log, env=self._env)

    def check(self) -> None:
        """Raises StackError when it has ended by itself: that is a bug."""
        assert self._process is not None
        self._process.check()

    def kill(self) -> None:
        if self._process is not None:
            seaweed.kill(self._process)
            self._process = None


class Follower(threading.Thread):
    """Reads the gallery again and again, and notes what it saw."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._over = threading.Event()
        self.seen: list[tuple[int, int]] = []  # versions, and how many commits they held
        self.problems: list[str] = []

    def run(self) -> None:
        follower = gallery_in(self._store)
        for turn in itertools.count():
            if self._over.wait(0.05):
                return
            # Now and then one that has to read everything, in the middle of the maintenance.
            gallery = follower if turn % 5 else gallery_in(self._store)
            try:
                snapshot = gallery.refresh()
            except GalleryError as error:
                self.problems.append(repr(error))
            except Unavailable:
                continue
            else:
                log = snapshot.get(LOG)
                self.seen.append((snapshot.version, log.photos if log else 0))

    @property
    def version(self) -> int:
        return self.seen[-1][0] if self.seen else 0

    def stop(self) -> None:
        self._over.set()
        self.join()


@pytest.mark.timeout(SECONDS + 240)
def test_what_was_acknowledged_survives_every_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"GALLERY_KILLING_SEED={SEED}")  # pytest shows it when the test fails
    paths = [tmp_path / f"writer-{n}.journal" for n in range(WRITERS)]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(seaweed.running(tmp_path))
        for name, value in server.keys.items():
            monkeypatch.setenv(name, value)
        store = connect(server.settings)
        settings = server.settings.model_dump_json()
        writers = [
            Worker(path.with_suffix(".log"), server.keys, "write", settings, str(n), path)
            for n, path in enumerate(paths)
        ]
        keeper = Worker(tmp_path / "maintenance.log", server.keys, "maintain", settings)
        workers = [*writers, keeper]
        for worker in workers:
            stack.callback(worker.kill)
            worker.start()
        follower = Follower(store)
        follower.start()
        stack.callback(follower.stop)

        kills = kill_about(server, workers, follower, random.Random(SEED))
        server.wait()
        for worker in workers:
            worker.kill()
        follower.stop()
        # What a killed writer has under way comes too late after this.
        gallery = gallery_in(store)
        gallery.commit([Operation(Kind.DELETE, 10_000, 0.0)])

        journals = [Journal.read(path) for path in paths]
        acknowledged = sum(len(j.versions) for j in journals)
        assert [j.broken for j in journals] == [{}] * WRITERS
        assert follower.problems == []
        order = verify(rows_in(gallery), journals)
        refused = sum(len(j.refused) for j in journals)
        print(
            f"Killed: {dict(kills)}. Commits: {acknowledged} acknowledged, {refused} refused, "
            f"{sum(j.begun for j in journals) - acknowledged - refused} that nobody was told of, "
            f"of which {len(order) - acknowledged} are there."
        )
        verify_what_was_seen(follower.seen, order, journals)
        assert acknowledged > WRITERS

        stored = stored_gallery(store)
        assert check(stored).problems == []
        compact(stored)
        sweep(stored, grace_s=0)
        assert check(stored).problems == []
        assert check(stored).orphans == []
        assert verify(rows_in(gallery_in(store)), journals) == order


def kill_about(
    server: seaweed.Seaweed, workers: Sequence[Worker], follower: Follower, chance: random.Random
) -> Counter[str]:
    """For as long as it was asked: kill this and that, and start it again."""
    kills: Counter[str] = Counter()
    before = 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        time.sleep(chance.uniform(0.1, 1.4))
        server.check()
        for worker in workers:
            worker.check()
        worker = chance.choice(workers)
        worker.kill()
        worker.start()
        kills["worker"] += 1
        # Mostly one that is at work, and now and then one that is still starting.
        if chance.random() < (0.3 if follower.version > before else 0.06):
            server.kill()
            before = follower.version
            server.start()
            kills["server"] += 1
    return kills


def rows_in(gallery: Gallery) -> Rows:
    _, segments = gallery.everybody()
    people: Rows = {}
    for segment in segments:
        starts = segment.row_starts()
        for n, person in enumerate(segment.id.tolist()):
            people[person] = [r.tobytes() for r in segment.embeddings[starts[n] : starts[n + 1]]]
    snapshot = gallery.refresh()
    assert {p.id: p.photos for p in snapshot.list(1000)} == {i: len(r) for i, r in people.items()}
    return people


def verify(people: Rows, journals: Sequence[Journal]) -> list[Plan]:
    """The commits that the gallery holds, in order; fails when they are not those of the journals.

    Those whose outcome nobody was told are there or not, but not in part.
    """
    plans = [Plan(writer, n) for writer, j in enumerate(journals) for n in range(j.begun)]
    by_row = {stored(plan.log_row)[0]: plan for plan in plans}
    order = [by_row[row] for row in people[LOG]]
    present = set(order)
    assert len(present) == len(order), "a commit was carried out twice"
    for writer, journal in enumerate(journals):
        own = [plan.n for plan in order if plan.writer == writer]
        assert own == sorted(own)
        assert set(journal.versions) <= set(own), "an acknowledged commit is lost"
        assert not set(journal.refused) & set(own), "a refused commit was carried out"
    versions = [v for p in order if (v := journals[p.writer].versions.get(p.n)) is not None]
    assert versions == sorted(set(versions))

    expected: Rows = {}
    for plan in order:
        assert all(i in expected for i in plan.require())
        for operation in plan.operations():
            apply(operation, expected)
    assert {i: sorted(rows) for i, rows in people.items()} == {
        i: sorted(rows) for i, rows in expected.items()
    }
    return order


def verify_what_was_seen(
    seen: Sequence[tuple[int, int]], order: Sequence[Plan], journals: Sequence[Journal]
) -> None:
    """Every version that was read held just the commits up to it; and versions only grow."""
    assert seen == sorted(seen)
    versions = [journals[plan.writer].versions.get(plan.n) for plan in order]
    for version, commits in set(seen):
        assert all(v is None or v <= version for v in versions[:commits])
        assert all(v is None or v > version for v in versions[commits:])


def apply(operation: Operation, people: Rows) -> None:
    """What an operation does, said the simplest way."""
    person, rows = operation.id, stored(operation.embeddings)
    if operation.kind is Kind.PUT:
        people[person] = rows
    elif operation.kind is Kind.APPEND:
        people[person] = people.get(person, []) + rows
    elif operation.kind is Kind.DELETE:
        people.pop(person, None)
    elif operation.kind is Kind.MERGE:
        merged = [people.pop(i, []) for i in (person, *operation.sources)]
        if any(merged):
            people[person] = list(itertools.chain(*merged))


def stored(rows: NDArray[np.float32] | None) -> list[bytes]:
    return [] if rows is None else [row.tobytes() for row in rows.astype(np.float16)]
