"""The manifest in the store: read conditionally, replaced conditionally."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from serving.errors import GalleryCorrupt, GalleryTooNew, InvalidInput, ModelMismatch
from serving.gallery.formats import read_json
from serving.gallery.limits import DEFAULT_LIMITS, Limits
from serving.gallery.location import Location
from serving.gallery.manifest import NO_INDEX, Index, Manifest, SegmentRef, index_name, key_of
from serving.gallery.store import NotFound, Store, StoredObject

T = TypeVar("T")

_READ_TRIES = 3


class ManifestFile:
    """The manifest in the store. While it is unchanged, reading it costs only a 304.

    Safe to use from several threads.
    """

    def __init__(
        self, store: Store, prefix: str, location: Location, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self.folder = f"{prefix}/{location}"
        self._key = f"{self.folder}/manifest.json"
        self._store = store
        self._limits = limits
        self._empty = Manifest(
            collection=location.collection,
            model=location.model,
            dimension=location.dimension,
            version=0,
        )
        self._lock = threading.Lock()
        self._known: tuple[Manifest, str | None] = (self._empty, None)
        self._index: tuple[str, tuple[SegmentRef, ...], frozenset[str]]
        self._index = (NO_INDEX, (), frozenset())

    def read(self) -> tuple[Manifest, str | None]:
        """The manifest as it is now, and its ETag; None before the first commit.

        Raises:
            GalleryCorrupt: the manifest cannot be parsed, or is gone.
            ModelMismatch: it belongs to another model.
            Unavailable: the store is away.
        """
        missing = ""
        for _ in range(_READ_TRIES):
            with self._lock:
                known, etag = self._known
            try:
                if etag is None:
                    stored: StoredObject | None = self._store.get(self._key)
                else:
                    stored = self._store.get_if_changed(self._key, etag)
            except NotFound:
                if etag is not None:
                    raise GalleryCorrupt(
                        f"The manifest {self._key} is gone; restore it from a backup."
                    ) from None
                return known, None
            if stored is None:
                return known, etag
            try:
                return self._learn(self._with_index(self._parse(stored.data)), stored.etag)
            except NotFound as error:
                # The index was swept since this manifest was read; a newer one has another index.
                missing = str(error)
        raise _missing(missing)

    def reading(self, work: Callable[[Manifest], T]) -> T:
        """What ``work`` makes of the manifest's segments; called again when they were swept.

        Raises:
            GalleryCorrupt: one of them is missing.
        """
        for _ in range(_READ_TRIES):
            manifest, _ = self.read()
            try:
                return work(manifest)
            except NotFound as error:
                # The segment was swept meanwhile; a newer manifest lists its replacement.
                missing = str(error)
        raise _missing(missing)

    def require_writable(self, manifest: Manifest) -> None:
        """Raises GalleryTooNew when a commit by this version would drop what a newer one wrote."""
        if strange := manifest.strange:
            raise GalleryTooNew(
                f"A newer version of this software wrote {', '.join(sorted(strange))} into the "
                f"manifest {self._key}, which this version would drop; upgrade it. Reading goes on."
            )

    def prepare(self, before: Manifest, after: Manifest) -> Manifest:
        """Make ``after`` ready to replace ``before``: write the index that it needs, and drop the
        ids of old commits.

        Raises:
            Unavailable: the store is away; the gallery is as it was.
        """
        after = after.remembering(self._limits.remembered_commits)
        names = {ref.name for ref in after.segments}
        if not names.issuperset(ref.name for ref in before.segments):
            whole = before.as_index()
            if whole is not None:
                before = before.model_copy(update={"index": self._write(whole)})
        index = after.index_after(before, self._limits.recent_segments)
        if index is None:
            return after
        name = self._write(index)
        with self._lock:
            self._index = (name, index.segments, frozenset())
        return after.model_copy(update={"index": name, "indexed": len(index.segments)})

    def _write(self, index: Index) -> str:
        data = index.model_dump_json().encode()
        name = index_name(data)
        self._store.put(key_of(self.folder, name), data)
        return name

    def of_backup(self, data: bytes) -> Manifest:
        """A manifest that was stored once, with the segments of its index, which is still there.

        Raises:
            InvalidInput: it is no manifest of this gallery, or its index is gone.
        """
        try:
            return self._with_index(self._parse(data))
        except NotFound as error:
            raise InvalidInput(
                f"The index {error} of this manifest is not in the bucket; copy it back first."
            ) from None
        except GalleryCorrupt:
            raise InvalidInput("This is no manifest of a gallery.") from None

    def read_index(self, name: str) -> Index:
        """Raises NotFound with the key; GalleryCorrupt, naming it, when the object is damaged."""
        key = key_of(self.folder, name)
        try:
            data = self._store.get(key).data
        except NotFound:
            raise NotFound(key) from None
        if name != index_name(data):
            raise GalleryCorrupt(
                f"The gallery's object {key} is damaged: its checksum differs from its name."
            )
        return read_json(key, data, Index)

    def replace(self, manifest: Manifest, etag: str | None) -> None:
        """Replace the stored manifest if it still has this ETag.

        Args:
            manifest: from `prepare`, which has written its index.

        Raises:
            PreconditionFailed: it has another ETag; nothing was written.
            Unavailable: the store is away; the manifest may have been written or not.
        """
        data = manifest.to_bytes()
        new = self._store.put(self._key, data, if_match=etag, if_absent=etag is None)
        self._learn(manifest, new)

    def _learn(self, manifest: Manifest, etag: str) -> tuple[Manifest, str]:
        with self._lock:
            self._known = (manifest, etag)
        return manifest, etag

    def _with_index(self, stored: Manifest) -> Manifest:
        """The manifest with all of its segments. Raises NotFound when its index is gone."""
        with self._lock:
            name, older, unknown = self._index
        if stored.index == NO_INDEX:
            return stored
        if stored.index != name:
            index = self.read_index(stored.index)
            name, older, unknown = stored.index, index.segments, frozenset(index.unknown)
            with self._lock:
                self._index = (name, older, unknown)
        return stored.model_copy(
            update={
                "segments": (*older, *stored.segments),
                "indexed": len(older),
                "unknown_in_index": unknown,
            }
        )

    def _parse(self, data: bytes) -> Manifest:
        manifest = read_json(self._key, data, Manifest)
        if manifest.model != self._empty.model or manifest.dimension != self._empty.dimension:
            raise ModelMismatch(
                f"The gallery holds embeddings of {manifest.model}, but {self._empty.model} is "
                "served: the two cannot be compared."
            )
        return manifest


def _missing(key: str) -> GalleryCorrupt:
    return GalleryCorrupt(f"The gallery's object {key} is missing; restore it from a backup.")
