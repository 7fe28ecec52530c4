"""Folders of photos -> the people that they show, and the files that show nobody."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.reading.names import name_problem
from serving.reading.spelling import shown
from serving.reading.strict import Twice, load_json
from serving.settings import MAX_ID
from serving.vision.formats.kinds import format_of

# A file with one of these suffixes is a photo, whatever it holds: the service says what is wrong
# with it, by its name.
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"),
    *(".heic", ".heif", ".avif"),
}
# Lengths of the header that follows that of the file, or BM would be the start of a text.
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_START_BYTES = 256


# What systems and NAS boxes put beside photos: previews and what was deleted.
_OF_SYSTEMS = {
    *("@eadir", "@recycle", "#recycle", "#snapshot", "__macosx", "lost+found", "$recycle.bin"),
    "system volume information",
}


class NotPeople(Exception):
    """The folder does not hold people's photos; one sentence."""


@dataclass(frozen=True)
class PersonFolder:
    """One person; the folders 7 and 007 are the same one."""

    id: int
    name: str | None
    photos: Sequence[Path]


@dataclass(frozen=True)
class Found:
    """The people of a folder.

    Attributes:
        people: in the order of their ids.
        passed_over: a sentence on the files that are none of their photos; None: there are none.
        unused_names: a sentence on names of ids that have no photos; None: there are none.
    """

    people: Sequence[PersonFolder]
    passed_over: str | None
    unused_names: str | None = None


def people_in(folder: Path, names: Path | None = None) -> Found:
    """One person, when ``folder`` is named by an id and holds photos; else one for each subfolder.

    Args:
        names: a JSON file, an object from id to name.

    Raises:
        NotPeople: a folder with photos has no id for a name, there are no photos, or no names.
    """
    by_id = _read_names(names)
    folder = folder.resolve()
    if not folder.is_dir():
        raise NotPeople(f"{folder} is no folder; give the folder that holds the photos.")
    folders = [folder] if photos_in(folder) else folders_in(folder)
    photos: dict[int, list[Path]] = {}
    for candidate in folders:
        if own := photos_in(candidate):
            photos.setdefault(_id_of(candidate), []).extend(own)
    taken = {path for own in photos.values() for path in own}
    passed_over = passed_over_sentence(folder, folders, taken, names)
    if not photos:
        sentence = f"There are no photos in {folder} or in its folders."
        raise NotPeople(f"{sentence} {passed_over}" if passed_over else sentence)
    people = [PersonFolder(person, by_id.get(person), photos[person]) for person in sorted(photos)]
    # One person's folder does not have to be all that the file of names is for.
    unused = [] if folders == [folder] else sorted(by_id.keys() - photos.keys())
    return Found(people, passed_over, _unused(unused, names))


def _unused(ids: Sequence[int], names: Path | None) -> str | None:
    """The sentence on the ids in the file of names that have no photos."""
    if not ids:
        return None
    some = ", ".join(map(str, ids[:3])) + (", …" if len(ids) > 3 else "")
    entries = "an id" if len(ids) == 1 else f"{len(ids)} ids"
    return f"{names} also names {entries} without photos here: {some}."


@dataclass(frozen=True)
class Subjects:
    """The people of a folder whose names may be anything, and their groups.

    Attributes:
        found: ids are those of the names, or negative where a name is none; ``name`` is the name of
            the folder, without leading zeros of an id.
        groups: the group of each person by that name; empty: there is no level of groups.
        in_two_groups: names that are in two groups or more, and so in none.
    """

    found: Found
    groups: Mapping[str, str]
    in_two_groups: Sequence[str]


def subjects_in(folder: Path, *, grouped: bool = False) -> Subjects:
    """One person for each subfolder, whatever it is called; photos of people to measure on.

    Args:
        grouped: there is a level of groups above that of the people: ``folder/group/person``.

    Raises:
        NotPeople: there are no photos.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise NotPeople(f"{folder} is no folder; give the folder that holds the photos.")
    levels = folders_in(folder) if grouped else [folder]
    if not grouped and photos_in(folder):
        candidates = [folder]
    else:
        candidates = [person for level in levels for person in folders_in(level)]
    photos: dict[str, list[Path]] = {}
    groups: dict[str, set[str]] = {}
    for candidate in candidates:
        if own := photos_in(candidate):
            person = _id(candidate.name)
            name = candidate.name if person is None else str(person)
            photos.setdefault(name, []).extend(own)
            groups.setdefault(name, set()).add(candidate.parent.name)
    taken = {path for own in photos.values() for path in own}
    passed_over = passed_over_sentence(folder, [*levels, *candidates], taken, None)
    if not photos:
        where = "in the folders of its folders" if grouped else "in it or in its folders"
        sentence = f"There are no photos of people {where}: {folder}."
        raise NotPeople(f"{sentence} {passed_over}" if passed_over else sentence)
    others = sorted(name for name in photos if _id(name) is None)
    ids = {name: -n for n, name in enumerate(others, start=1)}
    people = [PersonFolder(ids.get(name) or int(name), name, photos[name]) for name in photos]
    return Subjects(
        Found(sorted(people, key=lambda person: person.id), passed_over),
        {name: min(of) for name, of in groups.items() if len(of) == 1} if grouped else {},
        sorted(name for name, of in groups.items() if len(of) > 1) if grouped else [],
    )


def folders_in(folder: Path) -> list[Path]:
    """The folders right below, without hidden ones and those of the system, by name."""
    inner = (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return sorted(p for p in inner if p.name.lower() not in _OF_SYSTEMS)


def _id_of(folder: Path) -> int:
    person = _id(folder.name)
    if person is None:
        raise NotPeople(f"The folder {folder} holds photos, but its name is no numeric id.")
    return person


def _id(text: str) -> int | None:
    """The id that a folder or an entry of the names is called by; None: it is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 255):
        return None
    return person if (person := int(text)) <= MAX_ID else None


def photos_in(folder: Path) -> list[Path]:
    """The photos right below, without hidden ones, by name. Raises NotPeople: one cannot be read.

    Not those in deeper folders: a folder is one person.
    """
    files = (p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return sorted(p for p in files if p.suffix.lower() in SUFFIXES or _begins_as_photo(p))


def _begins_as_photo(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
    except OSError as error:
        raise NotPeople(f"{path} cannot be read: {error.strerror}.") from None
    kind = format_of(start)
    if kind == "BMP":
        return int.from_bytes(start[14:18], "little") in _BMP_HEADERS
    return kind is not None


def passed_over_sentence(
    folder: Path, folders: Sequence[Path], taken: set[Path], names: Path | None
) -> str | None:
    """The sentence on all other files below ``folder``, but for hidden ones and the ``names``."""
    kinds: Counter[str] = Counter()
    deeper: Counter[str] = Counter()
    shallow = {folder, *folders}
    for path in _files(folder):
        if path in taken or (names is not None and path == names.resolve()):
            continue
        if path.parent in shallow:
            kinds[path.suffix.lower() or "without a suffix"] += 1
        else:
            deeper[str(path.parent.relative_to(folder))] += 1
    parts = [f"{count} {kind}" for kind, count in sorted(kinds.items())]
    if deeper:
        where = ", ".join(sorted(deeper)[:3]) + (", …" if len(deeper) > 3 else "")
        parts.append(f"{deeper.total()} in sub-folders ({where})")
    total = kinds.total() + deeper.total()
    if not total:
        return None
    return f"{total} file{' was' if total == 1 else 's were'} passed over: {', '.join(parts)}."


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield Path(parent, name)


def _read_names(path: Path | None) -> dict[int, str]:
    if path is None:
        return {}
    try:
        names = load_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise NotPeople(f"{path} cannot be read: {error.strerror}.") from None
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
        if (person := _id(text)) is None:
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
