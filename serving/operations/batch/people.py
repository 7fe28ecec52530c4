"""A prefix of a bucket -> the people whose photos are below it; one folder a person.

As `serving.operations.folders` does it on a disk, but for one thing: a photo is one by its name
alone, since to read the first bytes would be a request for each object. The keys of all photos are
never in memory, the folders of all people are.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from serving.gallery.store import Entry
from serving.operations.batch.job import Place
from serving.operations.batch.photos import entries, is_photo
from serving.operations.folders import is_of_system
from serving.operations.names import NotPeople, id_of, no_id
from serving.operations.passed_over import PassedOver


@dataclass(frozen=True)
class People:
    """The people of a prefix.

    Attributes:
        folders: by id, the names of the person's folders, in the store's order; an empty name is
            the prefix itself. 7 and 007 are folders of one person.
        passed_over: the objects that are no photos of theirs.
        alone: the prefix itself is the folder of one person.
    """

    folders: Mapping[int, Sequence[str]]
    passed_over: PassedOver
    alone: bool


def people_below(source: Place) -> People:
    """One person, when the prefix is named by an id and photos are right below it; else one for
    each folder right below.

    Raises:
        NotPeople: a folder with photos has no id for a name, or there are no photos.
        StoreUnfit: a bucket is missing, or the keys do not suffice.
        Unavailable: the store is away.
    """
    # What is passed over depends on where the photos are, and that is known at the end only.
    if_many, if_one = PassedOver(), PassedOver()
    folders: dict[int, tuple[str, ...]] = {}
    nameless: str | None = None
    alone = False
    for entry in entries(source.store, source.folder.prefix):
        parent, name = posixpath.split(entry.key[len(source.folder.prefix) :])
        if not name or any(part.startswith(".") for part in (*parent.split("/"), name)):
            continue  # the key that some tools write for a folder, or a hidden one
        if not parent:
            if_many.add(name)
            if is_photo(name):
                alone = True
            else:
                if_one.add(name)
            continue
        if_one.add_deeper(parent)
        if "/" in parent or is_of_system(parent):
            if_many.add_deeper(parent)
        elif not is_photo(name):
            if_many.add(name)
        elif (person := id_of(parent)) is None:
            nameless = nameless or parent
        elif parent not in (known := folders.get(person, ())):
            folders[person] = (*known, parent)
    if alone:
        if (person := id_of(source.folder.name)) is None:
            raise no_id(str(source.folder))
        return People({person: ("",)}, if_one, True)
    if nameless is not None:
        raise no_id(str(source.folder) + nameless)
    if not folders:
        sentence = f"There are no photos below {source.folder} or in its folders."
        others = if_many.sentence()
        raise NotPeople(f"{sentence} {others}" if others else sentence)
    return People(folders, if_many, False)


def photos_of(source: Place, folders: Sequence[str]) -> Iterator[Entry]:
    """The photos right below a person's folders, a page at a time."""
    for folder in folders:
        prefix = source.folder.key(f"{folder}/" if folder else "")
        for entry in entries(source.store, prefix):
            if "/" not in entry.key[len(prefix) :] and is_photo(entry.key):
                yield entry
