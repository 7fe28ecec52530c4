"""The manifest: which segments make up the gallery, and in what order.

It is the only object that is ever replaced, always with the condition that it is still the one that
the new one was made from; so replacing it is the commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.errors import GalleryCorrupt, ModelMismatch
from serving.gallery.store import NotFound, Store, StoredObject

T = TypeVar("T")

_READ_TRIES = 3
# Ids of past commits that the manifest remembers. A writer asks for its own within seconds.
_REMEMBERED_COMMITS = 256


class SegmentRef(BaseModel):
    """One segment, and the versions ``first`` to ``last`` of the gallery that it covers."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=r"^[0-9a-f]{32}$")
    first: int = Field(ge=1)
    last: int
    bytes: int = Field(ge=0)
    sha256: str
    operations: int = Field(ge=0)
    rows: int = Field(ge=0, description="embeddings in it")


class CommitRef(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    version: int


class Retired(BaseModel):
    """A segment that is no longer listed, but that a slow reader may still be reading."""

    model_config = ConfigDict(frozen=True)

    name: str
    since: float = Field(description="seconds since 1970")


class Manifest(BaseModel):
    """One version of the gallery. Version 0 is the gallery before its first commit.

    A version that no segment covers is a fence: it changes nobody, but whoever prepared a commit
    before it has to begin anew.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal["faces-gallery/1"] = "faces-gallery/1"
    model: str
    collection: str
    dimension: int = Field(ge=1)
    version: int = Field(ge=0)
    fence: int = Field(0, ge=0, description="the last version that is a fence; 0: none yet")
    segments: tuple[SegmentRef, ...] = ()
    retired: tuple[Retired, ...] = ()
    commits: tuple[CommitRef, ...] = ()
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
            everybody: the segments begin with forgetting everybody, so no others count.
        """
        version = self.version + 1
        first = 1 if everybody else version
        refs = [s.model_copy(update={"first": first, "last": version}) for s in segments]
        kept = () if everybody else self.segments
        return self._next(commit, version, (*kept, *refs), now)

    def folded(self, commit: str, segments: tuple[SegmentRef, ...], now: float) -> Manifest:
        """The same people in other segments; the version stays."""
        return self._next(commit, self.version, segments, now)

    def fenced(self, commit: str, swept: frozenset[str], now: float) -> Manifest:
        """A fence, after which the segments ``swept`` may be removed."""
        version = self.version + 1
        retired = tuple(r for r in self.retired if r.name not in swept)
        fence = self._next(commit, version, self.segments, now)
        return fence.model_copy(update={"fence": version, "retired": retired})

    def _next(
        self, commit: str, version: int, segments: tuple[SegmentRef, ...], now: float
    ) -> Manifest:
        listed = {s.name for s in segments}
        dropped = [Retired(name=s.name, since=now) for s in self.segments if s.name not in listed]
        entry = CommitRef(id=commit, version=version)
        return self.model_copy(
            update={
                "version": version,
                "segments": segments,
                "retired": (*self.retired, *dropped),
                "commits": (*self.commits, entry)[-_REMEMBERED_COMMITS:],
                "updated": now,
            }
        )

    def version_of(self, commit: str) -> int | None:
        """The version that this commit made, if it is one of the last ones."""
        return next((c.version for c in reversed(self.commits) if c.id == commit), None)

    def newer_than(self, version: int) -> tuple[SegmentRef, ...] | None:
        """The segments to apply at ``version``; None when only a reload from nothing will do."""
        if self.version < version:
            return None  # restored from a backup
        if any(s.first <= version < s.last for s in self.segments):
            return None  # folded with what is applied already
        return tuple(s for s in self.segments if s.first > version)


class ManifestFile:
    """The manifest in the store, read conditionally: while it is unchanged, only a 304 travels.

    Safe to use from several threads.
    """

    def __init__(
        self, store: Store, prefix: str, collection: str, model: str, dimension: int
    ) -> None:
        self.folder = f"{prefix}/{collection}/{model}"
        self._key = f"{self.folder}/manifest.json"
        self._store = store
        self._empty = Manifest(model=model, collection=collection, dimension=dimension, version=0)
        self._lock = threading.Lock()
        self._known: tuple[Manifest, str | None] = (self._empty, None)

    def read(self) -> tuple[Manifest, str | None]:
        """The manifest as it is now, and its ETag; None before the first commit.

        Raises:
            GalleryCorrupt: it is no manifest, or gone.
            ModelMismatch: it belongs to another model.
            Unavailable: the store is away.
        """
        with self._lock:
            known, etag = self._known
        try:
            if etag is None:
                found: StoredObject | None = self._store.get(self._key)
            else:
                found = self._store.get_if_changed(self._key, etag)
        except NotFound:
            if etag is not None:
                raise GalleryCorrupt(
                    f"The manifest {self._key} is gone; restore it from a backup."
                ) from None
            return known, None
        if found is None:
            return known, etag
        return self._learn(self._parse(found.data), found.etag)

    def reading(self, work: Callable[[Manifest], T]) -> T:
        """What ``work`` makes of the manifest's segments; again when they were swept meanwhile.

        Raises:
            GalleryCorrupt: one of them is missing.
        """
        for _ in range(_READ_TRIES):
            manifest, _ = self.read()
            try:
                return work(manifest)
            except NotFound as error:
                # A compaction swept the segment while we read; a newer manifest knows.
                missing = str(error)
        raise GalleryCorrupt(
            f"The gallery's object {missing} is missing; restore it from a backup."
        )

    def replace(self, manifest: Manifest, etag: str | None) -> None:
        """Make ``manifest`` the current one if the current one still has this ETag.

        Raises:
            PreconditionFailed: it has not; nothing was written.
            Unavailable: the store is away; the manifest may have been written or not.
        """
        data = manifest.model_dump_json().encode()
        new = self._store.put(self._key, data, if_match=etag, if_absent=etag is None)
        self._learn(manifest, new)

    def _learn(self, manifest: Manifest, etag: str) -> tuple[Manifest, str]:
        with self._lock:
            self._known = (manifest, etag)
        return manifest, etag

    def _parse(self, data: bytes) -> Manifest:
        try:
            manifest = Manifest.model_validate_json(data)
        except ValidationError as error:
            raise GalleryCorrupt(
                f"The manifest {self._key} cannot be read; restore it from a backup."
            ) from error
        if manifest.model != self._empty.model or manifest.dimension != self._empty.dimension:
            raise ModelMismatch(
                f"The gallery holds embeddings of {manifest.model}, but {self._empty.model} is "
                "served: the two cannot be compared."
            )
        return manifest
