"""Segments: any number of operations in columns, as one immutable safetensors object.

| tensor | dtype, shape | holds, for N operations |
|---|---|---|
| `kind` | uint8 (N,) | what is done, see `Kind` |
| `id` | int64 (N,) | the person whom it changes |
| `count` | int32 (N,) | its rows of `embeddings` (put, append) or of `sources` (others) |
| `embeddings` | float16 (R, D) | unit vectors, one row a photo, in the order of the operations |
| `sources` | int64 (S,) | ids: who is merged, gets photos (split), or is another (distinct) |
| `created`, `updated` | float64 (N,) | seconds since 1970 |
| `details_length` | int32 (N,) | bytes of `details` that belong to the operation |
| `details` | uint8 (B,) | JSON objects; the keys of `Operation.details` that change |

float32 embeddings are read too. float16 is half as large, and changes a cosine by at most 0.0005.
Nothing in a segment is code.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from serving.gallery import tensors
from serving.gallery.distinct import threshold_problem
from serving.gallery.formats import is_newer
from serving.gallery.retention import end_of, retention_problem

_FORMAT = "faces-segment/1"
# Of segments in which somebody's retention ends: earlier versions would go on naming them.
_FORMAT_WITH_ENDS = "faces-segment/2"
# Of segments with corrections: earlier versions do not know these kinds.
_FORMAT_WITH_CORRECTIONS = "faces-segment/3"
_FORMATS = (_FORMAT, _FORMAT_WITH_ENDS, _FORMAT_WITH_CORRECTIONS)
_UNIT_TOLERANCE = 0.02  # of the squared length
_CHECKED_ROWS = 4096
STORED = np.float16


class NewerSegment(ValueError):
    """A segment in a format, or with a tensor, that this version does not know."""


class Kind(IntEnum):
    """What an operation does. The numbers are in stored objects: never reuse one."""

    PUT = 1  # replaces the photos; creates a new person; name and metadata stay unless given
    APPEND = 2  # adds photos; creates a new person
    DELETE = 3
    MERGE = 4  # adds the photos of the people in `sources`, and deletes these
    DESCRIBE = 5  # name and metadata
    CLEAR = 6  # deletes all people
    # Deletes a person of whom photos go on to the people in `sources`: so that an erasure of one
    # of them removes the photos from the operations before, too.
    SPLIT = 7
    # The person and the one in `sources` are not one person, see `serving.gallery.distinct`; the
    # details have the threshold, or none to take it back.
    DISTINCT = 8


WITH_SOURCES = (Kind.MERGE, Kind.SPLIT, Kind.DISTINCT)


@dataclass(frozen=True)
class Operation:
    """One change to one person; see `Kind`.

    Attributes:
        embeddings: float32 (P, D), unit length.
        details: the keys that change of `name` (text or None), `metadata` (object or None) and
            `origin` (a list of the fields of `serving.gallery.snapshot.Origin`, or None), and
            `expires_at` and `legal_basis` (see `serving.gallery.retention`, or None); of a pair of
            people `threshold` (see `serving.gallery.distinct`, or None).
        time: seconds since 1970.
    """

    kind: Kind
    id: int
    time: float
    embeddings: NDArray[np.float32] | None = None
    sources: Sequence[int] = ()
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Segment:
    """Operations in columns; the attributes are the tensors of the stored format."""

    kind: NDArray[np.uint8]
    id: NDArray[np.int64]
    count: NDArray[np.int32]
    embeddings: NDArray[np.floating[Any]]
    sources: NDArray[np.int64]
    created: NDArray[np.float64]
    updated: NDArray[np.float64]
    details_length: NDArray[np.int32]
    details: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def dimension(self) -> int:
        return int(self.embeddings.shape[1])

    @classmethod
    def of(cls, operations: Sequence[Operation], dimension: int) -> Segment:
        """Raises ValueError when embeddings are not finite unit vectors of ``dimension``."""
        rows = [o.embeddings for o in operations if o.embeddings is not None]
        # An operation without details takes no bytes.
        details = [json.dumps(o.details).encode() if o.details else b"" for o in operations]
        time = np.array([o.time for o in operations], np.float64)
        segment = cls(
            kind=np.array([o.kind for o in operations], np.uint8),
            id=np.array([o.id for o in operations], np.int64),
            count=np.array(
                [len(o.sources) if o.embeddings is None else len(o.embeddings) for o in operations],
                np.int32,
            ),
            embeddings=np.concatenate([np.empty((0, dimension), STORED), *rows], dtype=STORED),
            sources=np.array([s for o in operations for s in o.sources], np.int64),
            created=time,
            updated=time,
            details_length=np.array([len(d) for d in details], np.int32),
            details=np.frombuffer(b"".join(details), np.uint8),
        )
        segment.check()
        segment.check_details()
        return segment

    @classmethod
    def of_people(
        cls,
        kind: Kind,
        ids: NDArray[np.int64],
        counts: NDArray[np.int32],
        embeddings: NDArray[np.floating[Any]],
        *,
        created: NDArray[np.float64],
        updated: NDArray[np.float64],
        details: Sequence[dict[str, Any]] = (),
    ) -> Segment:
        """One put or append for each person, in bulk.

        Args:
            ids, counts, created, updated: (N,); see the columns.
            embeddings: (R, D), in the order of ``ids``.
            details: one a person; or empty, when no person has any.

        Raises:
            ValueError: the columns do not fit together.
        """
        encoded = [json.dumps(d).encode() if d else b"" for d in details]
        segment = cls(
            kind=np.full(len(ids), kind, np.uint8),
            id=np.asarray(ids, np.int64),
            count=np.asarray(counts, np.int32),
            embeddings=np.asarray(embeddings, STORED),
            sources=np.empty(0, np.int64),
            created=np.asarray(created, np.float64),
            updated=np.asarray(updated, np.float64),
            details_length=np.array([len(d) for d in encoded] or np.zeros(len(ids)), np.int32),
            details=np.frombuffer(b"".join(encoded), np.uint8),
        )
        segment.check()
        segment.check_details()
        return segment

    @classmethod
    def joined(cls, segments: Sequence[Segment]) -> Segment:
        """The operations of all of them, one after the other."""
        return cls(
            **{name: np.concatenate([getattr(s, name) for s in segments]) for name in _COLUMNS}
        )

    def to_bytes(self) -> bytes:
        columns = {name: np.ascontiguousarray(getattr(self, name)) for name in _COLUMNS}
        written = _FORMAT if self.first_end is None else _FORMAT_WITH_ENDS
        if (self.kind > Kind.CLEAR).any():
            written = _FORMAT_WITH_CORRECTIONS
        return safetensors.numpy.save(columns, metadata={"format": written})

    @classmethod
    def from_bytes(cls, data: bytes) -> Segment:
        """Read a stored segment; its columns are views of ``data``.

        Raises:
            ValueError: the bytes are no segment; NewerSegment: they are one of a newer version.
        """
        try:
            metadata, columns = tensors.view(data)
            found = metadata.get("format")
            if is_newer(found, *_FORMATS) or columns.keys() - set(_COLUMNS):
                raise NewerSegment(f"a segment of a newer version, {found}")
            segment = cls(**columns)
        except NewerSegment:
            raise
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"not a segment: {error}") from error
        if found not in _FORMATS:
            raise ValueError(f"not a segment: its format is {found}")
        segment.check()
        return segment

    def check(self) -> None:
        """Raises ValueError when the columns do not fit together or a vector is no unit vector."""
        n = len(self.kind)
        if any(getattr(self, c).shape != (n,) for c in _PER_OPERATION):
            raise ValueError("the columns have different lengths")
        if (self.count < 0).any() or (self.details_length < 0).any() or (self.id < 0).any():
            raise ValueError("a count, a length or an id is negative")
        if not np.isin(self.kind, list(Kind)).all():
            raise ValueError("an operation is of an unknown kind")
        has_rows = np.isin(self.kind, (Kind.PUT, Kind.APPEND))
        if (self.count[has_rows] == 0).any():
            raise ValueError("a person without a photo")
        if self.embeddings.ndim != 2 or self.count[has_rows].sum() != len(self.embeddings):
            raise ValueError("the number of embeddings is not what the operations say")
        if self.count[np.isin(self.kind, WITH_SOURCES)].sum() != len(self.sources):
            raise ValueError("the number of sources is not what the operations say")
        if (self.count[self.kind == Kind.DISTINCT] != 1).any():
            raise ValueError("a pair is not two people")
        if self.details_length.sum() != len(self.details):
            raise ValueError("the details are cut off")
        for start in range(0, len(self.embeddings), _CHECKED_ROWS):
            rows = self.embeddings[start : start + _CHECKED_ROWS].astype(np.float32)
            lengths = np.einsum("nd,nd->n", rows, rows)
            # Written so that a NaN fails too.
            if not (np.abs(lengths - 1) < _UNIT_TOLERANCE).all():
                raise ValueError("an embedding is not a finite vector of unit length")

    def check_details(self) -> None:
        """Raises ValueError when the details are not what they should be.

        Apart from `check`, since only writers call both: a reader has the checksum, and parsing a
        million names would take it too long.
        """
        if len(self.details) and not all(map(_are_details, self.each_details())):
            raise ValueError(
                "the details are not a name, metadata and an origin, or a retention is wrong"
            )

    def bare(self) -> Segment:
        """A copy without its embeddings, which are nearly all of its bytes; not a valid segment."""
        columns = {name: getattr(self, name).copy() for name in _COLUMNS if name != "embeddings"}
        return Segment(**columns, embeddings=np.empty((0, self.dimension), self.embeddings.dtype))

    def select(self, keep: NDArray[np.bool_]) -> Segment:
        """The segment with only the operations of the mask ``keep``, bool (N,)."""

        def parts(starts: NDArray[np.int64]) -> NDArray[np.bool_]:
            return np.repeat(keep, np.diff(starts))

        return Segment(
            **{column: getattr(self, column)[keep] for column in ("kind", *_PER_OPERATION)},
            embeddings=self.embeddings[parts(self.row_starts())],
            sources=self.sources[parts(self.source_starts())],
            details=self.details[parts(starts_of(self.details_length))],
        )

    def row_starts(self) -> NDArray[np.int64]:
        """(N + 1,): the positions in ``embeddings`` at which the rows of each operation begin."""
        has_rows = np.isin(self.kind, (Kind.PUT, Kind.APPEND))
        return starts_of(np.where(has_rows, self.count, 0))

    def source_starts(self) -> NDArray[np.int64]:
        """(N + 1,): the positions in ``sources`` at which the ids of each merge, split or
        distinct begin."""
        return starts_of(np.where(np.isin(self.kind, WITH_SOURCES), self.count, 0))

    @cached_property
    def first_end(self) -> float | None:
        """The earliest end of a retention that an operation sets, in seconds since 1970."""
        blob = self.details.tobytes()
        if b'"expires_at"' not in blob and b'"withdrawn_at"' not in blob:
            return None
        first = min(map(end_of, self.each_details()))
        return None if first == math.inf else first

    def each_details(self) -> Iterator[dict[str, Any]]:
        """The details of each operation; empty for an operation without details."""
        if not len(self.details):
            yield from itertools.repeat({}, len(self))
            return
        blob, start = self.details.tobytes(), 0
        for length in self.details_length.tolist():
            yield json.loads(blob[start : start + length]) if length else {}
            start += length


def starts_of(lengths: NDArray[Any] | Sequence[int]) -> NDArray[np.int64]:
    """(N + 1,): the positions at which N parts of these lengths begin, and the end of the last."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def normalised(rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Rows (N, D) scaled to unit length; a row of zeros stays as it is, and one whose length is not
    finite becomes zeros or stays without a length."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = rows.astype(np.float32)
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        np.divide(values, lengths, out=values, where=lengths > 0)
    return values


def _are_details(details: Any) -> bool:
    return (
        isinstance(details, dict)
        and isinstance(details.get("name"), str | None)
        and isinstance(details.get("metadata"), dict | None)
        and _is_origin(details.get("origin"))
        and retention_problem(details) is None
        and threshold_problem(details) is None
    )


def _is_origin(origin: Any) -> bool:
    if origin is None:
        return True
    return isinstance(origin, list) and list(map(type, origin)) == [str, float, str]


_PER_OPERATION = ("id", "count", "created", "updated", "details_length")
_COLUMNS = ("kind", *_PER_OPERATION, "embeddings", "sources", "details")
