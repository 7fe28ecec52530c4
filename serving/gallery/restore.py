"""Restore: an earlier version of a gallery becomes its newest one.

Putting an old manifest back by hand brings back its version's number, too; a restore is a commit,
so the number grows, every reader loads anew, and other writers are told apart as in any commit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serving.errors import InvalidInput
from serving.gallery.manifest import INDEXES, NO_INDEX, Manifest, SegmentRef
from serving.gallery.segment import Segment
from serving.gallery.store import NotFound
from serving.gallery.stored import StoredGallery
from serving.gallery.version import Version


@dataclass(frozen=True)
class Restored:
    """A restore that was committed: the version it made, the one it brought back, and its rows."""

    gallery_version: Version
    of_version: int
    embeddings: int


def restore(gallery: StoredGallery, backup: Manifest) -> Restored:
    """Commit the people of ``backup`` as the newest version.

    Its segments are written once more under new names: a sweep may be about to remove the old ones.

    Args:
        backup: from `as_of` or `serving.gallery.manifest_file.ManifestFile.of_backup`.

    Raises:
        InvalidInput: an object that the backup lists is not in the bucket; nothing was committed.
        CommitConflict: other writers were faster each time; nothing was committed.
        Unavailable: the store is away, or an object is damaged.
    """
    uploaded: tuple[Version, list[SegmentRef]] | None = None

    def mutate(now: Manifest, commit: str) -> Manifest:
        nonlocal uploaded
        version = max(now.version, backup.version) + 1
        # A sweep that came between may have removed what was uploaded.
        if uploaded is None or now.fence > uploaded[0] or not now.continues(uploaded[0]):
            uploaded = now.at, list(_copied(gallery, backup.segments, version))
        return now.restored(commit, uploaded[1], version, gallery.now())

    version = gallery.commit(mutate)
    rows = sum(ref.rows for ref in uploaded[1]) if uploaded else 0
    return Restored(version, backup.version, rows)


def as_of(gallery: StoredGallery, version: int) -> Manifest:
    """The gallery as it was at a version whose segments are still in the bucket.

    Looks into the manifest, and into older indexes that are not swept yet.

    Raises:
        InvalidInput: that version was folded into others, or is none of this gallery.
    """
    now, _ = gallery.file.read()
    if not 1 <= version <= now.version:
        raise InvalidInput(f"The gallery's versions are 1 to {now.version}.")
    for segments in itertools.chain([now.segments], _listed_once(gallery, now)):
        older = tuple(s for s in segments if s.last <= version)
        # Of an index it is known only that it is of its last segment's version or a later one.
        reaches = segments is now.segments or (segments and segments[-1].last >= version)
        if reaches and not any(s.first <= version < s.last for s in segments):
            update = {"version": version, "segments": older, "commits": ()}
            return now.model_copy(update=update)
    raise InvalidInput(
        f"Version {version} cannot be read any more: it was folded into others, and what was "
        "folded is swept. Restore from a file."
    )


def _listed_once(gallery: StoredGallery, now: Manifest) -> Iterator[Sequence[SegmentRef]]:
    """The segments of the manifest's index and of those before it that are still in the bucket,
    the newest first. Each says which one it replaced, so those of another history are left out."""
    name = now.index
    while name != NO_INDEX:
        try:
            index = gallery.file.read_index(name)
        except NotFound:  # swept
            return
        yield index.segments
        name = next((n for n in index.dropped if n.startswith(INDEXES)), NO_INDEX)


def _copied(
    gallery: StoredGallery, segments: Sequence[SegmentRef], version: int
) -> Sequence[SegmentRef]:
    try:
        copies = [
            gallery.objects.write(segment, 1, version)
            for segment in gallery.objects.read_all(segments)
        ]
    except NotFound as error:
        raise InvalidInput(
            f"The object {error} of that version is not in the bucket; copy it back first."
        ) from None
    # Without any, a reader would have nothing to load anew from.
    return copies or [gallery.objects.write(Segment.of([], gallery.dimension), 1, version)]
