"""Compaction: fold a gallery's newer segments into few, so that a new replica needs few requests.

Works on the bucket alone, beside the service and other writers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import ServingError
from serving.gallery.fold import fold
from serving.gallery.limits import DEFAULT_LIMITS, Limits
from serving.gallery.manifest import Manifest, SegmentRef
from serving.gallery.objects import Uploads
from serving.gallery.segment import Segment
from serving.gallery.stored import StoredGallery


@dataclass(frozen=True)
class Compaction:
    """Segments before and after, and the bytes that were read and written."""

    before: int
    after: int
    bytes_read: int
    bytes_written: int


def compact(gallery: StoredGallery) -> Compaction:
    """Fold the newer segments. The cost is in proportion to what was written since the last
    compaction, not to the gallery.

    Raises:
        CommitConflict: other writers were faster each time; nothing was committed.
        Unavailable: the store is away, or the gallery is damaged.
    """
    uploads = Uploads(gallery.objects)

    def attempt(manifest: Manifest) -> tuple[Manifest, Sequence[SegmentRef], list[SegmentRef]]:
        uploads.discard()
        return _fold(gallery, uploads, manifest)

    try:
        manifest, run, folded = gallery.file.reading(attempt)
    except ServingError:
        uploads.discard()
        raise
    before = len(manifest.segments)
    if not run:
        return Compaction(before, before, 0, 0)
    done = False

    def mutate(now: Manifest, commit: str) -> Manifest | None:
        nonlocal done
        start = now.segments.index(run[0]) if run[0] in now.segments else 0
        end = start + len(run)
        # Another process may have folded them, or swept what was just written.
        done = now.segments[start:end] == tuple(run) and now.fence <= manifest.version
        if not done:
            return None
        segments = (*now.segments[:start], *folded, *now.segments[end:])
        return now.folded(commit, segments, gallery.now())

    gallery.commit_as("compact", mutate)
    if not done:
        uploads.discard()
    after = len(gallery.file.read()[0].segments)
    return Compaction(before, after, sum(s.bytes for s in run), sum(s.bytes for s in folded))


def _fold(
    gallery: StoredGallery, uploads: Uploads, manifest: Manifest
) -> tuple[Manifest, Sequence[SegmentRef], list[SegmentRef]]:
    """The run that is worth folding, if any, and the segments that replace it."""
    run = to_fold(manifest.segments, gallery.dimension, gallery.limits)
    if len(run) < 2:
        return manifest, (), []
    first, last = run[0].first, run[-1].last
    from_nothing = run[0] is manifest.segments[0]
    max_rows = gallery.limits.segment_bytes // (2 * gallery.dimension)
    # Embeddings are read again when they are written: memory holds those of a few segments only.
    segments = [segment.bare() for segment in gallery.objects.read_all(run)]

    # As few as will do: what one of the new segments ends with, the next one often begins with.
    @lru_cache(1)
    def embeddings(number: int) -> NDArray[np.floating[Any]]:
        return gallery.objects.read(run[number]).embeddings

    parts = fold(segments, from_nothing=from_nothing, max_rows=max_rows, embeddings=embeddings)
    folded = [uploads.write(segment, first, last) for segment in parts]
    # When no operation is left, an empty segment still says that these versions are folded.
    folded = folded or [uploads.write(Segment.of([], gallery.dimension), first, last)]
    return manifest, run, folded


def to_fold(
    segments: Sequence[SegmentRef], dimension: int, limits: Limits = DEFAULT_LIMITS
) -> Sequence[SegmentRef]:
    """The newest segments that are worth folding together; fewer than two: none are."""

    def weight(ref: SegmentRef) -> int:
        # A deletion is small, but makes an embedding elsewhere dead.
        return max(ref.bytes, ref.operations * 2 * dimension)

    total, start = 0, len(segments)
    for ref in reversed(segments):
        large = ref.bytes >= limits.segment_bytes // 2
        if weight(ref) > limits.fold_factor * total and (
            large or (total and weight(ref) > limits.small_segment_bytes)
        ):
            break
        total += weight(ref)
        start -= 1
    # Segments that one fold wrote cover the same versions: they are folded together or not at all.
    while 0 < start < len(segments) and segments[start - 1].last == segments[start].last:
        start += 1
    return segments[start:]
