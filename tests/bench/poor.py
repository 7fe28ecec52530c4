"""Faces that show too little, made of good ones: what look-up and enrolment let through.

    python -m tests.bench.poor FOLDER... [--model NAME] [--write]    # FOLDER/<person>/<photo>

Faces are cut out of the photos, 200 pixels high, and made worse in the same way for all; each is
found and embedded as the service does it. Strangers of one damage are compared with each other, as
if one was enrolled, and looked up among the unchanged photos of all the others. Directions of
degenerate embeddings are fitted to other people than those who are judged by them. Prints tables;
docs/quality.md has them. ``--write`` fits the directions to all people and writes them into
serving/model/degenerate.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.errors import ServingError
from serving.gallery.segment import normalised
from serving.model.degenerate import FILE, Degenerate
from serving.model.repository import REPOSITORY
from serving.settings import DecodeSettings, EnrolmentSettings, LookupSettings, QualityLimits
from serving.stack.config import StackSettings
from serving.vision.align import alignment_of
from serving.vision.decode import decode
from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.quality import enrolment_faults, faults
from serving.vision.records import Photo, Quality
from tests.bench.face_size import Model
from tests.support.damages import DAMAGES, DEGENERATE

HEIGHT, AROUND = 200, 0.6  # pixels of a face, and heights of it around it
PHOTOS = 2
DIRECTIONS = 40
OF_A_PERSON = 0.42  # cosine of a direction with good faces
PARTS = 3  # of the people; each is judged by directions fitted to the others
Vectors = NDArray[np.float32]
Chosen = NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    person: str
    path: Path
    damage: str | None  # None: the photo as it is
    quality: Quality
    vector: Vectors


def found(
    pixels: NDArray[np.uint8], detector: FaceDetector, model: Model
) -> tuple[Quality, Vectors, NDArray[np.float32]] | None:
    """Quality, embedding and box of the largest face."""
    photo = Photo(pixels, width=pixels.shape[1], height=pixels.shape[0])
    # As they lie: what is found turned is upright, and shows enough.
    alignment = alignment_of(model.card.preprocessing)
    faces = find_faces(photo, detector, 1, turned=False, alignment=alignment)
    if not len(faces):
        return None
    return faces.quality[0], model.embed(faces.crops[0]), faces.boxes[0]


def portrait(pixels: NDArray[np.uint8], box: NDArray[np.float32]) -> Image.Image:
    """The face with its surroundings, at one size."""
    x1, y1, x2, y2 = box.tolist()
    border, scale = AROUND * (y2 - y1), HEIGHT / (y2 - y1)
    height, width = pixels.shape[:2]
    left, top = int(max(0, x1 - border)), int(max(0, y1 - border))
    right, bottom = int(min(width, x2 + border)), int(min(height, y2 + border))
    image = Image.fromarray(pixels[top:bottom, left:right])
    size = (round(image.width * scale), round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def read(
    folders: Sequence[Path], model: Model, detector: FaceDetector, photos: int
) -> Iterator[Sample]:
    """``photos``: of a person that are made worse."""
    worse: dict[str, int] = {}
    for path in sorted(path for folder in folders for path in folder.glob("*/*")):
        try:
            photo = decode(path.read_bytes(), DecodeSettings())
        except (OSError, ServingError):
            continue
        face, person = found(photo.pixels, detector, model), path.parent.name
        if face is None:
            continue
        yield Sample(person, path, None, face[0], face[1])
        worse[person] = worse.get(person, 0) + 1
        if worse[person] > photos:
            continue
        image = portrait(photo.pixels, face[2])
        for name, damage in DAMAGES.items():
            damaged = found(np.asarray(damage(image)), detector, model)
            if damaged is not None:
                yield Sample(person, path, name, damaged[0], damaged[1])
        print(f"{path.parent.name}/{path.name}", flush=True)


def fitted(vectors: Vectors, good: Vectors, count: int = DIRECTIONS) -> Degenerate:
    """The directions that ``count`` groups of the embeddings share (spherical k-means).

    Without those that some of the ``good`` faces of the same people are near: they say who it is.
    """
    rng = np.random.default_rng(0)
    directions = vectors[rng.choice(len(vectors), min(count, len(vectors)), replace=False)]
    for _ in range(25):
        group = (vectors @ directions.T).argmax(axis=1)
        sums = np.stack([vectors[group == n].sum(axis=0) for n in range(len(directions))])
        directions = np.where(np.any(sums, axis=1, keepdims=True), sums, directions)
        directions = normalised(directions.astype(np.float32))
    # One of the good faces may be none, such as a head in profile.
    nearest = np.sort(good @ directions.T, axis=0)[-2]
    return Degenerate(directions[nearest < OF_A_PERSON])


def blankness_of(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """Of each sample, by directions that were fitted to other people."""
    vectors, person = np.stack([s.vector for s in samples]), [s.person for s in samples]
    degenerate = np.array([s.damage in DEGENERATE for s in samples])
    good = np.array([s.damage is None for s in samples])
    people = sorted(set(person))
    part = np.array([people.index(p) % PARTS for p in person])
    blank = np.zeros(len(samples), np.float32)
    for n in range(PARTS):
        known = fitted(vectors[degenerate & (part != n)], vectors[good & (part != n)])
        blank[part == n] = known.blankness(vectors[part == n])
    return blank


def poor(samples: Sequence[Sample], blank: NDArray[np.float32], limits: QualityLimits) -> Chosen:
    """Whether each sample is too poor by the limits."""

    def fails(quality: Quality) -> bool:
        if isinstance(limits, EnrolmentSettings):
            return bool(enrolment_faults(quality, limits))
        return bool(faults(quality, limits))

    chosen: Chosen = np.array([fails(s.quality) for s in samples])
    return chosen | (blank > limits.max_blankness)


def strangers(vectors: Vectors, person: NDArray[np.str_]) -> Vectors:
    """Cosines of all pairs of two people."""
    pairs = np.triu(person[:, None] != person[None], 1)
    cosines: Vectors = (vectors @ vectors.T)[pairs]
    return cosines


def centroids(samples: Sequence[Sample], without: Sample | None = None) -> dict[str, Vectors]:
    rows: dict[str, list[Vectors]] = {}
    for sample in samples:
        if sample.damage is None and sample is not without:
            rows.setdefault(sample.person, []).append(sample.vector)
    return {person: normalised(np.sum(r, axis=0)[None])[0] for person, r in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--model", default=StackSettings().model)
    parser.add_argument("--worse", type=int, default=PHOTOS, help="photos of a person made worse")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    model = Model(REPOSITORY / args.model)
    samples = list(read(args.folders, model, FaceDetector(threads=1), args.worse))
    blank = blankness_of(samples)
    lookup = poor(samples, blank, LookupSettings())
    enrolment = poor(samples, blank, EnrolmentSettings())
    vectors, person = np.stack([s.vector for s in samples]), np.array([s.person for s in samples])
    damage = np.array([s.damage or "none" for s in samples])
    gallery = centroids(samples)
    names = np.array(list(gallery))
    among = vectors @ np.stack(list(gallery.values())).T
    among[person[:, None] == names[None]] = -1
    assert model.card.impostors is not None
    threshold = model.card.impostors.threshold(len(gallery), 0.01)
    pair = model.card.pairs.threshold

    print(f"\nThresholds {pair:.2f} for two photos, {threshold:.2f} among {len(gallery)} people.\n")
    print(
        "| damage | found | own | too poor | refused | pairs alike | left alike | of | named |\n"
        "|---|" + "---:|" * 8
    )
    total = np.zeros(4, int)
    for name in ("none", *DAMAGES):
        of = np.flatnonzero(damage == name)
        if not len(of):
            continue
        left = of[~lookup[of]]
        own = [float(vectors[n] @ gallery[person[n]]) for n in of]
        before, after = strangers(vectors[of], person[of]), strangers(vectors[left], person[left])
        named = int((among[left].max(axis=1) >= threshold).sum()) if len(left) else 0
        counts = ((before >= pair).sum(), (after >= pair).sum(), len(after), named)
        total += np.array(counts) * (name != "none")
        cells = (f"{np.median(own):.2f}", f"{lookup[of].mean():.0%}", f"{enrolment[of].mean():.0%}")
        print(f"| {name} | {len(of)} | {' | '.join(cells)} | {' | '.join(map(str, counts))} |")
    print(f"| all | | | | | {' | '.join(map(str, total))} |")

    good = [n for n, s in enumerate(samples) if s.damage is None]
    right, kept, looked = 0, 0, 0
    for n in good:
        rest = centroids(samples, samples[n])
        if samples[n].person not in rest:
            continue
        cosines = {p: float(vectors[n] @ c) for p, c in rest.items()}
        best = max(cosines, key=lambda p: cosines[p])
        is_right = best == samples[n].person and cosines[best] >= threshold
        looked, right, kept = looked + 1, right + is_right, kept + (is_right and not lookup[n])
    print(
        f"\n{len(good)} photos as they are: too poor {lookup[good].sum()}, refused "
        f"{enrolment[good].sum()}; of {looked} looked up among the others {right} were named "
        f"rightly without the gates, and {kept} with them. The largest blankness of one "
        f"{np.sort(blank[good])[-4:].round(2)}."
    )
    if args.write:
        degenerate = vectors[[s.damage in DEGENERATE for s in samples]]
        entries = json.loads(FILE.read_text())
        measured = {"photos": len(degenerate), "people": len(names)}
        known = fitted(degenerate, vectors[good])
        entries[model.card.id] = {**known.to_json(), **measured}
        FILE.write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
