"""`faces gallery migrate`: people whose photos are kept, from one model's gallery into another's.

Decoding, detection and cropping are the functions that the stages call. The embeddings come from
the traced model, run in this process as Triton runs it, or from a Triton.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.errors import ModelMismatch, ServingError
from serving.gallery.migration import Migration, Move, Plan
from serving.model import runtime
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.model.repository import ModelError, TracedModel
from serving.operations.folders import PersonFolder, photos_by_id
from serving.settings import AppArgs, TritonSettings
from serving.vision.decode import decode
from serving.vision.faces import detector_of, find_faces

T = TypeVar("T")

_BATCH = 16
# Of one commit: what is lost when the process is killed, and how many small segments there are.
_PHOTOS_AT_ONCE = 128

NO_PHOTOS = "no-photos"
NO_USABLE_PHOTO = "no-usable-photo"
NO_FACE = "no-face"
SEVERAL_FACES = "several-faces"
UNREADABLE = "unreadable"


class Network(Protocol):
    """The new model."""

    @property
    def card(self) -> ModelCard: ...

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 RGB (N, 3, 160, 160) -> float32 (N, D), unit length.

        Raises:
            ServingError: it is away, or is another model now.
        """


class LocalNetwork:
    """A traced model of the local repository. Raises ModelError when it is none."""

    def __init__(self, repository: Path, name: str) -> None:
        self.card = TracedModel.read(repository, name).card
        self._network = runtime.load(repository / name)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate(
            [self._network(crops[start : start + _BATCH]) for start in range(0, len(crops), _BATCH)]
        )


class TritonNetwork:
    """A model that a Triton serves. Raises Unavailable when it does not."""

    def __init__(self, settings: TritonSettings) -> None:
        self._embedder = Embedder(settings)
        self._loop = asyncio.new_event_loop()
        self.card = self._run(self._embedder.served()).card

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        vectors = self._run(self._embedder.embed(crops))
        found = self._run(self._embedder.served()).card.id
        if found != self.card.id:
            raise ModelMismatch(f"Triton now serves {found}, and no longer {self.card.id}.")
        return vectors

    def _run(self, call: Awaitable[T]) -> T:
        return self._loop.run_until_complete(call)

    def close(self) -> None:
        self._run(self._embedder.close())
        self._loop.close()


@dataclass(frozen=True)
class LeftOut:
    """A photo that is not used, and why.

    Attributes:
        reason: one of those above, or the type of an error, such as ``unsupported-image``.
        detail: a sentence for people.
    """

    photo: Path
    reason: str
    detail: str


@dataclass(frozen=True)
class NotMoved:
    """Somebody who could not be moved; ``photos`` tells of each photo why not."""

    id: int
    name: str | None
    reason: str
    photos: Sequence[LeftOut] = ()


@dataclass
class Report:
    """What became of everybody; people by their ids.

    Attributes:
        moved, renamed, removed: what was done; in a dry run, what would be.
        left_out: photos that were not used of people who were moved.
        broken_off: why not everybody was looked at; None: everybody was.
    """

    plan: Plan
    moved: list[int] = field(default_factory=list)
    renamed: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    not_moved: list[NotMoved] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    broken_off: str | None = None


class Photos:
    """The photos of everybody, by id.

    Args:
        largest: of several faces in a photo take the largest, as an enrolment does.
    """

    def __init__(
        self, people: Sequence[PersonFolder], settings: AppArgs, *, largest: bool = False
    ) -> None:
        self.of = photos_by_id(people)
        self.told = {person: _fingerprint(photos) for person, photos in self.of.items()}
        self._settings, self._largest = settings, largest
        self._detector = detector_of(settings.detect)

    def crop(self, photo: Path) -> NDArray[np.uint8] | LeftOut:
        """The face, uint8 RGB (3, 160, 160)."""
        try:
            data = photo.read_bytes()
            faces = find_faces(decode(data, self._settings.decode), self._detector)
        except ServingError as error:
            return LeftOut(photo, error.type, str(error))
        except OSError as error:
            return LeftOut(photo, UNREADABLE, f"It cannot be read: {error.strerror or error}.")
        if not len(faces):
            return LeftOut(photo, NO_FACE, "No face was found.")
        if len(faces) > 1 and not self._largest:
            return LeftOut(photo, SEVERAL_FACES, f"It shows {len(faces)} faces.")
        crop: NDArray[np.uint8] = faces.crops[0]
        return crop


def migrate(
    migration: Migration,
    photos: Photos,
    network: Network,
    *,
    dry_run: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    found: Callable[[int], None] = lambda photos: None,
    advance: Callable[[int], None] = lambda photos: None,
) -> Report:
    """Move everybody who is not moved yet; those in the old gallery no more are taken out again.

    Args:
        dry_run: look at the photos, but write nothing.
        stopped: asked before each person; what was looked at until then is written all the same.
        found, advance: are told how many photos have to be looked at, and how many more are.

    Raises:
        ServingError: it could not even begin. Later ones are in the report.
    """
    plan = migration.plan(photos.told)
    report = Report(plan)
    found(sum(len(photos.of[person]) for person in plan.look))
    names = migration.of_old(plan.without_photos)
    report.not_moved = [NotMoved(i, p.name, NO_PHOTOS) for i, p in sorted(names.items())]
    if dry_run:
        report.renamed, report.removed = plan.rename, plan.gone
    try:
        if not dry_run:
            report.removed = migration.forget_gone()
            report.renamed = migration.rename(plan.rename, photos.told)
        for people in _parts(plan.look, photos.of):
            if stopped():
                break
            _part(people, migration, photos, None if dry_run else network, report, stopped, advance)
        if not dry_run:
            # Again: it may have taken hours.
            report.removed += migration.forget_gone()
    except (ServingError, ModelError) as error:
        report.broken_off = str(error)
    else:
        if stopped():
            report.broken_off = "It was stopped."
    return report


def _part(
    people: Sequence[int],
    migration: Migration,
    photos: Photos,
    network: Network | None,
    report: Report,
    stopped: Callable[[], bool],
    advance: Callable[[int], None],
) -> None:
    """Look at the photos of these people, and write them at once; without a network only look."""
    crops: dict[int, list[NDArray[np.uint8]]] = {}
    old = migration.of_old(people)
    for person in people:
        if stopped():
            break
        if person not in old:
            continue
        looks = []
        for photo in photos.of[person]:
            looks.append(photos.crop(photo))
            advance(1)
        left_out = [look for look in looks if isinstance(look, LeftOut)]
        if len(left_out) == len(looks):
            told = NotMoved(person, old[person].name, NO_USABLE_PHOTO, left_out)
            report.not_moved.append(told)
            continue
        report.left_out += left_out
        crops[person] = [look for look in looks if not isinstance(look, LeftOut)]
    if network is None:
        report.moved += crops
    elif crops:
        vectors = network.embed(np.stack([crop for own in crops.values() for crop in own]))
        if not (np.abs(np.linalg.norm(vectors, axis=1) - 1) < 0.01).all():  # a NaN fails too
            raise ModelError(f"{network.card.id} does not make vectors of unit length.")
        parts = np.split(vectors, np.cumsum([len(own) for own in crops.values()])[:-1])
        moves = [
            Move(old[person], photos.told[person], own)
            for person, own in zip(crops, parts, strict=True)
        ]
        report.moved += migration.commit(moves)


def _parts(people: Sequence[int], photos: Mapping[int, Sequence[Path]]) -> Iterator[list[int]]:
    part: list[int] = []
    count = 0
    for person in people:
        if part and count + len(photos[person]) > _PHOTOS_AT_ONCE:
            yield part
            part, count = [], 0
        part.append(person)
        count += len(photos[person])
    if part:
        yield part


def _fingerprint(photos: Sequence[Path]) -> str:
    """Tells these photos from others, by their names and sizes: reading a million takes long."""
    digest = hashlib.sha256()
    for photo in sorted(photos):
        try:
            size = photo.stat().st_size
        except OSError:
            size = -1
        digest.update(f"{photo.parent.name}/{photo.name} {size}\n".encode(errors="replace"))
    return digest.hexdigest()[:8]
