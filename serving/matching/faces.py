"""Enrolled photos, one by one: pages of them, removing them, and comparing faces with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.errors import UnknownPhoto
from serving.gallery import Gallery
from serving.gallery.corrections import without_photos
from serving.gallery.records import Records, photo_id, photos_of
from serving.gallery.version import Version
from serving.matching import retention
from serving.matching.subjects import people_of, subject_of


@dataclass(frozen=True)
class Face:
    """An enrolled photo, with the subject of its person."""

    person: int
    subject: str
    photo: str


@dataclass(frozen=True)
class FacesPage:
    """Some of the enrolled photos, and how many there are."""

    faces: Sequence[Face]
    total: int


@dataclass(frozen=True)
class Removal:
    """Photos of a person that go; see `serving.gallery.records.Photo`."""

    person: int
    photos: Sequence[str]


@dataclass(frozen=True)
class Alike:
    """Cosines (F,) of faces to one enrolled photo."""

    similarities: NDArray[np.float32]


def page(gallery: Gallery, subject: str | None, first: int, limit: int) -> FacesPage:
    """The enrolled photos from the place ``first`` on, in the order of the ids of their people.

    Args:
        subject: only of this one, see `serving.matching.subjects`; None: of everybody.

    Raises:
        Unavailable: the store is away.
    """
    people = gallery.refresh()
    if subject is None:
        ids, counts = people.counted()
    else:
        found = people_of(people, subject)
        ids = np.array([person.id for person in found], np.int64)
        counts = np.array([person.photos for person in found], np.int32)
    ends = np.cumsum(counts, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    if first >= total or limit <= 0:
        return FacesPage((), total)
    begin = int(np.searchsorted(ends, first, side="right"))
    end = int(np.searchsorted(ends, first + limit, side="left")) + 1
    wanted = ids[begin:end].tolist()
    _, records = gallery.records(wanted)
    skipped = first - (int(ends[begin - 1]) if begin else 0)
    faces = [
        Face(person, subject_of(person, records[person].details.get("name")), photo.id)
        for person in wanted
        if person in records
        for photo in photos_of(records[person])
    ]
    return FacesPage(faces[skipped : skipped + limit], total)


def remove(gallery: Gallery, removal: Removal) -> Version:
    """Commit a person without these photos; without any photo the person is gone.

    Raises:
        UnknownIdentity, UnknownPhoto: see `serving.gallery.corrections.without_photos`.
        RetentionEnded: of the person.
    """
    now = gallery.now()

    def change(before: Records) -> Records:
        retention.refuse_ended({i: record.details for i, record in before.items()}, now)
        return without_photos(before, removal.person, removal.photos, now)

    return gallery.correct([removal.person], change, "remove")


def alike(gallery: Gallery, person: int, photo: str, probes: NDArray[np.float32]) -> Alike:
    """How alike faces are to an enrolled photo.

    Args:
        probes: embeddings, float32 (F, D), unit length.

    Raises:
        UnknownPhoto: the person has no such photo, or is not enrolled.
        RetentionEnded: of the person.
    """
    _, records = gallery.records([person])
    retention.refuse_ended({i: r.details for i, r in records.items()}, gallery.now())
    rows = records[person].embeddings if person in records else ()
    for row in rows:
        if photo_id(row.tobytes()) == photo:
            return Alike(probes @ row.astype(np.float32))
    raise UnknownPhoto("There is no such photo; it may have been moved or removed.")
