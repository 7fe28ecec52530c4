"""The effect of small, blurred and turned photos on recognition, and on the quality gates.

    python -m tests.bench.gates FOLDER    # FOLDER/<person>/<photo>, two photos each at least

Each photo is degraded in steps and compared with the unchanged other photos of its person.
Prints tables; docs/enrolment.md has them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from serving.gallery.segment import normalised
from serving.model.repository import REPOSITORY
from serving.settings import EnrolmentSettings
from serving.stack.config import StackSettings
from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.quality import enrolment_faults, quality_of
from serving.vision.records import Faces, Photo
from tests.bench.face_size import Model
from tests.bench.scenes import photos_with_faces

SIDES = (16, 20, 24, 28, 32, 40)
SIGMAS = (0, 1, 2, 3, 4, 5, 6)
STREAKS = (9, 13, 17, 21, 25, 33)

LIMITS = EnrolmentSettings()
Crop = NDArray[np.uint8]
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    path: Path
    pixels: NDArray[np.uint8]
    face: Faces
    vector: Vector


def read(folder: Path, model: Model, detector: FaceDetector) -> Iterator[Sample]:
    for path, photo, faces in photos_with_faces(folder, detector):
        face = faces.first(1)
        yield Sample(path, photo.pixels, face, model.embed(face.crops[0]))


def others(samples: Sequence[Sample], probe: Sample) -> Vector | None:
    """The centroid of the other photos of the person."""
    rows = [s.vector for s in samples if s.path.parent == probe.path.parent and s is not probe]
    return normalised(np.sum(rows, axis=0)[None])[0] if rows else None


def row(
    name: str, model: Model, worse: Sequence[tuple[Sample, Faces]], mates: Sequence[Vector]
) -> str:
    """The cosines that degraded faces keep, and the share of them that each gate refuses."""
    vectors = np.stack([model.embed(face.crops[0]) for _, face in worse])
    cosines = (vectors * np.stack(mates)).sum(axis=1)
    alike = cosines >= model.card.pairs.threshold
    refused = np.array([bool(enrolment_faults(face.quality[0], LIMITS)) for _, face in worse])
    sharp = np.array([face.quality[0].sharpness for _, face in worse])
    cells = (
        f"{len(worse)}",
        f"{np.median(cosines):.2f}",
        f"{alike.mean():.0%}",
        f"{(cosines >= model.card.threshold).mean():.0%}",
        f"{sharp.min():.4f}",
        f"{np.median(sharp):.4f}",
        f"{refused.mean():.0%}",
        f"{refused[alike].mean():.0%}" if alike.any() else "",
    )
    return f"| {name} | " + " | ".join(cells) + " |"


HEAD = (
    "| degraded | photos | cosine | verified | named | least sharp | sharpness | refused |"
    " of verified |\n"
    "|---|" + "---:|" * 8
)


def reduced(sample: Sample, side: float, detector: FaceDetector) -> Faces | None:
    """The face in the photo reduced to this shorter side of its box; None: not found."""
    scale = side / sample.face.quality[0].side
    image = Image.fromarray(sample.pixels)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    pixels = np.asarray(image.resize(size, Image.Resampling.BOX))
    faces = find_faces(Photo(pixels, *size), detector)
    if not len(faces):
        return None
    n = int(np.abs(faces.boxes / scale - sample.face.boxes[0]).max(axis=1).argmin())
    one = slice(n, n + 1)
    return Faces(
        faces.boxes[one],
        faces.scores[one],
        faces.landmarks[one],
        faces.crops[one],
        faces.quality[one],
        faces.turns[one],
    )


def with_crop(sample: Sample, change: Callable[[Crop], Crop]) -> Faces:
    face, crop = sample.face, change(sample.face.crops[0])
    quality = quality_of(face.boxes[0], face.landmarks[0], crop)
    return replace(face, crops=crop[None], quality=(quality,))


def defocused(sigma: float) -> Callable[[Crop], Crop]:
    def change(crop: Crop) -> Crop:
        image = Image.fromarray(crop.transpose(1, 2, 0)).filter(ImageFilter.GaussianBlur(sigma))
        return np.asarray(image).transpose(2, 0, 1)

    return change


def shaken(pixels: int, axis: int) -> Callable[[Crop], Crop]:
    def change(crop: Crop) -> Crop:
        moved = [np.roll(crop.astype(np.float32), n - pixels // 2, axis) for n in range(pixels)]
        blurred: Crop = np.mean(moved, axis=0).astype(np.uint8)
        return blurred

    return change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    model = Model(REPOSITORY / StackSettings().model)
    detector = FaceDetector(threads=1)
    fine = FaceDetector(min_face_size=12, second_look=False, threads=1)
    read_ = list(read(args.folder, model, detector))
    found = [(s, mate) for s in read_ if (mate := others(read_, s)) is not None]
    samples, mates = [s for s, _ in found], [m for _, m in found]

    def print_row(name: str, change: Callable[[Sample], Faces | None], least: float = 0) -> None:
        made = [
            (s, face, m)
            for s, m in zip(samples, mates, strict=True)
            if s.face.quality[0].side > least and (face := change(s)) is not None
        ]
        print(row(name, model, [(s, f) for s, f, _ in made], [m for *_, m in made]), flush=True)

    print(HEAD, flush=True)
    for side in SIDES:
        print_row(f"{side} pixels wide", partial(reduced, side=side, detector=fine), side)
    for sigma in SIGMAS:
        print_row(f"sigma {sigma}", partial(with_crop, change=defocused(sigma)))
    for axis, way in ((2, "sideways"), (1, "upwards")):
        for pixels in STREAKS:
            print_row(f"{pixels} pixels {way}", partial(with_crop, change=shaken(pixels, axis)))
    print("\n| turn | eyes | cosine |\n|---:|---:|---:|")
    turned = sorted(zip(samples, mates, strict=True), key=lambda p: -p[0].face.quality[0].turn)
    for sample, mate in turned[:6]:
        quality = sample.face.quality[0]
        print(f"| {quality.turn:.2f} | {quality.eyes:.2f} | {sample.vector @ mate:.2f} |")
    refused = [f.gate for s in samples for f in enrolment_faults(s.face.quality[0], LIMITS)]
    eyes = min(s.face.quality[0].eyes for s in samples)
    print(
        f"\n{len(samples)} photos as they are: refused {refused}; least distance of eyes {eyes:.2f}"
    )


if __name__ == "__main__":
    main()
