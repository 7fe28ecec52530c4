"""A writer and reader of the previous release, as far as it handles the manifest.

Its models know the fields of that release and drop all others, as that release did. It retries
nothing but a lost race.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from typing import Any

from serving.gallery.segment import Operation, Segment
from serving.gallery.state import People
from serving.gallery.store import NotFound, PreconditionFailed, Store

_MANIFEST = (
    *("format", "model", "collection", "dimension", "version", "fence", "index", "segments"),
    *("commits", "updated"),
)
_SEGMENT = ("name", "first", "last", "bytes", "sha256", "operations", "rows")
_COMMIT = ("id", "version")
_NO_INDEX = f"index/{hashlib.sha256(b'').hexdigest()}"
_TRIES = 12


class OlderWriter:
    """One process of the previous release on the gallery in ``folder``.

    Args:
        recent, remembered: as `serving.gallery.limits.Limits` has them.
    """

    def __init__(
        self, store: Store, folder: str, dimension: int, recent: int = 32, remembered: int = 128
    ) -> None:
        self._store, self._folder, self._dimension = store, folder, dimension
        self._recent, self._remembered = recent, remembered
        self._key = f"{folder}/manifest.json"

    def commit(self, operations: Sequence[Operation]) -> int:
        """Raises PreconditionFailed when others are faster each time."""
        segment = Segment.of(operations, self._dimension)
        commit, uploaded = uuid.uuid4().hex, (0, "")
        for _ in range(_TRIES):
            manifest, etag, older = self._read()
            version = manifest["version"] + 1
            if not uploaded[0] or manifest["fence"] >= uploaded[0]:
                uploaded = version, uuid.uuid4().hex
                self._store.put(self._of_segment(uploaded[1]), segment.to_bytes())
            data = segment.to_bytes()
            ref = {
                "name": uploaded[1],
                "first": version,
                "last": version,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "operations": len(segment),
                "rows": len(segment.embeddings),
            }
            after = manifest | {
                "format": "faces-gallery/2",
                "version": version,
                "segments": [*manifest["segments"], ref],
                "commits": [*manifest["commits"], {"id": commit, "version": version}],
            }
            after["commits"] = after["commits"][-self._remembered :]
            if len(after["segments"]) > self._recent:
                after |= {"index": self._index(manifest, [*older, *after["segments"]])}
                after["segments"] = []
            try:
                body = json.dumps(after).encode()
                self._store.put(self._key, body, if_match=etag, if_absent=etag is None)
            except PreconditionFailed:
                continue
            return int(version)
        raise PreconditionFailed(self._key)

    def people(self) -> list[int]:
        """Everybody's id, read from nothing."""
        manifest, _, older = self._read()
        people = People(self._dimension)
        for ref in [*older, *manifest["segments"]]:
            people.apply(Segment.from_bytes(self._store.get(self._of_segment(ref["name"])).data))
        return [p.id for p in people.snapshot(manifest["version"]).list(1000)]

    def newer_than(self, version: int) -> list[str] | None:
        """The names of the segments that a reader at this version applies; None: all anew."""
        manifest, _, older = self._read()
        segments = [*older, *manifest["segments"]]
        if manifest["version"] < version:
            return None
        if any(s["first"] <= version < s["last"] for s in segments):
            return None
        return [s["name"] for s in segments if s["first"] > version]

    def _read(self) -> tuple[dict[str, Any], str | None, list[dict[str, Any]]]:
        try:
            stored = self._store.get(self._key)
        except NotFound:
            empty = {"dimension": self._dimension, "version": 0, "fence": 0, "index": _NO_INDEX}
            collection, _, model = self._folder.partition("/")[2].partition("/")
            named = {"model": model, "collection": collection, "updated": 0.0}
            return {**named, **empty, "segments": [], "commits": []}, None, []
        found = json.loads(stored.data)
        assert found["format"] in ("faces-gallery/1", "faces-gallery/2"), "cannot be read"
        manifest = {name: found[name] for name in _MANIFEST}
        manifest["segments"] = [{n: s[n] for n in _SEGMENT} for s in found["segments"]]
        manifest["commits"] = [{n: c[n] for n in _COMMIT} for c in found["commits"]]
        if manifest["index"] == _NO_INDEX:
            return manifest, stored.etag, []
        index = json.loads(self._store.get(f"{self._folder}/{manifest['index']}.json").data)
        return manifest, stored.etag, [{n: s[n] for n in _SEGMENT} for s in index["segments"]]

    def _index(self, before: dict[str, Any], segments: Sequence[dict[str, Any]]) -> str:
        dropped = [] if before["index"] == _NO_INDEX else [before["index"]]
        index = {"nonce": uuid.uuid4().hex, "segments": segments, "dropped": dropped}
        data = json.dumps(index).encode()
        name = f"index/{hashlib.sha256(data).hexdigest()}"
        self._store.put(f"{self._folder}/{name}.json", data)
        return name

    def _of_segment(self, name: str) -> str:
        return f"{self._folder}/segments/{name}.safetensors"
