"""Galleries as files: people with all of their embeddings, in one safetensors file.

| tensor | dtype, shape | holds, for N people |
|---|---|---|
| `ids` | int64 (N,) | each once |
| `counts` | int32 (N,) | photos of each person, at least one; R in all |
| `embeddings` | float32 or float16 (R, D) | unit vectors in the order of `ids` |
| `created`, `updated` | float64 (N,), optional | seconds since 1970 |
| `details_length`, `details` | int32 (N,), uint8 (B,), optional | as in a segment |
| `distinct` | int64 (K, 2), optional | pairs of ids of people who are known to be two |
| `distinct_thresholds` | float64 (K,), optional | their cosines, see `serving.gallery.distinct` |

Metadata: `format` = `faces-export/1` (`/2` where a retention ends, `/3` with pairs), `model` = the
model id, and optionally, instead of details, `names`, a JSON object from id to name, for files that
are made by hand. Nothing else: what would not be read is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from serving.errors import InvalidInput
from serving.gallery.formats import is_newer
from serving.gallery.names import details_problem
from serving.gallery.records import pairs_in
from serving.gallery.retention import RETENTION
from serving.gallery.segment import Kind, Segment, normalised, starts_of
from serving.reading.spelling import shown, unknown
from serving.reading.strict import Twice, load_json

FORMAT = "faces-export/1"
# Of people whose retention ends: earlier versions would go on naming them.
FORMAT_WITH_ENDS = "faces-export/2"
# With pairs of people: earlier versions would drop them.
FORMAT_WITH_PAIRS = "faces-export/3"
_FORMATS = (FORMAT, FORMAT_WITH_ENDS, FORMAT_WITH_PAIRS)
# 50 MB of float16 in one segment: few objects for a million people, and little memory.
ROWS_AT_ONCE = 50_000
_TIMES = ("created", "updated")
_METADATA = ("format", "model", "names")
_DETAILS = ("name", "metadata", "origin", *RETENTION)
_PAIRS = ("distinct", "distinct_thresholds")
_TENSORS = {"ids", "counts", "embeddings", *_TIMES, "details_length", "details", *_PAIRS}

Pair = tuple[int, int, float]


@dataclass(frozen=True)
class ExportFile:
    """An export file; checked, except for the embeddings, which `segments` reads and checks."""

    path: Path
    model: str
    ids: NDArray[np.int64]
    counts: NDArray[np.int32]
    distinct: Sequence[Pair] = ()

    @classmethod
    def open(cls, path: Path) -> ExportFile:
        """Open and check a file. Raises InvalidInput, naming the file, when it is no export."""
        with _reading(path), safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            written = metadata.get("format")
            if is_newer(written, *_FORMATS) or set(file.keys()) - _TENSORS:
                raise InvalidInput(
                    f"{path.name} is an export of a newer version of this software; upgrade this "
                    "one."
                )
            if written not in _FORMATS:
                raise InvalidInput(f"{path.name} is no export of a gallery.")
            for name in set(metadata) - set(_METADATA):
                raise InvalidInput(f"{path.name}: {unknown(name, _METADATA, 'its metadata')}")
            ids, counts = file.get_tensor("ids"), file.get_tensor("counts")
            for name, column in (("ids", ids), ("counts", counts)):
                # Of a fraction, or a large id as a float, another person's id would be made.
                if not np.issubdtype(column.dtype, np.integer):
                    raise InvalidInput(
                        f"{path.name}: {name} are whole numbers, and these are {column.dtype}."
                    )
            rows = file.get_slice("embeddings").get_shape()
            _check_details(file, len(ids))
            for name in {*_TIMES} & set(file.keys()):
                if not np.isfinite(file.get_tensor(name)).all():  # no JSON of an answer holds them
                    raise ValueError(f"{name} holds a time that is not finite")
            pairs = list(_pairs(file))
            export = cls(path, metadata["model"], np.asarray(ids, np.int64), counts, pairs)
            if "names" in metadata:
                if "details" in file.keys():  # noqa: SIM118 - no mapping
                    raise ValueError("it has names and details; leave one of them out")
                _check_names(load_json(metadata["names"]), ids.tolist())
        if len(np.unique(ids)) != len(ids):
            raise InvalidInput(f"{path.name} holds an id twice.")
        if counts.shape != ids.shape or len(rows) != 2 or counts.sum(dtype=np.int64) != rows[0]:
            raise InvalidInput(
                f"{path.name}: the counts do not add up to the number of embeddings."
            )
        return export

    def segments(
        self, kind: Kind, time: float, *, rows_at_once: int = ROWS_AT_ONCE
    ) -> Iterator[Segment]:
        """All people, a part at a time; ``time`` is for files that hold no times.

        Raises:
            InvalidInput: an embedding or a person is not valid.
        """
        with _reading(self.path), safe_open(self.path, "numpy") as file:
            tensors = set(file.keys())
            names = load_json((file.metadata() or {}).get("names", "{}"))
            optional = {t: file.get_tensor(t) for t in tensors & {*_TIMES, "details_length"}}
            embeddings = file.get_slice("embeddings")
            blob = file.get_tensor("details").tobytes() if "details" in tensors else b""
            rows = starts_of(self.counts)
            texts = starts_of(optional.get("details_length", np.zeros(len(self.ids), np.int32)))
            for start, end in _parts(rows, rows_at_once):
                part = slice(start, end)
                times = {t: optional.get(t, np.full(len(self.ids), time))[part] for t in _TIMES}
                people = self.ids[part].tolist()
                if blob:
                    encoded = (blob[texts[n] : texts[n + 1]] for n in range(start, end))
                    details = [self._details(*one) for one in zip(people, encoded, strict=True)]
                else:
                    found = [names.get(str(person)) for person in people] if names else []
                    details = [{} if name is None else {"name": name} for name in found]
                for person, known in zip(people, details, strict=False):
                    if (problem := details_problem(known)) is not None:
                        raise self._refusal(person, problem)
                yield Segment.of_people(
                    kind,
                    self.ids[part],
                    self.counts[part],
                    normalised(embeddings[int(rows[start]) : int(rows[end])]),
                    details=details,
                    **times,
                )

    def _details(self, person: int, encoded: bytes) -> dict[str, Any]:
        """The details of one person. Raises InvalidInput: not known ones; ValueError: no JSON."""
        if not encoded:
            return {}
        try:
            details = load_json(encoded.decode())
        except Twice as error:
            raise self._refusal(person, f"{shown(error.key)} is given twice.") from None
        if not isinstance(details, dict):
            raise self._refusal(person, "The details are no object.")
        for name in details.keys() - set(_DETAILS):
            raise self._refusal(person, unknown(name, _DETAILS, "the details"))
        return details

    def _refusal(self, person: int, problem: str) -> InvalidInput:
        return InvalidInput(f"{self.path.name}: the person {person}: {problem}")


def write_export(path: Path, model: str, dimension: int, segments: Sequence[Segment]) -> None:
    """Write the people of ``segments``, which hold only puts and pairs, into one file; it appears
    complete.

    Raises:
        OSError: it cannot be written.
    """
    columns: dict[str, Any] = {
        "ids": np.empty(0, np.int64),
        "counts": np.empty(0, np.int32),
        "embeddings": np.empty((0, dimension), np.float16),
    }
    written = FORMAT
    if segments:
        everything = Segment.joined(segments)
        together = everything.select(everything.kind == Kind.PUT)
        if together.first_end is not None:
            written = FORMAT_WITH_ENDS
        columns = {
            "ids": together.id,
            "counts": together.count,
            "embeddings": together.embeddings,
            "created": together.created,
            "updated": together.updated,
            "details_length": together.details_length,
            "details": together.details,
        }
        if pairs := list(pairs_in(everything)):
            written = FORMAT_WITH_PAIRS
            columns["distinct"] = np.array([pair[:2] for pair in pairs], np.int64)
            columns["distinct_thresholds"] = np.array([pair[2] for pair in pairs], np.float64)
    part = path.with_name(f"{path.name}.part")
    try:
        metadata = {"format": written, "model": model}
        safetensors.numpy.save_file(columns, part, metadata=metadata)
        os.replace(part, path)
    except SafetensorError as error:  # the library raises it for a full disk
        raise OSError(str(error)) from error
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _check_names(names: Any, ids: Sequence[int]) -> None:
    """Raise ValueError when a name is nobody's."""
    if not isinstance(names, dict):
        raise ValueError("names is no JSON object from id to name")
    known = {str(person) for person in ids}
    for written in names:
        if written in known:
            continue
        number = written.strip()
        meant = number.lstrip("0") or "0"
        hint = f"; write {meant}" if meant in known else ""
        raise ValueError(f"names has {shown(written)}, which is no id of the file{hint}")


def _check_details(file: Any, people: int) -> None:
    """Raise ValueError when the lengths of the details are not those of the details."""
    found = {"details", "details_length"} & set(file.keys())
    if not found:
        return
    if len(found) == 1:
        raise ValueError("details need details_length, and the other way round")
    lengths = file.get_tensor("details_length")
    (size,) = file.get_slice("details").get_shape()
    whole = np.issubdtype(lengths.dtype, np.integer) and lengths.shape == (people,)
    if not whole or (lengths < 0).any() or lengths.sum(dtype=np.int64) != size:
        raise ValueError("details_length does not add up to the details")


def _pairs(file: Any) -> Iterator[Pair]:
    """Raises ValueError when they are no pairs of two people."""
    found = {*_PAIRS} & set(file.keys())
    if not found:
        return
    if len(found) == 1:
        raise ValueError("distinct needs distinct_thresholds, and the other way round")
    ids, thresholds = (file.get_tensor(name) for name in _PAIRS)
    whole = np.issubdtype(ids.dtype, np.integer) and ids.shape == (len(thresholds), 2)
    if not whole or thresholds.shape != (len(thresholds),):
        raise ValueError("distinct are not pairs of ids, with a threshold each")
    # Written so that a NaN fails too.
    if not (np.abs(thresholds) <= 1).all() or (ids < 0).any() or (ids[:, 0] == ids[:, 1]).any():
        raise ValueError("distinct are two different ids each, with a cosine")
    for (a, b), threshold in zip(ids.tolist(), thresholds.tolist(), strict=True):
        yield a, b, float(threshold)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors of reading into an InvalidInput that names the file."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}.") from error
    except (
        SafetensorError,
        LookupError,
        ValueError,
        AttributeError,
        TypeError,
        RecursionError,
    ) as error:
        raise InvalidInput(f"{path.name} is no usable export of a gallery: {error}.") from error


def _parts(rows: NDArray[np.int64], rows_at_once: int) -> Iterator[tuple[int, int]]:
    """Ranges of people, start and end: at most ``rows_at_once`` rows, at least one person."""
    start, people = 0, len(rows) - 1
    while start < people:
        end = int(np.searchsorted(rows, rows[start] + rows_at_once, side="right")) - 1
        end = max(end, start + 1)
        yield start, end
        start = end
