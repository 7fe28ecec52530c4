"""Corrections of a gallery, under its quota and its retentions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serving.errors import UnknownIdentity, UnknownPair
from serving.gallery import Gallery, Kind, Operation
from serving.gallery.contents import Contents
from serving.gallery.corrections import moved
from serving.gallery.manifest import Manifest
from serving.gallery.records import Photo, Records, photos_of, telling
from serving.gallery.undo import last_change, last_merge, undone
from serving.gallery.version import Version
from serving.matching import quota, retention


@dataclass(frozen=True)
class Move:
    """Photos of ``source`` that are those of ``target``, who may be new.

    Attributes:
        photos: see `serving.gallery.records.Photo`; each once.
    """

    source: int
    target: int
    photos: Sequence[str]


@dataclass(frozen=True)
class Tell:
    """A person and ``others`` are not one person, see `serving.gallery.distinct`.

    Attributes:
        threshold: None: of each pair the one halfway between their similarity and 1.
        same: they may be one person: what was said is taken back.
    """

    person: int
    others: Sequence[int]
    threshold: float | None = None
    same: bool = False


@dataclass(frozen=True)
class Undo:
    """What was done to a person by a commit; see `serving.gallery.undo`.

    Attributes:
        version: that the commit made; None: the last that moved photos from or to the person.
        merges: only a merge into the person is undone.
        sources: of a merge: only these are taken out; empty: all.
    """

    person: int
    version: int | None = None
    merges: bool = False
    sources: Sequence[int] = ()


@dataclass(frozen=True)
class Undone:
    """The people who have changed, and the version that was undone."""

    ids: Sequence[int]
    version: int
    gallery_version: int


@dataclass(frozen=True)
class PhotosOf:
    """The photos of a person, in one version of the gallery."""

    photos: Sequence[Photo]
    gallery_version: int


def photos(gallery: Gallery, person: int) -> PhotosOf:
    """Raises UnknownIdentity; Unavailable: the store is away."""
    version, records = gallery.records([person])
    if person not in records:
        raise UnknownIdentity(f"Nobody is enrolled under the id {person}.")
    return PhotosOf(photos_of(records[person]), version)


def move(gallery: Gallery, move: Move, most: int) -> Version:
    """Commit a move.

    Args:
        most: people whom a collection may hold.

    Raises:
        UnknownIdentity, UnknownPhoto: see `serving.gallery.corrections.moved`.
        RetentionEnded: of one of the two.
        CollectionFull: the target is new, and the collection has as many people as it may.
    """
    gallery.refresh()  # so that the quota counts who is enrolled
    now = gallery.now()
    quota.check(gallery, [Operation(Kind.PUT, move.target, now)], most)

    def change(before: Records) -> Records:
        retention.refuse_ended({i: record.details for i, record in before.items()}, now)
        return moved(before, move.source, move.target, move.photos, now)

    return gallery.correct([move.source, move.target], change, "move")


def undo(gallery: Gallery, undo: Undo, most: int) -> Undone:
    """Commit people as they were before a change.

    Args:
        most: see `move`.

    Raises:
        NotUndoable: see `serving.gallery.undo`.
        RetentionEnded: of one of the people.
        CollectionFull: somebody comes back, and the collection has as many people as it may.
    """
    gallery.refresh()
    now = gallery.now()
    done: Undone | None = None

    def both(contents: Contents, manifest: Manifest) -> tuple[Records, Records]:
        nonlocal done
        if undo.merges:
            change = last_merge(contents, manifest, undo.person, undo.sources)
        else:
            change = last_change(contents, manifest, undo.person, undo.version)
        found = undone(contents, manifest, change, now)
        for people in (found.before, found.after):
            retention.refuse_ended({i: record.details for i, record in people.items()}, now)
        back = sorted(found.after.keys() - found.before.keys())
        quota.check(gallery, [Operation(Kind.PUT, i, now) for i in back], most)
        ids = [i for i in sorted(change.people) if found.before.get(i) is not found.after.get(i)]
        done = Undone(ids, change.version, 0)
        return found.before, found.after

    version = gallery.correct_from(both, "unmerge" if undo.merges else "undo")
    assert done is not None
    return replace(done, gallery_version=version)


def tell(gallery: Gallery, tell: Tell) -> Version:
    """Commit who is not whom.

    Raises:
        UnknownIdentity: one of them is not enrolled.
        UnknownPair: what is to be taken back was never said.
        RetentionEnded: of one of them.
    """
    people, now = gallery.refresh(), gallery.now()
    known = people.distinct.of(tell.person)
    operations: list[Operation] = []
    for other in tell.others:
        if tell.same and other not in known:
            raise UnknownPair(f"{tell.person} and {other} are not known to be two people.")
        similarity = people.similarity(tell.person, other) or 0.0
        threshold = (1 + similarity) / 2 if tell.threshold is None else float(tell.threshold)
        operations.append(telling(tell.person, other, None if tell.same else threshold, now))
    return retention.commit(gallery, operations, [tell.person, *tell.others])
