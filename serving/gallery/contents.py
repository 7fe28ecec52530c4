"""Who owns what in a gallery's segments, and segments without some people: for erasures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.gallery.manifest import Manifest, SegmentRef
from serving.gallery.objects import Uploads
from serving.gallery.ownership import Owners, Ownership
from serving.gallery.segment import Segment
from serving.gallery.stored import StoredGallery


class Contents:
    """Who owns what in a gallery's segments. Reads each segment once, one after the other, however
    often it is asked: memory holds a few segments at a time, and of each only its `Owners`.

    Args:
        known: the owners of segments that were read before, by name; it adds those that it reads.
    """

    def __init__(self, gallery: StoredGallery, known: dict[str, Owners] | None = None) -> None:
        self.gallery = gallery
        self._owners = {} if known is None else known

    def owned(self, manifest: Manifest, ids: Collection[int]) -> Ownership:
        """The operations of these people. Raises NotFound, as reading them does."""
        return Ownership.of(self.owners(manifest.segments), ids)

    def owners(self, segments: Sequence[SegmentRef]) -> Sequence[Owners]:
        """Those of each segment. Raises NotFound, as reading them does."""
        unread = [ref for ref in segments if ref.name not in self._owners]
        read = map(Owners.of, self.gallery.objects.read_all(unread))
        for ref, owners in zip(unread, read, strict=True):
            self._owners[ref.name] = owners
        return [self._owners[ref.name] for ref in segments]

    def add(self, ref: SegmentRef, segment: Segment) -> None:
        """What was just written need not be read."""
        self._owners[ref.name] = Owners.of(segment)


def held(contents: Contents, ids: Collection[int]) -> set[int]:
    """The ids about which the bucket holds anything: enrolled, deleted, or in objects to sweep."""
    gallery = contents.gallery
    manifest, owned = gallery.file.reading(lambda now: (now, contents.owned(now, ids)))
    known = {i for i in ids if owned.ever(i)}
    for name, _ in gallery.objects.all():
        if name not in manifest.names and len(known) < len(ids):
            known.update(set(ids).intersection(gallery.objects.ids_in(name)))
    return known


def without(
    contents: Contents, uploads: Uploads, manifest: Manifest, ids: Collection[int]
) -> tuple[Manifest, dict[str, list[SegmentRef]], int]:
    """The replacements of the segments that hold them, by name; and the number of rows removed."""
    gallery = contents.gallery
    replacements: dict[str, list[SegmentRef]] = {}
    rows = 0
    for number, operations in contents.owned(manifest, ids).dead(ids).items():
        ref = manifest.segments[number]
        segment = gallery.objects.read(ref)
        keep = np.ones(len(segment), np.bool_)
        keep[operations] = False
        rows += int(np.diff(segment.row_starts())[operations].sum())
        replacements[ref.name] = []
        for part in _parts(segment, keep, gallery.limits.segment_bytes):
            written = uploads.write(part, ref.first, ref.last)
            contents.add(written, part)
            replacements[ref.name].append(written)
    return manifest, replacements, rows


def _parts(segment: Segment, keep: NDArray[np.bool_], most_bytes: int) -> Iterator[Segment]:
    """The operations to keep, in segments of at most so many bytes of embeddings or of one
    operation; an empty one when none is left."""
    most_rows = most_bytes // (2 * segment.dimension)
    rows = np.cumsum(np.where(keep, np.diff(segment.row_starts()), 0))
    part = (rows - 1).clip(0) // max(most_rows, 1)
    for number in np.unique(part[keep]) if keep.any() else [0]:
        yield segment.select(keep & (part == number))
