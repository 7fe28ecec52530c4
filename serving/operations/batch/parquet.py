"""Results as Parquet: a row for each face, and one for each photo without a face or with an error.

Importing this needs pyarrow, of the extra `jobs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from serving.operations.outcomes import outcome_of

_PEOPLE = pa.list_(
    pa.struct(
        [
            ("id", pa.int64()),
            ("name", pa.string()),
            ("similarity", pa.float64()),
            ("confidence", pa.float64()),
        ]
    )
)
# docs/batch.md has it for readers.
SCHEMA = pa.schema(
    [
        pa.field("photo", pa.string(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        ("face", pa.int32()),
        ("outcome", pa.string()),
        ("id", pa.int64()),
        ("name", pa.string()),
        ("similarity", pa.float64()),
        ("confidence", pa.float64()),
        ("box", pa.list_(pa.int32())),
        ("detection_score", pa.float64()),
        ("candidates", _PEOPLE),
        ("ambiguous", _PEOPLE),
        ("sufficient", pa.bool_()),
        ("live", pa.bool_()),
        ("turn", pa.int32()),
        ("more_faces", pa.bool_()),
        ("threshold", pa.float64()),
        ("model", pa.string()),
        ("gallery_version", pa.int64()),
        ("error_type", pa.string()),
        ("error_status", pa.int32()),
        ("error_detail", pa.string()),
    ]
)
_OF_THE_FACE = ("id", "name", "similarity", "confidence", "box", "detection_score", "turn")
_OF_THE_PHOTO = ("more_faces", "threshold", "model", "gallery_version")


def encode(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """A file of one row group, compressed with Snappy, which every reader knows."""
    rows = [row for line in lines for row in _rows(line)]
    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), out)
    return bytes(out.getvalue())


def last(data: bytes) -> str:
    """The photo of the last row."""
    photos = pq.read_table(pa.BufferReader(data), columns=["photo"])["photo"]
    return str(photos[-1].as_py())


def _rows(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of a line; what a row lacks is null."""
    photo = {"photo": line["photo"], "etag": line["etag"]}
    if (error := line.get("error")) is not None:
        yield {**photo, **{f"error_{name}": value for name, value in error.items()}}
        return
    photo |= {name: line.get(name) for name in _OF_THE_PHOTO}
    if not line["faces"]:
        yield photo
    for number, face in enumerate(line["faces"]):
        liveness, quality = face.get("liveness"), face.get("quality")
        yield {
            **photo,
            "face": number,
            "outcome": outcome_of(face),
            **{name: face.get(name) for name in _OF_THE_FACE},
            "candidates": face.get("candidates", []),
            "ambiguous": face.get("ambiguous", []),
            "sufficient": quality.get("sufficient") if quality else None,
            "live": liveness.get("live") if liveness else None,
        }
