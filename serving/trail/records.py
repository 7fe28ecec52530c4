"""Records of the audit: what one says, and the people in it under other names.

A record is a JSON object. People are in it under ``id`` and ``ids``, at any depth; no other field
names one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Record = dict[str, Any]
# What a record may be of; a test finds each of them where it is written.
ACTIONS = (
    *("identify", "verify", "request", "enrol", "add", "import", "describe", "merge", "unmerge"),
    *("move", "remove", "undo", "correct", "distinct", "same", "delete", "delete-all", "erase"),
    *("withdraw", "expire", "migrate", "restore", "compact", "sweep"),
)

# In memory; as JSON it is a quarter of that. A test measures it.
_BASE_BYTES = 1400
_ENTRY_BYTES = 220


def people_in(record: Record) -> Iterator[int]:
    """The ids in a record, each as often as it is there."""
    return (value for value in values_in(record, "id", "ids") if isinstance(value, int))


def pseudonyms_in(record: Record) -> Iterator[str]:
    """The pseudonyms in a record, each as often as it is there."""
    return (value for value in values_in(record, "id", "ids") if isinstance(value, str))


def values_in(record: Any, *keys: str) -> Iterator[Any]:
    """The values of these keys, at any depth; of lists each value."""
    if isinstance(record, list):
        for part in record:
            yield from values_in(part, *keys)
    elif isinstance(record, dict):
        for key, value in record.items():
            if key not in keys:
                yield from values_in(value, *keys)
            elif isinstance(value, list):
                yield from value
            else:
                yield value


def renamed(record: Any, name: Callable[[Any], Any]) -> Any:
    """The record with ``name`` of each id or pseudonym in the place of it."""
    if isinstance(record, dict):
        return {
            key: [name(v) for v in value]
            if key == "ids"
            else name(value)
            if key == "id" and value is not None
            else renamed(value, name)
            for key, value in record.items()
        }
    if isinstance(record, list):
        return [renamed(value, name) for value in record]
    return record


def size_of(record: Record) -> int:
    """About the bytes of memory that the record takes."""
    faces = [face for answer in record.get("answers", ()) for face in answer["faces"]]
    people = sum(len(face["candidates"]) + len(face.get("ambiguous", ())) for face in faces)
    entries = len(faces) + people + len(record["ids"])
    return _BASE_BYTES + _ENTRY_BYTES * entries
