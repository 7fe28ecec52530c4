"""Sweeping: remove the objects of a gallery that no manifest refers to any more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from serving.gallery.manifest import INDEXES, Manifest
from serving.gallery.store import Entry, NotFound
from serving.gallery.stored import StoredGallery


@dataclass(frozen=True)
class Sweep:
    """Objects that were removed, or would be in a dry run, and their bytes."""

    removed: Sequence[str]
    bytes: int


def sweep(gallery: StoredGallery, grace_s: float, *, dry_run: bool = False) -> Sweep:
    """Remove the objects that no manifest within the last ``grace_s`` seconds referred to.

    After an erasure (see `serving.gallery.limits.Limits.writer_life_s`) also, whatever their age,
    segments that none ever referred to: a writer that had read before the erasure may have
    uploaded what it read. That harms no reader, and a writer that goes on starts again.

    Raises:
        CommitConflict: other writers were faster each time; nothing was removed.
        Unavailable: the store is away, or the gallery is damaged.
    """
    manifest, _ = gallery.file.read()
    # Without a grace time the clocks do not count: the bucket's may be ahead of ours.
    before = gallery.now() - grace_s if grace_s else math.inf
    objects = dict(gallery.objects.all())
    unlisted = {n: e for n, e in objects.items() if n not in manifest.names}
    since = unlisted_since(gallery, objects) if unlisted and grace_s else {}
    erased, life = manifest.erased, gallery.limits.writer_life_s
    all_uploads = erased is not None and erased.later_than(gallery.now() - life)
    candidates = {
        name: entry.size
        for name, entry in unlisted.items()
        if max(entry.modified, since.get(name, 0.0)) <= before
        or (all_uploads and name not in since and not name.startswith(INDEXES))
    }
    if dry_run or not candidates:
        return Sweep(sorted(candidates), sum(candidates.values()))
    swept: frozenset[str] = frozenset()

    def mutate(now: Manifest, commit: str) -> Manifest:
        nonlocal swept
        swept = frozenset(candidates) - now.names
        return now.fenced(commit, gallery.now())

    # The fence comes first: a writer that has uploaded, but not yet committed, starts again.
    gallery.commit_as("sweep", mutate)
    if grace_s:
        # A commit may have listed, and a later one dropped, what no index knew when we looked.
        later = {n: e for n, e in gallery.objects.all() if n not in objects}
        dropped = unlisted_since(gallery, later)
        swept = frozenset(n for n in swept if dropped.get(n, -math.inf) <= before)
    # Indexes last: their times say since when segments are not listed.
    removed = sorted(swept, key=lambda name: (name.startswith(INDEXES), name))
    for name in removed:
        gallery.objects.remove(name)
    return Sweep(removed, sum(candidates[n] for n in removed))


def unlisted_since(gallery: StoredGallery, objects: Mapping[str, Entry]) -> dict[str, float]:
    """When the last index was written that dropped each object, by the bucket's clock; by name."""
    since: dict[str, float] = {}
    for name, entry in objects.items():
        if not name.startswith(INDEXES):
            continue
        with suppress(NotFound):  # swept by another process
            for dropped in gallery.file.read_index(name).dropped:
                since[dropped] = max(since.get(dropped, 0.0), entry.modified)
    return since
