"""Restore: an earlier version of a gallery becomes its newest one.

Putting an old manifest back by hand brings back its version's number, too; a restore is a commit,
so the number grows, every reader loads anew, and other writers are told apart as in any commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from serving.errors import InvalidInput
from serving.gallery.manifest import INDEXES, NO_INDEX, Manifest, SegmentRef
from serving.gallery.objects import Uploads
from serving.gallery.ownership import Owners, Ownership
from serving.gallery.segment import Segment
from serving.gallery.store import NotFound
from serving.gallery.stored import StoredGallery
from serving.gallery.version import Version


@dataclass(frozen=True)
class Restored:
    """A restore that was committed.

    Attributes:
        gallery_version: the version it made.
        of_version: the one it brought back.
        left_out: people who were erased since, and stay so.
    """

    gallery_version: Version
    of_version: int
    embeddings: int
    left_out: Collection[int]


def restore(gallery: StoredGallery, backup: Manifest) -> Restored:
    """Commit the people of ``backup`` as the newest version.

    Its segments are written once more under new names, since a sweep may be about to remove the old
    ones; and without the people who were erased since.

    Args:
        backup: from `as_of` or `serving.gallery.manifest_file.ManifestFile.of_backup`.

    Raises:
        InvalidInput: an object that the backup lists is not in the bucket; nothing was committed.
        CommitConflict: other writers were faster each time; nothing was committed.
        Unavailable: the store is away, or an object is damaged.
    """
    base: Manifest | None = None  # for which the copies were made
    uploads = Uploads(gallery.objects)
    copies: list[SegmentRef] = []
    left_out: set[int] = set()

    def mutate(now: Manifest, commit: str) -> Manifest:
        nonlocal base, copies, left_out
        version = max(now.version, backup.version) + 1
        # A sweep that came between may have removed what was uploaded, and an erasure is to count.
        if base is None or not _still(now, base):
            base = None
            uploads.discard()
            left_out = _erased_since(gallery, now, backup)
            copies = list(_copied(gallery, uploads, backup, left_out, version))
            base = now
        erased = now.erased or backup.erased
        return now.restored(commit, copies, version, gallery.now(), erased)

    try:
        version = gallery.commit_as("restore", mutate)
    except InvalidInput:
        uploads.discard()
        raise
    return Restored(version, backup.version, sum(ref.rows for ref in copies), left_out)


def _still(now: Manifest, before: Manifest) -> bool:
    return now.fence <= before.version and now.continues(before.at) and now.erased == before.erased


def as_of(gallery: StoredGallery, version: int, now: Manifest | None = None) -> Manifest:
    """The gallery as it was at a version whose segments are still in the bucket.

    Looks into the manifest, and into older indexes that are not swept yet.

    Args:
        now: the newest manifest; None: it is read.

    Raises:
        InvalidInput: that version was folded into others, or is none of this gallery.
    """
    now = now or gallery.file.read()[0]
    if not 1 <= version <= now.version:
        raise InvalidInput(f"The gallery's versions are 1 to {now.version}.")
    for segments in histories(gallery, now):
        older = tuple(s for s in segments if s.last <= version)
        # Of an index it is known only that it is of its last segment's version or a later one.
        reaches = segments is now.segments or (segments and segments[-1].last >= version)
        if reaches and not any(s.first <= version < s.last for s in segments):
            erased = now.erased and now.erased.known_at(version)
            update = {"version": version, "segments": older, "commits": (), "erased": erased}
            return now.model_copy(update=update)
    raise InvalidInput(
        f"Version {version} cannot be read any more: it was folded into others, and what was "
        "folded is swept. Restore from a file."
    )


def histories(gallery: StoredGallery, now: Manifest) -> Iterator[Sequence[SegmentRef]]:
    """The segments of the manifest, of its index and of those before it that are still in the
    bucket, the newest first. Each says which one it replaced, so those of another history are left
    out."""
    yield now.segments
    name = now.index
    while name != NO_INDEX:
        try:
            index = gallery.file.read_index(name)
        except NotFound:  # swept
            return
        yield index.segments
        name = next((n for n in index.dropped if n.startswith(INDEXES)), NO_INDEX)


def _erased_since(gallery: StoredGallery, now: Manifest, backup: Manifest) -> set[int]:
    """The people of the backup who were erased after it was made, as far as is remembered."""
    if now.erased is None or now.erased == backup.erased:
        return set()
    found: set[int] = set()
    for segment in _read(gallery, backup):
        found |= now.erased.among(np.unique(segment.id).tolist(), but=backup.erased)
    return found


def _copied(
    gallery: StoredGallery,
    uploads: Uploads,
    backup: Manifest,
    left_out: Collection[int],
    version: int,
) -> Iterator[SegmentRef]:
    """References to new objects that hold the backup's segments without these people."""
    dropped: dict[int, list[int]] = {}
    if left_out:
        dropped = Ownership.of(map(Owners.of, _read(gallery, backup)), left_out).all_of(left_out)
    for number, segment in enumerate(_read(gallery, backup)):
        keep = np.ones(len(segment), np.bool_)
        keep[dropped.get(number, [])] = False
        kept = segment if keep.all() else segment.select(keep)
        yield uploads.write(kept, 1, version)
    if not backup.segments:
        # Without any, a reader would have nothing to load anew from.
        yield uploads.write(Segment.of([], gallery.dimension), 1, version)


def _read(gallery: StoredGallery, backup: Manifest) -> Iterator[Segment]:
    try:
        yield from gallery.objects.read_all(backup.segments)
    except NotFound as error:
        raise InvalidInput(
            f"The object {error} of that version is not in the bucket; copy it back first."
        ) from None
