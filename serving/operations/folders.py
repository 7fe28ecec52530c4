"""Folders of photos -> the people that they show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"}


class NotPeople(Exception):
    """The folder does not hold people's photos; one sentence."""


@dataclass(frozen=True)
class PersonFolder:
    id: int
    name: str | None
    photos: Sequence[Path]


def people_in(folder: Path, names: Path | None = None) -> list[PersonFolder]:
    """One person, when ``folder`` is named by an id and holds photos; else one for each subfolder.

    Raises:
        NotPeople: a folder with photos has no id for a name, or there are no photos.
    """
    by_id = _read_names(names)
    folder = folder.resolve()
    if not folder.is_dir():
        raise NotPeople(f"{folder} is no folder; give the folder that holds the photos.")
    folders = [folder] if _photos(folder) else sorted(p for p in folder.iterdir() if p.is_dir())
    people = []
    for candidate in folders:
        photos = _photos(candidate)
        if not photos:
            continue
        if not (candidate.name.isascii() and candidate.name.isdigit()):
            raise NotPeople(f"The folder {candidate} holds photos, but its name is no numeric id.")
        person = int(candidate.name)
        people.append(PersonFolder(person, by_id.get(person), photos))
    if not people:
        raise NotPeople(f"There are no photos in {folder} or in its folders.")
    return people


def photos_by_id(people: Sequence[PersonFolder]) -> dict[int, list[Path]]:
    """In the order of the ids; the folders 7 and 007 are one person."""
    found: dict[int, list[Path]] = {}
    for folder in sorted(people, key=lambda p: p.id):
        found.setdefault(folder.id, []).extend(folder.photos)
    return found


def _photos(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and p.is_file())


def _read_names(path: Path | None) -> dict[int, str]:
    if path is None:
        return {}
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(name, str) for name in names.values()):
            raise ValueError
        return {int(id_): name for id_, name in names.items()}
    except (OSError, ValueError, AttributeError):
        raise NotPeople(f"{path} is no JSON object from id to name.") from None
