"""Lookups of harder photos, cut down to the face or turned, among the unchanged photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.evaluation.lookups import others_of
from serving.evaluation.metrics import Floats
from serving.gallery.segment import normalised
from serving.operations.offline import LocalModel
from serving.vision.faces import MARGIN
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.records import CROP_SIZE, Photo
from tests.bench.variants.comparing import Rows
from tests.bench.variants.crops import Cut, Face, as_served, largest_face

Pixels = NDArray[np.uint8]
Change = Callable[[Face], Pixels]
Seen = Mapping[int, Face]  # the faces of changed photos, by the place of the photo


def tightly(border: float) -> Change:
    """Cut down to the face: ``border`` is left on each side, as a share of the box; below zero
    the box is cut into."""

    def change(face: Face) -> Pixels:
        x1, y1, x2, y2 = face.box.tolist()
        dx, dy = border * (x2 - x1), border * (y2 - y1)
        width, height = face.image.size
        low = max(0, round(x1 - dx)), max(0, round(y1 - dy))
        high = min(width, round(x2 + dx)), min(height, round(y2 + dy))
        return np.asarray(face.image.crop((*low, *high)))

    return change


def turned(degrees: float) -> Change:
    return lambda face: np.asarray(
        face.image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(128,) * 3)
    )


CUT = {f"{border:.0%}": tightly(border) for border in (0.1, 0, -0.05, -0.1, -0.15)}
TURNED = {f"{degrees} degrees": turned(degrees) for degrees in (15, 30)}


def looks(faces: Sequence[Face]) -> dict[str, tuple[Seen, Seen]]:
    """The faces found for each border with one look, and with two; see `FaceDetector`."""
    one, two = (FaceDetector(threads=2, second_look=second) for second in (False, True))
    seen_by_border: dict[str, tuple[Seen, Seen]] = {}
    for name, change in CUT.items():
        first = seen(faces, change, one)
        rest = [None if n in first else face for n, face in enumerate(faces)]
        seen_by_border[name] = first, {**first, **seen(rest, change, two)}
    return seen_by_border


def seen(faces: Sequence[Face | None], change: Change, detector: FaceDetector) -> Seen:
    """The largest face of each changed photo; None is skipped."""
    faces_seen = {}
    for place, face in enumerate(faces):
        if face is not None:
            pixels = change(face)
            again = largest_face(Photo(pixels, pixels.shape[1], pixels.shape[0]), detector)
            if again is not None:
                faces_seen[place] = again
    return faces_seen


def gains(
    looked: Mapping[str, tuple[Seen, Seen]],
    person: NDArray[np.intp],
    served: Rows,
    local: LocalModel,
) -> list[str]:
    """Found, right person first, and named, with one look and with two."""
    lines = [
        "| border | found: one look | two | right person first: one | two | named: one | two |",
        "|---:" * 7 + "|",
    ]
    for name, both in looked.items():
        counts = []
        for found in both:
            own, strange = _lookups(found, person, served, local, as_served)
            right = own > strange
            named = right & (own >= local.card.threshold)
            counts.append((len(own), int(right.sum()), int(named.sum())))
        pairs = zip(*counts, strict=True)
        rates = [f"{count / len(person):.0%}" for pair in pairs for count in pair]
        lines.append(f"| {name} | " + " | ".join(rates) + " |")
    return lines


def leads(
    title: str,
    found: Mapping[str, Seen],
    person: NDArray[np.intp],
    ways: Mapping[str, tuple[Cut, Rows]],
    local: LocalModel,
) -> list[str]:
    """The mean lead for each way to crop, with the enrolled photos cropped in the same way."""
    lines = ["| " + " | ".join([title, "photos", *ways]) + " |", "|---:" * (len(ways) + 2) + "|"]
    for name, faces in found.items():
        cells = []
        for cut, rows in ways.values():
            own, strange = _lookups(faces, person, rows, local, cut)
            cells.append(f"{(own - strange).mean():.3f}")
        lines.append(f"| {name} | {len(faces)} | " + " | ".join(cells) + " |")
    return lines


def inside(face: Face) -> bool:
    """Neither the box nor its margin reaches past an edge of the photo."""
    x1, y1, x2, y2 = face.box.tolist()
    dx, dy = (side * MARGIN / (CROP_SIZE - MARGIN) / 2 for side in (x2 - x1, y2 - y1))
    width, height = face.image.size
    return bool(x1 - dx >= 0 and y1 - dy >= 0 and x2 + dx <= width and y2 + dy <= height)


def _lookups(
    found: Seen,
    person: NDArray[np.intp],
    rows: Rows,
    local: LocalModel,
    cut: Cut,
) -> tuple[Floats, Floats]:
    """The cosine of each photo with the centroid of the person's other photos, and the highest
    one with another person's."""
    if not found:
        return np.empty(0), np.empty(0)
    places = np.array(list(found))
    probes = local.embed(np.stack([cut(face).transpose(2, 0, 1) for face in found.values()]))
    sums = np.zeros((int(person.max()) + 1, rows.shape[1]), np.float32)
    np.add.at(sums, person, rows)
    cosines = (probes @ normalised(sums).T).astype(np.float64)
    cosines[np.arange(len(places)), person[places]] = -np.inf
    own = np.einsum("ij,ij->i", probes, others_of(rows, person)[places], dtype=np.float64)
    return own, cosines.max(axis=1)
