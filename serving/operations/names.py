"""The ids of people as folders are called by them, and the file of their names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from serving.reading.names import name_problem
from serving.reading.spelling import shown
from serving.reading.strict import Twice, load_json
from serving.settings import MAX_ID


class NotPeople(Exception):
    """The folder does not hold people's photos; one sentence."""


def no_id(folder: str) -> NotPeople:
    return NotPeople(f"The folder {folder} holds photos, but its name is no numeric id.")


def id_of(text: str) -> int | None:
    """The id that a folder or an entry of the names is called by; None: it is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 255):
        return None
    return person if (person := int(text)) <= MAX_ID else None


def names_file(path: Path) -> bytes:
    """The file of names, for `names_of`. Raises NotPeople when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotPeople(f"{path} cannot be read: {error.strerror}.") from None


def read_names(path: Path) -> dict[int, str]:
    """See `names_of`."""
    return names_of(names_file(path), str(path))


def names_of(data: bytes, path: str) -> dict[int, str]:
    """The names in a file, a JSON object from id to name, by id.

    Args:
        path: of the file, for messages.

    Raises:
        NotPeople: it holds no names.
    """
    try:
        names = load_json(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise NotPeople(f"{path} is not UTF-8.") from None
    except Twice as error:
        raise NotPeople(f"{path}: the id {shown(error.key)} is given twice.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise NotPeople(f"{path} is no JSON: {error.msg} ({place}).") from None
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, dict):
        raise NotPeople(f"{path} is no JSON object from id to name, each id once.")
    found: dict[int, str] = {}
    for text, name in names.items():
        if (person := id_of(text)) is None:
            raise NotPeople(f"{path}: {shown(text)} is no id; ids are whole numbers.")
        if person in found:
            raise NotPeople(f"{path}: the id {person} is given twice, once as {shown(text)}.")
        if not isinstance(name, str):
            raise NotPeople(f"{path}: the name of {person} is no text.")
        found[person] = name
    for person, name in found.items():
        if (problem := name_problem(name)) is not None:
            raise NotPeople(f"{path}: the name of {person}: {problem}")
    return found


def unused_sentence(ids: Sequence[int], names: str) -> str | None:
    """The sentence on the ids in the file of names that have no photos."""
    if not ids:
        return None
    some = ", ".join(map(str, ids[:3])) + (", …" if len(ids) > 3 else "")
    entries = "an id" if len(ids) == 1 else f"{len(ids)} ids"
    return f"{names} also names {entries} without photos here: {some}."
