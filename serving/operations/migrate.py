"""`faces gallery migrate`: moves people whose photos are kept into another model's gallery."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.errors import ServingError
from serving.gallery import Person
from serving.gallery.migration import Migration, Move, Plan
from serving.model.repository import ModelError
from serving.operations.folders import PersonFolder
from serving.operations.offline import Cropper, EmbeddingModel, LeftOut, embed_crops

# In one commit: the work that is lost when the process is killed, against many small segments.
PHOTOS_AT_ONCE = 128

NO_PHOTOS = "no-photos"
NO_USABLE_PHOTO = "no-usable-photo"

Crop = NDArray[np.uint8]  # (3, S, S), RGB


@dataclass(frozen=True)
class NotMoved:
    """A person who could not be moved; ``photos`` has the reason for each photo."""

    id: int
    name: str | None
    reason: str
    photos: Sequence[LeftOut] = ()


@dataclass
class Report:
    """The outcome for all people, by their ids.

    Attributes:
        moved, renamed, removed: what was done; in a dry run, what would be.
        left_out: unused photos of people who were moved.
        broken_off: why it ended before all people were looked at; None: it did not.
    """

    plan: Plan
    moved: list[int] = field(default_factory=list)
    renamed: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    not_moved: list[NotMoved] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    broken_off: str | None = None


class Photos:
    """The photos of each person, by id, with a fingerprint of their names and sizes."""

    def __init__(self, people: Sequence[PersonFolder]) -> None:
        self.of = {person.id: person.photos for person in people}
        self.fingerprints = {person: _fingerprint(photos) for person, photos in self.of.items()}


def migrate(
    migration: Migration,
    photos: Photos,
    cropper: Cropper,
    model: EmbeddingModel,
    *,
    dry_run: bool = False,
    photos_at_once: int = PHOTOS_AT_ONCE,
    stopped: Callable[[], bool] = lambda: False,
    found: Callable[[int], None] = lambda photos: None,
    advance: Callable[[int], None] = lambda photos: None,
) -> Report:
    """Move the people who are not moved yet, and take out those who left the old gallery.

    Args:
        dry_run: look at the photos, but write nothing.
        photos_at_once: in one commit; a person's photos stay together.
        stopped: checked before each person; what was looked at by then is still written.
        found: called once with the number of photos to look at.
        advance: called with the number of photos that each step has looked at.

    Raises:
        ServingError: it could not begin. Later errors are in the report.
    """
    plan = migration.plan(photos.fingerprints)
    report = Report(plan)
    found(sum(len(photos.of[person]) for person in plan.look))
    names = migration.of_old(plan.without_photos)
    report.not_moved = [NotMoved(i, p.name, NO_PHOTOS) for i, p in sorted(names.items())]
    if dry_run:
        report.renamed, report.removed = plan.rename, plan.gone
    try:
        if not dry_run:
            report.removed = migration.forget_gone()
            report.renamed = migration.rename(plan.rename, photos.fingerprints)
        for people in _parts(plan.look, photos.of, photos_at_once):
            if stopped():
                break
            faces = _faces(people, migration, photos, cropper, report, stopped, advance)
            if dry_run:
                report.moved += [person.id for person, _ in faces]
            elif faces:
                report.moved += _commit(faces, migration, photos, model)
        if not dry_run:
            # Again: moving may have taken hours.
            report.removed += migration.forget_gone()
    except (ServingError, ModelError) as error:
        report.broken_off = str(error)
    else:
        if stopped():
            report.broken_off = "It was stopped."
    return report


def _faces(
    people: Sequence[int],
    migration: Migration,
    photos: Photos,
    cropper: Cropper,
    report: Report,
    stopped: Callable[[], bool],
    advance: Callable[[int], None],
) -> list[tuple[Person, Sequence[Crop]]]:
    """The faces of these people; photos and people without a face go into the report."""
    faces: list[tuple[Person, Sequence[Crop]]] = []
    old = migration.of_old(people)
    for person in people:
        if stopped():
            break
        if person not in old:
            continue
        results = []
        for photo in photos.of[person]:
            results.append(cropper.crop(photo))
            advance(1)
        left_out = [result for result in results if isinstance(result, LeftOut)]
        if len(left_out) == len(results):
            report.not_moved.append(NotMoved(person, old[person].name, NO_USABLE_PHOTO, left_out))
            continue
        report.left_out += left_out
        crops = [result for result in results if not isinstance(result, LeftOut)]
        faces.append((old[person], crops))
    return faces


def _commit(
    faces: Sequence[tuple[Person, Sequence[Crop]]],
    migration: Migration,
    photos: Photos,
    model: EmbeddingModel,
) -> Sequence[int]:
    """Embed the faces of these people and write them in one commit. Returns the ids written."""
    vectors = embed_crops(np.stack([crop for _, crops in faces for crop in crops]), model)
    parts = np.split(vectors, np.cumsum([len(crops) for _, crops in faces])[:-1])
    moves = [
        Move(person, photos.fingerprints[person.id], part)
        for (person, _), part in zip(faces, parts, strict=True)
    ]
    return migration.commit(moves)


def _parts(
    people: Sequence[int], photos: Mapping[int, Sequence[Path]], photos_at_once: int
) -> Iterator[list[int]]:
    part: list[int] = []
    count = 0
    for person in people:
        if part and count + len(photos[person]) > photos_at_once:
            yield part
            part, count = [], 0
        part.append(person)
        count += len(photos[person])
    if part:
        yield part


def _fingerprint(photos: Sequence[Path]) -> str:
    """A fingerprint of the photos' names and sizes: reading a million photos takes long."""
    digest = hashlib.sha256()
    for photo in sorted(photos):
        try:
            size = photo.stat().st_size
        except OSError:
            size = -1
        digest.update(f"{photo.parent.name}/{photo.name} {size}\n".encode(errors="replace"))
    return digest.hexdigest()[:8]
