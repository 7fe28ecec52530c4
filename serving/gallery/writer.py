"""Commits of people: operations that wait in one process are committed together."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from serving.errors import NotConfirmed, UnknownIdentity
from serving.gallery.manifest import Act, Manifest, SegmentRef
from serving.gallery.objects import Uploads
from serving.gallery.observer import NOBODY, Observer, outcome_of
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.snapshot import Snapshot
from serving.gallery.store import PreconditionFailed
from serving.gallery.stored import StoredGallery, act_of
from serving.gallery.version import Version

# The people at this version of the gallery or a later one.
PeopleAt = Callable[[Version], Snapshot]
# Called with the people before the commit, and with the operations that come before the caller's
# in the same commit; raises an error to refuse.
Precondition = Callable[[Snapshot, Sequence[Operation]], None]

# What an operation is called in the record of who did what.
ACTIONS = {
    Kind.PUT: "enrol",
    Kind.APPEND: "enrol",
    Kind.DELETE: "delete",
    Kind.MERGE: "merge",
    Kind.DESCRIBE: "describe",
    Kind.CLEAR: "delete-all",
    Kind.SPLIT: "correct",
    Kind.DISTINCT: "distinct",
}
_BROKEN_OFF = (
    "The process that wrote was stopped: look whether it is there before you send it again."
)


@dataclass(frozen=True)
class Requirements:
    """Conditions that must hold before operations are committed.

    Attributes:
        enrolled: ids that must be enrolled.
    """

    people_at: PeopleAt
    enrolled: Sequence[int] = ()
    precondition: Precondition | None = None


@dataclass(eq=False)
class _Waiting:
    """One caller's operations that wait to be committed, and their outcome."""

    operations: Sequence[Operation]
    requires: Requirements | None = None
    acts: Sequence[Act] = ()
    version: Version | None = None
    error: Exception | None = None
    # Set when this is done, or when its caller has to commit the queue.
    woken: threading.Event = field(default_factory=threading.Event)

    @property
    def done(self) -> bool:
        return self.version is not None or self.error is not None


class Writer:
    """The writing half of a gallery. Safe to use from several threads.

    Args:
        observer: called after commits.
    """

    def __init__(self, gallery: StoredGallery, observer: Observer = NOBODY) -> None:
        self._gallery = gallery
        self._observer = observer
        self._lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._busy = False  # a caller commits

    @property
    def waiting(self) -> int:
        """Commits that wait for the one that is under way."""
        return len(self._queue)

    def commit(
        self, operations: Sequence[Operation], requires: Requirements | None = None
    ) -> Version:
        """See `serving.gallery.Gallery.commit`."""
        # Checks them: invalid operations must fail alone, not those committed together with them.
        Segment.of(operations, self._gallery.dimension)
        mine = _Waiting(operations, requires, acts_of(operations))
        with self._lock:
            self._queue.append(mine)
            first, self._busy = not self._busy, True
        if not first:
            mine.woken.wait()
        if not mine.done:
            self._commit_queue()
        if mine.error is not None:
            raise mine.error
        assert mine.version is not None
        return mine.version

    def commit_segments(
        self, segments: Callable[[], Iterable[Segment]], written: Callable[[Segment], None]
    ) -> Version:
        """See `serving.gallery.Gallery.commit_segments`."""
        uploaded: _Uploaded | None = None

        def mutate(manifest: Manifest, commit: str) -> Manifest | None:
            nonlocal uploaded
            if uploaded is None or uploaded.lost_by(manifest):
                uploaded = _Uploaded(None, [], manifest.at)
            refs, version = uploaded.refs, manifest.version + 1
            # After a failure of the store, the next try goes on where it stopped.
            for segment in itertools.islice(segments(), len(refs), None):
                if segment.dimension != self._gallery.dimension:
                    raise ValueError(
                        f"embeddings of {segment.dimension} numbers, not {self._gallery.dimension}"
                    )
                refs.append(self._gallery.objects.write(segment, version, version))
                written(segment)
            return manifest.after(commit, refs, self._gallery.now()) if refs else None

        return self._gallery.commit_as("import", mutate)

    def commit_made(
        self, make: Callable[[Snapshot], Segment | None], people_at: PeopleAt
    ) -> Version:
        """See `serving.gallery.Gallery.commit_made`."""
        return self.commit_from(lambda now: make(_exactly_at(now.at, people_at)), "migrate")

    def commit_from(self, make: Callable[[Manifest], Segment | None], action: str) -> Version:
        """Commit the segment that ``make`` returns for the present manifest; called again when
        another writer was faster. None: there is nothing to commit."""
        made: tuple[str | None, Segment | None] | None = None

        def prepare(manifest: Manifest) -> Segment | None:
            nonlocal made
            if made is None or made[0] != manifest.at.commit:
                made = manifest.at.commit, make(manifest)
            return made[1]

        act = act_of(action)
        # It may hold embeddings of people who are erased meanwhile.
        return self._commit(prepare, lambda: [act], discard=True)

    def _commit_queue(self) -> None:
        together: list[_Waiting] = []
        accepted: list[_Waiting] = []
        segment: Segment | None = None
        failure: BaseException | None = None
        start = time.perf_counter()

        def prepare(manifest: Manifest) -> Segment | None:
            nonlocal accepted, segment
            # Only once: a write that timed out may yet be carried out, and would then be taken for
            # one that holds operations which joined later.
            if not together:
                together.extend(self._drain())
            before, accepted = accepted, self._accept(together, manifest)
            if segment is None or accepted != before:
                operations = [o for w in accepted for o in w.operations]
                segment = Segment.of(operations, self._gallery.dimension)
            # A gallery begins with its first enrolment, not by removing everybody from nobody.
            changes = any(o.kind is not Kind.CLEAR for w in accepted for o in w.operations)
            return segment if accepted and (manifest.version or changes) else None

        try:
            version = self._commit(prepare, lambda: [a for w in accepted for a in w.acts])
            for w in together:
                w.version = version
        except BaseException as error:
            failure = error
            # All waiting callers get the same error: trying again for each would only take longer.
            together = together or self._drain()
            reported = error if isinstance(error, Exception) else NotConfirmed(_BROKEN_OFF)
            for w in together:
                w.error = reported
            if not isinstance(error, Exception):
                raise
        finally:
            self._hand_over()
            for w in together:
                w.woken.set()
            seconds = time.perf_counter() - start
            self._observer.committed(outcome_of(failure), len(together), seconds)

    def _drain(self) -> list[_Waiting]:
        with self._lock:
            waiting, self._queue = self._queue, []
        return waiting

    def _hand_over(self) -> None:
        with self._lock:
            self._busy = bool(self._queue)
            if self._busy:
                self._queue[0].woken.set()

    def _accept(self, waiting: Sequence[_Waiting], manifest: Manifest) -> list[_Waiting]:
        """Those whose required people are enrolled and whose precondition passes, given the ones
        accepted before them; sets the error of the others."""
        people: Snapshot | None = None
        requirements = [w.requires for w in waiting if w.requires]
        if requirements:
            # Callers of one writer are callers of one gallery.
            people = _exactly_at(manifest.at, requirements[0].people_at)
        changed: dict[int, bool] = {}
        cleared = False

        def enrolled(person: int) -> bool:
            return changed.get(person, not cleared and people is not None and person in people)

        accepted: list[_Waiting] = []
        for w in waiting:
            required = w.requires.enrolled if w.requires else ()
            missing = [i for i in required if not enrolled(i)]
            w.error = UnknownIdentity(_nobody(missing)) if missing else None
            if missing:
                continue
            if w.requires and w.requires.precondition and people is not None:
                earlier = [o for other in accepted for o in other.operations]
                try:
                    w.requires.precondition(people, earlier)
                except Exception as error:
                    w.error = error
                    continue
            accepted.append(w)
            for operation in w.operations:
                if operation.kind in (Kind.PUT, Kind.APPEND):
                    changed[operation.id] = True
                elif operation.kind in (Kind.DELETE, Kind.SPLIT):
                    changed[operation.id] = False
                elif operation.kind is Kind.MERGE:
                    exists = any(enrolled(i) for i in (operation.id, *operation.sources))
                    changed.update(dict.fromkeys(operation.sources, False))
                    changed[operation.id] = exists
                elif operation.kind is Kind.CLEAR:
                    changed, cleared = {}, True
        return accepted

    def _commit(
        self,
        prepare: Callable[[Manifest], Segment | None],
        acts: Callable[[], Iterable[Act]],
        *,
        discard: bool = False,
    ) -> Version:
        """Commit the segment that ``prepare`` returns.

        Args:
            discard: remove uploads that others take the place of.
        """
        uploaded: _Uploaded | None = None
        uploads = Uploads(self._gallery.objects)

        def mutate(manifest: Manifest, commit: str) -> Manifest | None:
            nonlocal uploaded
            segment = prepare(manifest)
            if segment is None:
                return None
            if uploaded is None or uploaded.segment is not segment or uploaded.lost_by(manifest):
                version = manifest.version + 1
                # No earlier attempt can be carried out any more: the manifest is another one.
                if discard:
                    uploads.discard()
                uploaded = _Uploaded(
                    segment, [uploads.write(segment, version, version)], manifest.at
                )
            everybody = len(segment) > 0 and segment.kind[0] == Kind.CLEAR
            return manifest.after(
                commit, uploaded.refs, self._gallery.now(), everybody=bool(everybody)
            )

        return self._gallery.commit(mutate, acts)


@dataclass
class _Uploaded:
    """Segments that were uploaded for a manifest of version ``base``, and are not committed yet.

    Attributes:
        segment: from which the only one was made; None: it does not matter.
    """

    segment: Segment | None
    refs: list[SegmentRef]
    base: Version

    def lost_by(self, manifest: Manifest) -> bool:
        """Whether a sweep may have removed them: it commits a fence before. In another history the
        fence may be missing."""
        return manifest.fence > self.base or not manifest.continues(self.base)


def _exactly_at(version: Version, people_at: PeopleAt) -> Snapshot:
    """The people at this version. Raises PreconditionFailed when they are of another already."""
    people = people_at(version)
    if people.version != version or not people.answers(version):
        raise PreconditionFailed("the people in memory are not those of this manifest")
    return people


def acts_of(operations: Sequence[Operation]) -> list[Act]:
    """What these operations do, by the present actor."""
    return [act_of(ACTIONS[kind]) for kind in dict.fromkeys(o.kind for o in operations)]


def _nobody(ids: Sequence[int]) -> str:
    return f"Nobody is enrolled under the id {', '.join(str(i) for i in ids[:5])}."
