"""Faces that nobody was named by -> a folder for each person, with pictures to name them from.

The faces are those without a name in the results of `faces batch`, or all in a folder of photos.
Embeddings are computed in this process and never written.
"""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.errors import InvalidInput, ServingError
from serving.gallery.store import NotFound
from serving.matching.clusters import cluster
from serving.model.card import ModelCard
from serving.operations.offline import EmbeddingModel, embed_crops
from serving.operations.sought import Box, Sought
from serving.vision.records import Faces, Photo

GROUPS = "groups.json"
_PICTURES = ".pictures"
# Of the box's sides, around it: enough for the service to find the face in the picture again.
_MARGIN = 0.5
_QUALITY = 95
# Two boxes of one face; detection gives the same one again, but for the rounding in the results.
_OVERLAP = 0.5


@dataclass(frozen=True)
class Stranger:
    """A face.

    Attributes:
        photo: the name of `Sought`.
        box: x1, y1, x2, y2 in pixels of the upright photo.
        picture: a file that shows the face.
    """

    photo: str
    box: tuple[int, int, int, int]
    picture: Path


@dataclass
class Counts:
    """What was not grouped: photos that cannot be read, faces too poor to compare, and faces of the
    results that are not found in their photos again."""

    unread: list[str] = dataclasses.field(default_factory=list)
    poor: int = 0
    missing: int = 0


@dataclass(frozen=True)
class Groups:
    """The groups of one person each, the largest first, and the faces that are in none."""

    groups: Sequence[Sequence[Stranger]]
    alone: Sequence[Stranger]
    counts: Counts


class Finder(Protocol):
    """Finds faces as the service does, and says which are too poor: a `Cropper`."""

    def all(self, data: bytes) -> tuple[Photo, Faces]: ...

    def gates(
        self, face: Faces, vectors: NDArray[np.float32], card: ModelCard
    ) -> tuple[str | None, str | None]: ...


def gather(
    photos: Iterator[Sought],
    out: Path,
    finder: Finder,
    model: EmbeddingModel,
    threshold: float,
    *,
    least: int = 2,
    done: Callable[[], None] = lambda: None,
) -> Groups:
    """Group the faces of the photos, and write ``out``: a folder of pictures for each group, and
    ``groups.json``.

    Memory: an embedding for each face, and one photo.

    Args:
        out: a folder that is not there yet, or empty.
        threshold: see `cluster`.
        least: faces of a group; those of smaller ones are alone.
        done: called after each photo.

    Raises:
        InvalidInput: ``out`` is not empty, the results are of another model, or see `cluster`.
        ServingError: the store is away.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{out} is not empty; give --out a new folder.")
    pictures = out / _PICTURES
    pictures.mkdir(parents=True)
    try:
        return _gather(photos, out, pictures, finder, model, threshold, least, done)
    finally:
        shutil.rmtree(pictures)


def _gather(
    photos: Iterator[Sought],
    out: Path,
    pictures: Path,
    finder: Finder,
    model: EmbeddingModel,
    threshold: float,
    least: int,
    done: Callable[[], None],
) -> Groups:
    counts = Counts()
    strangers: list[Stranger] = []
    vectors: list[NDArray[np.float32]] = []
    of_photo: list[int] = []
    for number, sought in enumerate(photos):
        if sought.model not in (None, model.card.id):
            raise InvalidInput(
                f"{sought.name} was looked up with {sought.model}, and --model is {model.card.id}."
            )
        for face in _look(sought, finder, model, counts):
            picture = pictures / f"{len(strangers):08d}.jpg"
            picture.write_bytes(face.picture)
            strangers.append(Stranger(sought.name, face.box, picture))
            vectors.append(face.vector)
            of_photo.append(number)
        done()
    of = cluster(
        np.array(vectors, np.float32).reshape(-1, model.card.dimension), of_photo, threshold
    )
    members: list[list[Stranger]] = [[] for _ in range(int(of.max(initial=-1)) + 1)]
    for stranger, group in zip(strangers, of.tolist(), strict=True):
        members[group].append(stranger)
    groups = [_moved(out, n, own) for n, own in enumerate(members, 1) if len(own) >= least]
    alone = [stranger for own in members[len(groups) :] for stranger in own]
    found = Groups(groups, alone, counts)
    described = _described(found, out, model.card.id, threshold)
    (out / GROUPS).write_text(json.dumps(described, indent=1) + "\n")
    return found


@dataclass(frozen=True)
class _Face:
    box: tuple[int, int, int, int]
    vector: NDArray[np.float32]
    picture: bytes


def _look(sought: Sought, finder: Finder, model: EmbeddingModel, counts: Counts) -> Iterator[_Face]:
    """The faces of one photo that are good enough to compare."""
    try:
        data = sought.read()
    except (NotFound, OSError) as error:
        why = "it is gone" if isinstance(error, NotFound) else error.strerror or str(error)
        counts.unread.append(f"{sought.name}: {why}")
        return
    try:
        photo, faces = finder.all(data)
    except ServingError as error:
        counts.unread.append(f"{sought.name}: {error}")
        return
    places = _wanted(faces, sought.boxes)
    counts.missing += 0 if sought.boxes is None else len(sought.boxes) - len(places)
    if not places:
        return
    faces = faces.some(places)
    vectors = embed_crops(faces.crops, model)
    for n in range(len(faces)):
        if finder.gates(faces.some([n]), vectors[n : n + 1], model.card)[0] is not None:
            counts.poor += 1
            continue
        x1, y1, x2, y2 = (round(float(edge)) for edge in faces.boxes[n])
        yield _Face((x1, y1, x2, y2), vectors[n], _picture(photo, faces, n))


def _wanted(faces: Faces, boxes: Sequence[Box] | None) -> list[int]:
    """The places of the faces that are wanted, each once."""
    if boxes is None:
        return list(range(len(faces)))
    overlaps = [[_overlap(of, box) for of in faces.boxes] for box in boxes]
    nearest = {int(np.argmax(row)): max(row) for row in overlaps if row}
    return sorted(place for place, overlap in nearest.items() if overlap >= _OVERLAP)


def _overlap(a: NDArray[np.float32], b: Box) -> float:
    """The intersection of two boxes over their union."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    union = float(np.prod(a[2:] - a[:2])) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.0


def _picture(photo: Photo, faces: Faces, n: int) -> bytes:
    """A JPEG of the face and what is around it, upright."""
    height, width = photo.pixels.shape[:2]
    box = faces.boxes[n] * np.float32(width / photo.width)
    margin = np.tile((box[2:] - box[:2]) * _MARGIN, 2) * (-1, -1, 1, 1)
    x1, y1, x2, y2 = (int(edge) for edge in np.clip(box + margin, 0, (width, height) * 2))
    cut = np.rot90(photo.pixels[y1:y2, x1:x2], -int(faces.turns[n]) // 90)
    file = io.BytesIO()
    Image.fromarray(cut).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _moved(out: Path, number: int, group: Sequence[Stranger]) -> list[Stranger]:
    folder = out / f"group-{number:04d}"
    folder.mkdir()
    return [
        dataclasses.replace(one, picture=one.picture.rename(folder / f"{n:04d}.jpg"))
        for n, one in enumerate(group, 1)
    ]


def _described(found: Groups, out: Path, model: str, threshold: float) -> dict[str, Any]:
    def faces(group: Sequence[Stranger]) -> list[dict[str, Any]]:
        return [{"photo": one.photo, "box": one.box} for one in group]

    def grouped(group: Sequence[Stranger]) -> dict[str, Any]:
        pictures = [str(one.picture.relative_to(out)) for one in group]
        return {
            "folder": group[0].picture.parent.name,
            "faces": [
                {**face, "picture": picture}
                for face, picture in zip(faces(group), pictures, strict=True)
            ],
        }

    return {
        "model": model,
        "threshold": threshold,
        "groups": [grouped(group) for group in found.groups],
        "alone": faces(found.alone),
    }
