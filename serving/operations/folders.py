"""Folders of photos -> the people that they show, and the files that show nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.operations.names import NotPeople, id_of, no_id, read_names, unused_sentence
from serving.operations.passed_over import PassedOver
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
    by_id = {} if names is None else read_names(names)
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
    return Found(people, passed_over, unused_sentence(unused, str(names)))


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
            person = id_of(candidate.name)
            name = candidate.name if person is None else str(person)
            photos.setdefault(name, []).extend(own)
            groups.setdefault(name, set()).add(candidate.parent.name)
    taken = {path for own in photos.values() for path in own}
    passed_over = passed_over_sentence(folder, [*levels, *candidates], taken, None)
    if not photos:
        where = "in the folders of its folders" if grouped else "in it or in its folders"
        sentence = f"There are no photos of people {where}: {folder}."
        raise NotPeople(f"{sentence} {passed_over}" if passed_over else sentence)
    others = sorted(name for name in photos if id_of(name) is None)
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
    return sorted(p for p in inner if not is_of_system(p.name))


def is_of_system(name: str) -> bool:
    """Whether systems put folders of this name beside photos."""
    return name.lower() in _OF_SYSTEMS


def _id_of(folder: Path) -> int:
    if (person := id_of(folder.name)) is None:
        raise no_id(str(folder))
    return person


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
    passed_over = PassedOver()
    shallow = {folder, *folders}
    for path in _files(folder):
        if path in taken or (names is not None and path == names.resolve()):
            continue
        if path.parent in shallow:
            passed_over.add(path.name)
        else:
            passed_over.add_deeper(str(path.parent.relative_to(folder)))
    return passed_over.sentence()


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield Path(parent, name)
