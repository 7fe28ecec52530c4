"""The manifest: which segments make up the gallery, and in what order.

It is the only object that is ever replaced, always on the condition that it is still the one that
the new one was made from; so replacing it is the commit. It lists the newest segments itself and
the older ones in an index, an object that is written once. So a commit costs the same however large
and old the gallery is.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from serving.gallery.erased import Erased
from serving.gallery.formats import Stored
from serving.gallery.version import Version


class SegmentRef(Stored):
    """One segment, and the versions ``first`` to ``last`` of the gallery that it covers."""

    name: str = Field(pattern=r"^[0-9a-f]{32}$")
    first: int = Field(ge=1)
    last: int
    bytes: int = Field(ge=0)
    sha256: str
    operations: int = Field(ge=0)
    rows: int = Field(ge=0, description="embeddings in it")
    ends: float | None = Field(
        None, description="earliest end of a retention that it sets, in seconds since 1970"
    )

    @model_serializer(mode="wrap")
    def _without_no_end(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # An earlier version does not write to a gallery with fields that it does not know.
        stored: dict[str, Any] = handler(self)
        if stored.get("ends") is None:
            stored.pop("ends", None)
        return stored


class Act(Stored):
    """What was done by a commit, and by whom: ``key:NAME``, ``cli:USER``, or ``unknown``."""

    action: str
    who: str


class CommitRef(Stored):
    id: str
    version: int
    # Several callers' operations may be in one commit. Absent in those of earlier versions.
    acts: tuple[Act, ...] = ()


class Index(Stored):
    """The older segments of a manifest, and the objects no longer listed since it was written."""

    # Absent in indexes of earlier versions.
    format: Literal["faces-index/1"] = "faces-index/1"
    # The name is the content's sha256. The nonce makes it unique: a swept name never comes back.
    nonce: str
    segments: tuple[SegmentRef, ...]
    dropped: tuple[str, ...] = Field(description="names; a slow reader may still be reading them")


INDEXES = "index/"
_MOST_ACTS = 8


def index_name(data: bytes) -> str:
    return f"{INDEXES}{hashlib.sha256(data).hexdigest()}"


# The name of the index without segments, which is not stored.
NO_INDEX = index_name(b"")


def key_of(folder: str, name: str) -> str:
    """The key of a segment or an index in the gallery's folder."""
    if name.startswith(INDEXES):
        return f"{folder}/{name}.json"
    return f"{folder}/segments/{name}.safetensors"


class Manifest(Stored):
    """One version of the gallery. Version 0 is the gallery before its first commit.

    A version that no segment covers is a fence: it changes no person, but a writer that prepared a
    commit before it has to start again.
    """

    # The first format listed all segments in the manifest, and names that were to be swept.
    format: Literal["faces-gallery/1", "faces-gallery/2"] = "faces-gallery/2"
    retired: tuple[str, ...] = Field((), exclude=True)
    model: str
    collection: str
    dimension: int = Field(ge=1)
    version: int = Field(ge=0)
    fence: int = Field(0, ge=0, description="the last version that is a fence; 0: none yet")
    index: str = Field(NO_INDEX, pattern=r"^index/[0-9a-f]{64}$", description="name of an `Index`")
    segments: tuple[SegmentRef, ...] = ()
    # How many of the segments in memory come from the index.
    indexed: int = Field(0, exclude=True)
    unknown_in_index: frozenset[str] = Field(frozenset(), exclude=True)
    commits: tuple[CommitRef, ...] = ()
    erased: Erased | None = None
    epoch: str | None = Field(
        None, description="a restore begins another one; absent before the first erasure or restore"
    )
    updated: float = Field(0.0, description="seconds since 1970, by the writer's clock")

    def after(
        self,
        commit: str,
        segments: Sequence[SegmentRef],
        now: float,
        *,
        everybody: bool = False,
    ) -> Manifest:
        """The manifest with one more commit.

        Args:
            everybody: the segments begin by removing all people, so the older ones are dropped.
        """
        version = self.version + 1
        first = 1 if everybody else version
        refs = [s.model_copy(update={"first": first, "last": version}) for s in segments]
        kept = () if everybody else self.segments
        return self._next(commit, version, (*kept, *refs), now)

    def folded(self, commit: str, segments: tuple[SegmentRef, ...], now: float) -> Manifest:
        """The same people in other segments; the version stays."""
        return self._next(commit, self.version, segments, now)

    def by(self, acts: Iterable[Act]) -> Manifest:
        """The same, with what its last commit did, as far as there is room."""
        some = tuple(dict.fromkeys(acts))[:_MOST_ACTS]
        *older, last = self.commits
        last = last.model_copy(update={"acts": some})
        return self.model_copy(update={"commits": (*older, last)})

    def in_epoch(self, commit: str, now: float) -> Manifest:
        """The same people in the same segments; the commit begins an epoch."""
        return self.folded(commit, self.segments, now).model_copy(update={"epoch": commit})

    def without(self, erased: Erased) -> Manifest:
        """The same segments; people of whom they hold nothing any more are remembered as erased."""
        return self.model_copy(update={"erased": erased})

    def fenced(self, commit: str, now: float) -> Manifest:
        """A fence, after which segments that are not listed may be removed."""
        version = self.version + 1
        fence = self._next(commit, version, self.segments, now)
        return fence.model_copy(update={"fence": version})

    def _next(
        self, commit: str, version: int, segments: tuple[SegmentRef, ...], now: float
    ) -> Manifest:
        entry = CommitRef(id=commit, version=version)
        return self.model_copy(
            update={
                "version": version,
                "segments": segments,
                "commits": (*self.commits, entry),
                "updated": now,
            }
        )

    @property
    def strange(self) -> set[str]:
        """The names of all fields that this version does not know, in the manifest and in its
        index: a newer version has written them, and a commit of this one would drop them."""
        erased = (self.erased, *self.erased.erasures) if self.erased else ()
        acts = (act for commit in self.commits for act in commit.acts)
        parts = (*self.segments, *self.commits, *acts, *erased)
        return self.unknown | self.unknown_in_index | {u for p in parts for u in p.unknown}

    @property
    def names(self) -> frozenset[str]:
        """The names of all objects that this manifest needs."""
        own = () if self.index == NO_INDEX else (self.index,)
        return frozenset((*own, *(s.name for s in self.segments)))

    def as_index(self) -> Index | None:
        """An index of all segments, for when they are listed no more: so that this version can be
        found until they are swept. None: its own index has them all, or there are none."""
        if len(self.segments) == self.indexed:
            return None
        dropped = () if self.index == NO_INDEX else (self.index,)
        return Index(nonce=uuid.uuid4().hex, segments=self.segments, dropped=dropped)

    def index_after(self, before: Manifest, most_recent: int) -> Index | None:
        """The new index that this manifest, made from ``before``, needs; None: it needs none.

        Args:
            before: its index is dropped.
            most_recent: segments that a manifest may list itself, beside its index.
        """
        recent = len(self.segments) - before.indexed
        dropped = {s.name for s in before.segments} - {s.name for s in self.segments}
        added = len(self.segments) - len(before.segments)
        if not dropped and added <= 1 and recent <= most_recent:
            return None
        if before.index != NO_INDEX:
            dropped.add(before.index)
        return Index(nonce=uuid.uuid4().hex, segments=self.segments, dropped=tuple(sorted(dropped)))

    def to_bytes(self) -> bytes:
        """As it is stored: without the segments that the index lists."""
        recent = self.segments[self.indexed :]
        stored = self.model_copy(update={"segments": recent, "format": "faces-gallery/2"})
        return stored.model_dump_json().encode()

    @property
    def at(self) -> Version:
        """The version, with the last commit."""
        return Version(self.version, self.commits[-1].id if self.commits else None)

    def continues(self, version: int) -> bool:
        """Whether this manifest came out of that version by commits alone.

        A greater number does not show it: a manifest may have been restored from a backup since,
        and then the numbers come again. False also when the commit was forgotten meanwhile.
        """
        version = Version.of(version)
        if version.commit is None:
            return self.version >= version
        return any(c.id == version.commit for c in self.commits)

    def version_of(self, commits: Collection[str]) -> Version | None:
        """The version that one of these commits made; None: none is among the last commits."""
        for c in reversed(self.commits):
            if c.id in commits:
                return Version(c.version, c.id)
        return None

    def remembering(self, commits: int) -> Manifest:
        """The manifest with only the last ``commits`` ids of commits."""
        return self.model_copy(update={"commits": self.commits[-commits:]})

    def remembers_all_since(self, before: Manifest, remembered: int) -> bool:
        """Whether no commit that came after ``before`` has been forgotten.

        Args:
            remembered: ids of commits that a manifest keeps.
        """
        if len(self.commits) < remembered:
            return True
        return bool(before.commits) and any(c.id == before.commits[-1].id for c in self.commits)

    def restored(
        self,
        commit: str,
        segments: Sequence[SegmentRef],
        version: int,
        now: float,
        erased: Erased | None,
    ) -> Manifest:
        """Other people, in ``segments`` that hold all of them, as ``version``, in another epoch.

        The segments cover all versions so far, so whoever has an earlier one loads anew.
        """
        refs = tuple(s.model_copy(update={"first": 1, "last": version}) for s in segments)
        after = self._next(commit, version, refs, now)
        return after.model_copy(update={"erased": erased, "epoch": commit})

    def newer_than(self, version: int) -> tuple[SegmentRef, ...] | None:
        """The segments to apply at ``version``; None: the gallery has to be loaded from nothing."""
        if not self.continues(version):
            return None  # restored from a backup, or too many commits since
        if any(s.first <= version < s.last for s in self.segments):
            return None  # folded with what is applied already
        return tuple(s for s in self.segments if s.first > version)
