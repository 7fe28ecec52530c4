"""Everything at once on one gallery, with faults at every request, against the obvious way.

A run of some 109,000 steps: make fuzz-gallery
"""

from __future__ import annotations

import itertools
import logging
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from serving.errors import (
    CommitConflict,
    GalleryCorrupt,
    InvalidInput,
    Unavailable,
    UnknownIdentity,
)
from serving.gallery import Gallery
from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.corrections import moved
from serving.gallery.disk import Disk
from serving.gallery.erasure import erase
from serving.gallery.limits import Limits
from serving.gallery.location import Location
from serving.gallery.manifest import Index, Manifest, key_of
from serving.gallery.records import Records, photo_id
from serving.gallery.restore import restore
from serving.gallery.retention import text_of
from serving.gallery.segment import Kind, Segment
from serving.gallery.snapshot import Snapshot
from serving.gallery.store import NotFound, PreconditionFailed
from serving.gallery.stored import StoredGallery
from serving.gallery.sweep import sweep
from serving.gallery.version import Version
from serving.gallery.writer import Requirements, _Waiting
from tests.support.fuzzing import examples
from tests.support.memory_store import MemoryStore
from tests.support.older_writer import OlderWriter
from tests.support.people import FOLDER, MANIFEST, MODEL, whole_manifest
from tests.unit.gallery.beside import AtOnce
from tests.unit.gallery.deeds import (
    COMPACTIONS,
    ENROLMENTS,
    GALLERIES,
    LANDINGS,
    PLANS,
    READS,
    RETURNS,
    WAITS,
    Check,
    Commit,
    Compact,
    Deed,
    Erase,
    Event,
    Import,
    Land,
    Move,
    Older,
    Open,
    PutBack,
    Refill,
    Refresh,
    Restore,
    Sweep,
    Wait,
    Wish,
    commits,
    erasures,
    imports,
    is_commit,
    moves,
    older,
    restores,
    sweeps,
    weighted,
)
from tests.unit.gallery.faulty import Crash, Fault, FaultyStore
from tests.unit.gallery.ledger import (
    DIMENSION,
    Change,
    State,
    accepted,
    assert_tells,
    changes_in,
)

T = TypeVar("T")

LOCATION = Location("default", MODEL, DIMENSION)
KEEPERS = 2
# Small enough that a few steps reach each of them.
SMALL = Limits(
    recent_segments=2,
    remembered_commits=4,
    commit_tries=3,
    store_failures=2,
    erase_tries=2,
    segment_bytes=20 * 2 * DIMENSION,
    small_segment_bytes=2 * 2 * DIMENSION,
    fold_factor=1,
)
EMPTY = Manifest(model=MODEL, collection="default", dimension=DIMENSION, version=0)
SKEW = 2.0  # by which the clocks of two processes may differ at most


# --- what is known of it -------------------------------------------------------------------------


@dataclass(eq=False)
class Task:
    """A deed under way, or done.

    Attributes:
        plan: what is left of it.
        asked: the changes that it wants to commit, and whom they require.
        began, ended: numbers of requests.
        since: how many manifests there had been when it began.
        meanwhile: how many other deeds came between.
        version: what its changes were committed as; ``state``: the people with them.
        corrects: the people with its correction.
        restores: the people that it brings back, and the manifest that they had.
        accepted: which of those that were asked for are in it.
        rejected: whoever asked was told that nothing was written.
        failed: it did not come to its end.
    """

    deed: Deed
    plan: list[Event]
    actor: object
    began: int
    since: int
    asked: list[tuple[list[Change], Sequence[int]]] = field(default_factory=list)
    away: bool = False
    faults: int = 0
    meanwhile: int = 0
    version: Version | None = None
    state: State | None = None
    corrects: Callable[[State], State] | None = None
    restores: tuple[State, Manifest] | None = None
    accepted: list[bool] = field(default_factory=list)
    rejected: bool = False
    failed: bool = False
    ended: int | None = None

    @property
    def undisturbed(self) -> bool:
        return not self.faults and not self.meanwhile


@dataclass(frozen=True)
class Erasure:
    """One that was acknowledged, and what must be in no object any more."""

    task: Task
    traces: frozenset[int | str]


class GalleryMachine(RuleBasedStateMachine):
    steps = 0  # of all runs together

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.store = FaultyStore()
        self.store.clock = lambda: self.now
        self.store.fault, self.store.written = self._fault, self._written
        self.store.removed = self._removed
        self.limits = SMALL
        self._open_all()
        self.running: list[Task] = []
        self.failures: list[BaseException] = []
        self.requests = 0
        self.rows = self.texts = 0  # given out so far
        # The manifest that was written last; all of them, by their last commit, with the people;
        # and in which order they were the current one: of those put back by hand once more.
        self.manifest = EMPTY
        self.manifests: dict[str | None, tuple[Manifest, State]] = {None: (EMPTY, State())}
        self.order: list[str | None] = [None]
        self.tasks: dict[str, Task] = {}  # by the id of the commit
        self.uploads: dict[str, tuple[Task, int]] = {}  # by key, and when it got there
        self.contents: dict[str, list[Change]] = {}  # of every segment that ever was, by name
        self.late: set[str] = set()  # keys of uploads that were given up
        self.unlisted: dict[str, float] = {}  # names, and since when
        self.once_listed: set[str] = set()
        self.doomed: set[str] = set()  # names that a sweep has decided to remove
        self.erasures: list[Erasure] = []
        self.snapshots: dict[int, Snapshot] = {}  # that were compared, by id()

    def _open_all(self) -> None:
        self.galleries = [self._gallery(n) for n in range(GALLERIES)]
        self.keepers = [self._keeper(n) for n in range(KEEPERS)]

    def _gallery(self, n: int) -> Gallery:
        # Every other one has its vectors on disk.
        disk = Disk(Path(tempfile.gettempdir()), 2**30) if n % 2 else None
        return Gallery(self.store, "galleries", LOCATION, disk=disk, **self._how(n))

    def _keeper(self, n: int) -> StoredGallery:
        return StoredGallery(self.store, "galleries", LOCATION, **self._how(n + 1))

    def _how(self, n: int) -> dict[str, Any]:
        return {
            "clock": self._clock(n),
            "sleep": lambda s: None,
            "limits": self.limits,
            "executor": AtOnce,
        }

    def _clock(self, n: int) -> Callable[[], float]:
        return lambda: self.now + (0, SKEW / 2, -SKEW / 2)[n % 3]

    # --- rules -------------------------------------------------------------------------------

    @initialize(tries=st.integers(2, 3), recent=st.integers(1, 4), remembered=st.integers(2, 9))
    def small_numbers(self, tries: int, recent: int, remembered: int) -> None:
        self.limits = replace(
            SMALL, commit_tries=tries, recent_segments=recent, remembered_commits=remembered
        )
        self._open_all()

    @rule(
        before=ENROLMENTS,
        deed=weighted((4, commits(PLANS)), (2, imports(PLANS)), (1, older(PLANS))),
    )
    def commit(self, before: list[Deed], deed: Deed) -> None:
        self._step(*before, deed)

    @rule(before=ENROLMENTS, deed=moves(PLANS))
    def correct(self, before: list[Deed], deed: Deed) -> None:
        self._step(*before, deed)

    @rule(before=ENROLMENTS, deed=READS)
    def read(self, before: list[Deed], deed: Deed) -> None:
        self._step(*before, deed)

    @rule(before=ENROLMENTS, deed=COMPACTIONS)
    def compact(self, before: list[Deed], deed: Deed) -> None:
        self._step(*before, deed)

    @rule(before=ENROLMENTS, deed=sweeps(PLANS))
    def sweep(self, before: list[Deed], deed: Deed) -> None:
        self._step(*before, deed)

    @rule(before=ENROLMENTS, deed=erasures(PLANS))
    def erase(self, before: list[Deed], deed: Deed) -> None:
        self._step(*before, deed)

    @rule(before=ENROLMENTS, deed=restores(PLANS))
    def restore(self, before: list[Deed], deed: Deed) -> None:
        self._step(*before, deed)

    @rule(
        before=ENROLMENTS,
        deed=RETURNS,
        after=ENROLMENTS,
    )
    def go_back(self, before: list[Deed], deed: Deed, after: list[Deed]) -> None:
        self._step(*before, deed, *after)

    @rule(deed=weighted((2, LANDINGS), (1, WAITS)))
    def let_be(self, deed: Deed) -> None:
        self._step(deed)

    # --- after each of them ------------------------------------------------------------------

    def _step(self, *deeds: Deed) -> None:
        GalleryMachine.steps += 1
        for deed in deeds:
            self._do(deed)
        try:
            self._every_reader_holds_one_version()
            self._nothing_is_left_of_who_was_erased()
        except AssertionError as error:
            self.failures.append(error)
        if self.failures:
            raise self.failures[0]

    def _every_reader_holds_one_version(self) -> None:
        for gallery in self.galleries:
            if id(gallery.snapshot) not in self.snapshots:
                self._compare(gallery.snapshot)

    def _nothing_is_left_of_who_was_erased(self) -> None:
        for key in self.store.objects.keys() - {MANIFEST}:
            left = frozenset().union(*(c.traces for c in self.contents[_name(key)]))
            for erasure in self.erasures:
                if left & erasure.traces and not self._may_be_left(key, erasure.task):
                    raise AssertionError(f"{key} still holds {left & erasure.traces}")

    def _may_be_left(self, key: str, erasure: Task) -> bool:
        """Whether the object is an upload that no erasure can know of, and that does not count."""
        task, arrived = self.uploads[key]
        assert erasure.ended is not None
        overtaken = task.failed and task.began < erasure.ended and arrived > erasure.began
        return _name(key) in self.unlisted and (key in self.late or overtaken)

    def teardown(self) -> None:
        """In the end all is well again, and what was once seen is still as it was."""
        if self.failures:
            return
        while self.store.late:
            self._step(Land(0, ()))
        for n in range(GALLERIES):
            self._step(Refresh(n, ()))
        self._step(Check(0, ()))
        self._step(Sweep(0, (), 0.0, False))
        self._step(Open(0, ()))
        for snapshot in list(self.snapshots.values()):
            self._compare(snapshot)

    def _compare(self, snapshot: Snapshot) -> None:
        self.snapshots[id(snapshot)] = snapshot
        manifest, state = self.manifests[snapshot.version.commit]
        assert snapshot.version == manifest.version
        assert_tells(snapshot, state)

    # --- doing -------------------------------------------------------------------------------

    def _do(self, deed: Deed) -> None:
        """Carry it out, maybe in the middle of another one; what is found wrong is kept."""
        keeper = isinstance(deed, Compact | Sweep | Erase | Check | Restore)
        actors: list[Any] = list(self.keepers if keeper else self.galleries)
        busy = [t.actor for t in self.running]
        free = [n for n, actor in enumerate(actors) if actor not in busy]
        n = free[deed.who % len(free)]
        task = Task(deed, list(deed.plan), actors[n], self.requests, len(self.order) - 1)
        self.running.append(task)
        outcome = "done"
        try:
            outcome = str(self._carry_out(task))
        except Crash:
            task.failed, outcome = True, "crashed"
            if keeper:
                self.keepers[n] = self._keeper(n)
            else:
                self.galleries[n] = self._gallery(n)
        except Exception as error:
            outcome = f"found wrong: {error!r}"
            self.failures.append(error)
        finally:
            self.running.pop()
            task.ended = self.requests
            note(f"{'  ' * len(self.running)}{type(deed).__name__} {n}: {outcome}")

    def _carry_out(self, task: Task) -> object:
        match task.deed:
            case Commit():
                return self._commit(task, task.deed)
            case Move():
                return self._move(task, task.deed)
            case Import():
                return self._import(task, task.deed)
            case Older():
                return self._older(task, task.deed)
            case Refresh():
                assert isinstance(task.actor, Gallery)
                return self._refresh(task, task.actor)
            case Open():
                return self._refresh(task, self._gallery(task.deed.who))
            case Compact():
                return self._keep(task, compact)
            case Sweep():
                return self._sweep(task, task.deed)
            case Erase():
                return self._erase(task, task.deed)
            case Check():
                return self._check(task)
            case Restore():
                return self._restore(task, task.deed)
            case PutBack():
                return self._put_back(task.deed)
            case Refill():
                return self._refill(task, task.deed)
            case Land():
                self.store.land(task.deed.who)
                return None
            case Wait():
                self.now += task.deed.seconds
                return None
        raise AssertionError(task.deed)

    def _changes(self, wishes: Sequence[Wish]) -> list[Change]:
        return [
            Change(
                wish.kind,
                wish.id,
                self.now,
                self.now,
                rows=tuple(self._new_rows(wish.photos)),
                sources=tuple(wish.sources),
                details={k: v for d in wish.details for k, v in self._new_detail(d).items()},
            )
            for wish in wishes
        ]

    def _new_rows(self, count: int) -> range:
        self.rows += count
        return range(self.rows - count, self.rows)

    def _new_detail(self, what: str) -> dict[str, Any]:
        self.texts += 1
        if what == "metadata":
            return {"metadata": {"note": f"m{self.texts}"}}
        if what in ("threshold", "no threshold"):
            return {"threshold": self.texts / 2**20 if what == "threshold" else None}
        if what in ("end", "no end"):
            end = text_of(1_900_000_000 - self.texts)
            return {"expires_at": end if what == "end" else None}
        return {"name": f"n{self.texts}" if what == "name" else None}

    def _commit(self, task: Task, deed: Commit) -> object:
        gallery = task.actor
        assert isinstance(gallery, Gallery)
        if not self._rows_for(w for a in deed.asked for w in a.wishes):
            return "no rows left"
        task.asked = [(self._changes(a.wishes), a.require) for a in deed.asked]
        *waiting, mine = (
            _Waiting(
                [c.operation() for c in changes],
                Requirements(gallery._people_at, required) if required else None,
            )
            for changes, required in task.asked
        )
        # As if they had come while another commit was under way.
        gallery._writer._queue.extend(waiting)
        try:
            mine.version = gallery.commit(mine.operations, task.asked[-1][1])
        except Exception as error:
            mine.error = error
        return [self._answer(task, n, w) for n, w in enumerate([*waiting, mine])]

    def _move(self, task: Task, deed: Move) -> object:
        gallery, now = task.actor, self.now
        assert isinstance(gallery, Gallery)
        task.asked = [([], [deed.source])]

        def corrects(state: State) -> State:
            rows = sorted(state.people[deed.source].rows)
            return state.moved(rows[deed.which % len(rows)], deed.source, deed.target, now)

        def change(before: Records) -> Records:
            if deed.source not in before:
                return moved(before, deed.source, deed.target, [], now)  # raises
            record = before[deed.source]
            by_number = dict(zip(record.embeddings.argmax(axis=1), record.rows, strict=True))
            row = by_number[sorted(by_number)[deed.which % len(by_number)]]
            return moved(before, deed.source, deed.target, [photo_id(row)], now)

        task.corrects = corrects
        answer = _Waiting(())
        try:
            answer.version = gallery.correct([deed.source, deed.target], change, "move")
        except Exception as error:
            answer.error = error
            task.failed = True
        return self._answer(task, 0, answer)

    def _import(self, task: Task, deed: Import | Refill) -> object:
        gallery = task.actor
        assert isinstance(gallery, Gallery)
        if not self._rows_for(w for s in deed.segments for w in s):
            return "no rows left"
        parts = [self._changes(wishes) for wishes in deed.segments]
        task.asked = [([c for part in parts for c in part], ())]
        segments = [Segment.of([c.operation() for c in part], DIMENSION) for part in parts]
        answer = _Waiting(())
        try:
            answer.version = gallery.commit_segments(lambda: segments)
        except Exception as error:
            answer.error = error
        return self._answer(task, 0, answer)

    def _older(self, task: Task, deed: Older) -> object:
        if not self._rows_for(iter(deed.asked.wishes)):
            return "no rows left"
        task.asked = [(self._changes(deed.asked.wishes), ())]
        how = (self.limits.recent_segments, self.limits.remembered_commits)
        writer = OlderWriter(self.store, FOLDER, DIMENSION, *how)
        try:
            version = writer.commit([c.operation() for c in task.asked[0][0]])
        except (PreconditionFailed, NotFound, Unavailable) as error:
            assert not task.undisturbed
            task.failed = True
            return repr(error)
        assert task.version == version
        return version

    def _rows_for(self, wishes: Iterator[Wish]) -> bool:
        return self.rows + sum(w.photos for w in wishes) <= DIMENSION

    def _answer(self, task: Task, n: int, told: _Waiting) -> object:
        """What somebody was told must be so."""
        done, error = task.version is not None and task.accepted[n], told.error
        if error is None:
            assert done
            assert told.version == task.version
            return told.version
        if isinstance(error, UnknownIdentity):
            assert not done
            assert not all(accepted(state, task.asked)[n] for _, state in self._since(task))
            task.rejected = len(task.asked) == 1
        elif isinstance(error, CommitConflict) or "othing was written" in str(error):
            assert not task.undisturbed
            assert task.version is None
            task.rejected = True
        else:
            assert "not confirmed" in str(error) or self._may_look_corrupt(task, error)
            assert task.faults or isinstance(error, GalleryCorrupt)
        return repr(error)

    def _may_look_corrupt(self, task: Task, error: Exception) -> bool:
        """Whether segments were folded and swept at each try to read them."""
        return isinstance(error, GalleryCorrupt) and task.meanwhile > 2

    def _refresh(self, task: Task, gallery: Gallery) -> object:
        before = gallery.snapshot
        try:
            snapshot = gallery.refresh()
        except Unavailable as failure:
            error: Exception = failure
        else:
            assert snapshot.version.commit in self.order[task.since :]
            self._compare(snapshot)
            return snapshot.version
        assert task.faults or self._may_look_corrupt(task, error)
        assert gallery.snapshot is before
        self._compare(before)
        return repr(error)

    def _keep(self, task: Task, call: Callable[[StoredGallery], T]) -> T | None:
        """None: it did not come to its end."""
        assert isinstance(task.actor, StoredGallery)
        try:
            return call(task.actor)
        except (CommitConflict, Unavailable) as error:
            assert not task.undisturbed
            task.failed = True
            note(repr(error))
            return None

    def _sweep(self, task: Task, deed: Sweep) -> object:
        swept = self._keep(task, lambda keeper: sweep(keeper, deed.grace, dry_run=deed.dry))
        if swept is not None and not deed.dry:
            left = {_name(k) for k in self.store.objects if k != MANIFEST}
            assert not left.intersection(swept.removed)
            if task.undisturbed and not deed.grace:
                assert left <= self.manifest.names
            # The previous release, and a manifest put back by hand, know of no erasure.
            if task.undisturbed and self.manifest.erased and self.manifest.erased.erasures:
                held = frozenset[int | str]().union(
                    *(c.traces for name in left for c in self.contents[name])
                )
                assert not any(held & erasure.traces for erasure in self.erasures)
        return swept

    def _erase(self, task: Task, deed: Erase) -> object:
        task.asked = [([Change(Kind.DELETE, i, self.now, self.now) for i in deed.ids], ())]
        try:
            receipt = self._keep(task, lambda keeper: erase(keeper, deed.ids))
        except UnknownIdentity as error:
            assert task.version is None
            if task.undisturbed:
                unknown = int(re.findall(r"\d+", str(error))[-1])
                assert not self._now.traces(unknown) & self._listed_traces()
            return repr(error)
        if receipt is not None:
            assert task.version is not None
            assert task.state is not None
            gone = task.state.gone
            traces = frozenset[int | str]().union(*(gone.get(i, frozenset()) for i in deed.ids))
            self.erasures.append(Erasure(task, traces))
            assert task.version <= receipt.gallery_version <= self._version
        return receipt

    def _listed_traces(self) -> frozenset[int | str]:
        return frozenset[int | str]().union(
            *(c.traces for s in self.manifest.segments for c in self.contents[s.name])
        )

    def _check(self, task: Task) -> object:
        report = self._keep(task, check)
        if report is not None:
            assert report.problems == []
            assert report.version in [manifest.version for manifest, _ in self._since(task)]
            if task.undisturbed:
                assert report.orphans == sorted(self.unlisted.keys() - self._dropped())
        return check

    def _restore(self, task: Task, deed: Restore) -> object:
        backup, state = list(self.manifests.values())[deed.which % len(self.manifests)]
        if not backup.version:
            return "nothing to restore"
        task.restores = state, backup
        missing = {key_of(FOLDER, n) for n in backup.names} - self.store.objects.keys()
        try:
            done = self._keep(task, lambda keeper: restore(keeper, backup))
        except InvalidInput as error:
            assert missing or not task.undisturbed
            assert task.version is None
            return repr(error)
        if done is not None:
            assert task.version == done.gallery_version
            assert task.version.commit == done.gallery_version.commit
        return done

    def _put_back(self, deed: PutBack) -> object:
        backup, _ = list(self.manifests.values())[deed.which % len(self.manifests)]
        names = {key_of(FOLDER, name) for name in backup.names}
        if not backup.version or self.store.late or not names <= self.store.objects.keys():
            return "not now"
        MemoryStore.put(self.store, MANIFEST, backup.to_bytes())
        # In no index it says since when the others are not listed: for them there is no grace.
        self.unlisted.update(dict.fromkeys(self.manifest.names, 0.0))
        self._now_is(backup)
        return backup.at

    def _refill(self, task: Task, deed: Refill) -> object:
        if not self._rows_for(w for s in deed.segments for w in s):
            return "no rows left"
        self.store.objects.clear()
        self._now_is(EMPTY)
        self.unlisted.clear()
        task.actor = self._gallery(0)  # the others know a manifest that is gone
        return self._import(task, deed)

    def _dropped(self) -> set[str]:
        """What the indexes in the store say that they no longer list."""
        indexes = (self.store.objects[k].data for k in self.store.objects if "/index/" in k)
        return {name for data in indexes for name in Index.model_validate_json(data).dropped}

    # --- what the store is asked, and what becomes of it -------------------------------------

    @property
    def _version(self) -> int:
        return self.manifest.version

    @property
    def _now(self) -> State:
        return self.manifests[self.order[-1]][1]

    def _since(self, task: Task) -> list[tuple[Manifest, State]]:
        """The manifests since the task began."""
        return [self.manifests[commit] for commit in self.order[task.since :]]

    def _now_is(self, manifest: Manifest) -> None:
        """Another manifest is the current one."""
        before, self.manifest = self.manifest, manifest
        self.order.append(manifest.at.commit)
        for name in before.names:
            self.unlisted.setdefault(name, self.now)
        for name in manifest.names:
            self.unlisted.pop(name, None)
        self.once_listed |= manifest.names

    def _fault(self, request: str, key: str, data: bytes) -> Fault | None:
        self.requests += 1
        task = self.running[-1]
        if is_commit(request, key):
            self.tasks[Manifest.model_validate_json(data).commits[-1].id] = task
        elif request == "put":
            self.uploads[key] = task, self.requests
        fault = self._next_fault(task, request, key)
        if fault is not None:
            task.faults += 1
            note(f"{'  ' * len(self.running)}{request} {key.rpartition('/')[2]}: {fault.value}")
        if fault is Fault.LATE and request == "put":
            self.late.add(key)
        return fault

    def _next_fault(self, task: Task, request: str, key: str) -> Fault | None:
        if task.away:
            return Fault.AWAY
        while task.plan and task.plan[0].concerns(request, key):
            event = task.plan.pop(0)
            if event.after:
                task.plan.insert(0, replace(event, after=event.after - 1))
                break
            if event.times > 1:
                task.plan.insert(0, replace(event, times=event.times - 1))
            if isinstance(event.what, Fault):
                task.away = event.what is Fault.AWAY
                return event.what
            task.meanwhile += 1
            self._do(event.what)
        return None

    def _written(self, key: str, data: bytes) -> None:
        # What is wrong here must not be raised to the one who writes.
        try:
            if key == MANIFEST:
                self._replaced(whole_manifest(self.store, data))
            else:
                self.uploads[key] = self.uploads[key][0], self.requests
                index = "/index/" in key
                self.contents[_name(key)] = [] if index else changes_in(Segment.from_bytes(data))
                self.unlisted[_name(key)] = self.now
        except Exception as error:
            self.failures.append(error)

    def _replaced(self, manifest: Manifest) -> None:
        """A commit: of people, of the same ones in other segments, of earlier ones, or a fence."""
        before, commit, state = self.manifest, manifest.commits[-1], self._now
        task = self.tasks[commit.id]
        if task.restores is not None:
            assert task.version is None, "it was committed twice"
            state, backup = task.restores
            assert manifest.version == max(before.version, backup.version) + 1
            # Mostly their objects are gone; but not when what they held was somebody else's at the
            # end, or when the previous release has dropped what was remembered.
            erased = before.erased.among(state.people, backup.erased) if before.erased else ()
            state = state.after(Change(Kind.DELETE, i, self.now, self.now) for i in erased)
            task.version = manifest.at
        elif manifest.version != before.version:
            assert manifest.version == before.version + 1
            if manifest.fence == manifest.version:
                self._fenced(task)
            else:
                # An erasure that finds that a restore came between deletes once more.
                again = isinstance(task.deed, Erase) and task.meanwhile
                assert task.version is None or again, "it was committed twice"
                assert not task.rejected, "nothing was written, it said"
                task.version, task.accepted = manifest.at, accepted(state, task.asked)
                for ok, (changes, _) in zip(task.accepted, task.asked, strict=True):
                    state = state.after(changes if ok else ())
                task.state = state = task.corrects(state) if task.corrects else state
        assert commit.id not in self.manifests
        self.manifests[commit.id] = manifest, state
        self._now_is(manifest)
        assert {key_of(FOLDER, name) for name in manifest.names} <= self.store.objects.keys()
        replayed = State().after(c for s in manifest.segments for c in self.contents[s.name])
        assert replayed.told() == state.told()

    def _fenced(self, task: Task) -> None:
        if isinstance(task.deed, Sweep):
            old = self.now - task.deed.grace + SKEW
            self.doomed |= {name for name, since in self.unlisted.items() if since <= old}

    def _respects_grace(self, task: Task, names: set[str]) -> None:
        if isinstance(task.deed, Sweep) and task.deed.grace:
            # The sweep goes by the manifest that it read; an older writer drops the erased.
            erased = any(manifest.erased for manifest, _ in self._since(task))
            for name in names - self.doomed:
                if erased and name not in self.once_listed and "/" not in name:
                    continue  # an upload that an erasure could not see
                assert self.now - self.unlisted[name] >= task.deed.grace - SKEW

    def _removed(self, key: str) -> None:
        try:
            assert _name(key) not in self.manifest.names, f"{key} is listed"
            if _name(key) in self.unlisted:
                self._respects_grace(self.running[-1], {_name(key)})
                del self.unlisted[_name(key)]
        except Exception as error:
            self.failures.append(error)


def _name(key: str) -> str:
    name = key.rpartition("/")[2].partition(".")[0]
    return f"index/{name}" if "/index/" in key else name


def make_reproducible(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=next(numbers)))


@pytest.mark.fuzz
def test_any_faults_at_any_moment_lose_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_reproducible(monkeypatch)
    caplog.set_level(logging.ERROR, logger="serving.gallery.commit")
    run_state_machine_as_test(
        GalleryMachine,
        settings=settings(
            max_examples=examples(35),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    print(f"{GalleryMachine.steps:,} steps")
