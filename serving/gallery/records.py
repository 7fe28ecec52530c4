"""Records: all that the segments of a gallery hold of a few people, with every embedding.

In memory there is only one centroid a person. This reads the segments that concern these people.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.gallery.contents import Contents
from serving.gallery.distinct import Distinct
from serving.gallery.fold import fold
from serving.gallery.manifest import Manifest
from serving.gallery.ownership import Owners
from serving.gallery.segment import STORED, Kind, Operation, Segment
from serving.gallery.store import NotFound, PreconditionFailed

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Record:
    """One person. Compared by identity: what a correction leaves as it was is not written.

    Attributes:
        embeddings: float16 (P, D), unit length, one row a photo.
        details: see `serving.gallery.segment.Operation`.
        created, updated: seconds since 1970.
        distinct: thresholds of pairs, by the other one's id, see `serving.gallery.distinct`.
    """

    embeddings: NDArray[np.float16]
    details: Mapping[str, Any]
    created: float
    updated: float
    distinct: Mapping[int, float] = field(default_factory=dict)

    @property
    def rows(self) -> list[bytes]:
        """Each embedding; photos are the same when these are."""
        return [row.tobytes() for row in self.embeddings]


Records = Mapping[int, Record]


class Photo(NamedTuple):
    """An enrolled photo.

    Attributes:
        id: 16 hex digits of a hash of the embedding.
        similarity: cosine to the sum of the person's other photos; None: there is no other.
    """

    id: str
    similarity: float | None


def read(contents: Contents, manifest: Manifest, ids: Collection[int]) -> Records:
    """Those of ``ids`` who are enrolled at this manifest.

    Raises:
        NotFound: a segment was swept meanwhile.
        Unavailable: the store is away, or an object is damaged.
    """
    owners = contents.owners(manifest.segments)
    wanted = _merged_into(owners, ids)
    wanted |= _merged_into(owners, _paired_with(owners, wanted))
    masks = [_concerning(wanted, column) for column in owners]
    concerned = [n for n, mask in enumerate(masks) if mask.any()]
    read = contents.gallery.objects.read_all([manifest.segments[n] for n in concerned])
    segments = [s.select(masks[n]) for n, s in zip(concerned, read, strict=True)]
    found: dict[int, Record] = {}
    distinct = Distinct()
    for segment in fold(segments, from_nothing=True, max_rows=_ROWS_AT_ONCE):
        found.update(_records(segment))
        for a, b, threshold in pairs_in(segment):
            distinct.set(a, b, threshold)
    return {i: replace(r, distinct=distinct.of(i)) for i, r in found.items() if i in ids}


def read_now(contents: Contents, manifest: Manifest, ids: Collection[int]) -> Records:
    """`read` of the manifest that a commit is to replace.

    Raises:
        PreconditionFailed: there is a newer manifest.
    """
    try:
        return read(contents, manifest, ids)
    except NotFound:
        raise PreconditionFailed("the manifest's segments were swept") from None


def photos_of(record: Record) -> list[Photo]:
    """The photos of a person, in the order of their enrolment."""
    rows = record.embeddings.astype(np.float32)
    others = rows.sum(axis=0) - rows
    lengths = np.linalg.norm(others, axis=1)
    cosines = np.einsum("pd,pd->p", rows, others) / np.maximum(lengths, 1e-6)
    alone = len(rows) == 1
    return [
        Photo(photo_id(row), None if alone else float(np.clip(cosine, -1, 1)))
        for row, cosine in zip(record.rows, cosines, strict=True)
    ]


def photo_id(row: bytes) -> str:
    """See `Photo`."""
    return hashlib.blake2b(row, digest_size=8).hexdigest()


def holding(record: Record, rows: Counter[bytes]) -> list[int]:
    """The places of the record's photos that are among ``rows``, which are used up."""
    return [place for place, row in enumerate(record.rows) if take(rows, row)]


def take(rows: Counter[bytes], row: bytes) -> bool:
    """Whether the photo is among ``rows``, of which it is one less then."""
    if rows[row] <= 0:
        return False
    rows[row] -= 1
    return True


def _merged_into(owners: Sequence[Owners], ids: Collection[int]) -> set[int]:
    """With the people who were merged into one of these."""
    wanted = set(ids)
    for column in reversed(owners):
        for n in reversed(column.sources):
            if column.kind[n] == Kind.MERGE and column.id[n] in wanted:
                wanted.update(column.sources[n])
    return wanted


def _paired_with(owners: Sequence[Owners], people: Collection[int]) -> set[int]:
    """Who ever was in a pair with one of these, see `serving.gallery.distinct`."""
    others: set[int] = set()
    for column in owners:
        for n, sources in column.sources.items():
            pair = {int(column.id[n]), *sources}
            if column.kind[n] == Kind.DISTINCT and not pair.isdisjoint(people):
                others |= pair
            elif column.kind[n] == Kind.MERGE and not others.isdisjoint(sources):
                others.add(int(column.id[n]))  # whose pair it is from then on
    return others


def _concerning(people: Collection[int], column: Owners) -> NDArray[np.bool_]:
    """(N,): the operations without which these people would not be as they are."""
    mask: NDArray[np.bool_] = np.isin(column.id, list(people)) | (column.kind == Kind.CLEAR)
    for n, sources in column.sources.items():
        # A person who was merged into another one is no longer there.
        other = column.kind[n] in (Kind.MERGE, Kind.DISTINCT)
        mask[n] |= other and any(source in people for source in sources)
    return mask


def telling(a: int, b: int, threshold: float | None, time: float) -> Operation:
    """The operation which says that the two are not one person; None: which takes that back."""
    return Operation(Kind.DISTINCT, a, time, sources=[b], details={"threshold": threshold})


def pairs_in(segment: Segment) -> Iterator[tuple[int, int, float]]:
    """The pairs of people in a segment of `serving.gallery.fold.fold` from nothing."""
    if not (segment.kind == Kind.DISTINCT).any():
        return
    starts = segment.source_starts().tolist()
    for n, details in enumerate(segment.each_details()):
        if segment.kind[n] == Kind.DISTINCT:
            yield int(segment.id[n]), int(segment.sources[starts[n]]), details["threshold"]


def _records(segment: Segment) -> list[tuple[int, Record]]:
    starts = segment.row_starts().tolist()
    return [
        (
            int(segment.id[n]),
            Record(
                segment.embeddings[starts[n] : starts[n + 1]].astype(STORED),
                details,
                float(segment.created[n]),
                float(segment.updated[n]),
            ),
        )
        for n, details in enumerate(segment.each_details())
        if segment.kind[n] == Kind.PUT
    ]
