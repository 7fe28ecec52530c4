"""The formats of a job's results: its lines as the bytes of one object."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.errors import InvalidInput

Line = Mapping[str, Any]
JSON_LINES, PARQUET = "jsonl", "parquet"


@dataclass(frozen=True)
class Format:
    """A format of results.

    Attributes:
        name: the ending of the objects' names, too.
        encode: from one or more lines, in order, to the bytes of an object.
        last: from these bytes to what the last line is of, such as the key of its photo.
    """

    name: str
    encode: Callable[[Sequence[Line]], bytes]
    last: Callable[[bytes], str]


def format_named(name: str, item: str) -> Format:
    """The format of this name.

    Args:
        item: the member of each line that says what it is of; for Parquet, ``photo``.

    Raises:
        InvalidInput: it needs a package that is not installed.
    """
    if name == JSON_LINES:
        return Format(name, _lines, lambda data: str(json.loads(data.splitlines()[-1])[item]))
    try:
        from serving.operations.batch import parquet
    except ImportError as error:
        raise InvalidInput(
            f"Parquet needs pyarrow ({error}): pip install 'facenet-serving[jobs]'."
        ) from None
    return Format(PARQUET, parquet.encode, parquet.last)


def _lines(lines: Sequence[Line]) -> bytes:
    # In ASCII, whose lines every reader divides at the same places.
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)
