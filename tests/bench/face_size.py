"""The smallest face sizes, in pixels, at which faces are found and identified.

    python -m tests.bench.face_size FOLDER    # FOLDER/<person>/<photo>, two photos each at least

Each photo is reduced until its face has a given height, and is then looked up among the other
photos of the people, at full size, with one centroid per person. Prints two tables;
docs/detection.md has them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.gallery.segment import normalised
from serving.model import runtime
from serving.model.card import ModelCard
from serving.model.repository import REPOSITORY
from serving.stack.config import StackSettings
from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.records import Faces, Photo
from tests.bench.scenes import photos_with_faces

HEIGHTS = (16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80)
LEAST = (20, 24, 28, 32, 36, 40)


@dataclass(frozen=True)
class Sample:
    person: str
    pixels: NDArray[np.uint8]
    box: NDArray[np.float32]
    embedding: NDArray[np.float32]  # (D,)


class Model:
    def __init__(self, folder: Path) -> None:
        self._network = runtime.load(folder)
        self.card = ModelCard.from_json((folder / "model.json").read_text())

    def embed(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self._network(crop[None])[0]
        return vector


def read(folder: Path, model: Model) -> list[Sample]:
    return [
        Sample(path.parent.name, photo.pixels, faces.boxes[0], model.embed(faces.crops[0]))
        for path, photo, faces in photos_with_faces(folder, FaceDetector())
    ]


def reduced(sample: Sample, height: int, detector: FaceDetector) -> tuple[Faces, int] | None:
    """The faces of the photo at this face height, and the photo's own face; None: not found."""
    full = float(sample.box[3] - sample.box[1])
    scale = height / full
    image = Image.fromarray(sample.pixels)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    pixels = np.asarray(image.resize(size, Image.Resampling.BOX))
    faces = find_faces(Photo(pixels, width=size[0], height=size[1]), detector)
    if not len(faces):
        return None
    distances = np.abs(faces.boxes / scale - sample.box).max(axis=1)
    nearest = int(distances.argmin())
    return (faces, nearest) if distances[nearest] < full / 2 else None


def candidates(samples: Sequence[Sample], probe: Sample) -> dict[str, NDArray[np.float32]]:
    """The centroids of all people, without the probe itself."""
    rows: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    for sample in samples:
        if sample is not probe:
            rows[sample.person].append(sample.embedding)
    return {p: normalised(np.sum(r, axis=0)[None])[0] for p, r in rows.items()}


def identified(samples: Sequence[Sample], model: Model) -> list[str]:
    detector = FaceDetector(min_face_size=12, second_look=False)
    lines = [
        "| height of the face | photos | found | right person first | and at least the threshold |",
        "|---:|---:|---:|---:|---:|",
    ]
    for height in HEIGHTS:
        probes = [s for s in samples if s.box[3] - s.box[1] > height]
        found = first = named = 0
        for probe in probes:
            seen = reduced(probe, height, detector)
            if seen is None:
                continue
            found += 1
            vector = model.embed(seen[0].crops[seen[1]])
            cosines = {p: float(c @ vector) for p, c in candidates(samples, probe).items()}
            best = max(cosines, key=cosines.__getitem__)
            first += best == probe.person
            named += best == probe.person and cosines[best] >= model.card.threshold
        parts = " | ".join(f"{n / len(probes):.0%}" for n in (found, first, named))
        lines.append(f"| {height} | {len(probes)} | {parts} |")
        print(lines[-1], flush=True)
    return lines


def found(samples: Sequence[Sample]) -> list[str]:
    heights = [h for h in HEIGHTS if 24 <= h <= 48]
    lines = [
        "| `min_face_size` | " + " | ".join(f"{h} pixels" for h in heights) + " |",
        "|---:|" + "---:|" * len(heights),
    ]
    for least in LEAST:
        detector = FaceDetector(min_face_size=least, second_look=False)
        rates = []
        for height in heights:
            probes = [s for s in samples if s.box[3] - s.box[1] > height]
            seen = sum(reduced(probe, height, detector) is not None for probe in probes)
            rates.append(f"{seen / len(probes):.0%}")
        lines.append(f"| {least} | " + " | ".join(rates) + " |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    model = Model(REPOSITORY / StackSettings().model)
    samples = read(args.folder, model)
    people = len({s.person for s in samples})
    print(f"{len(samples)} photos of {people} people, threshold {model.card.threshold}")
    tables = [*identified(samples, model), "", *found(samples)]
    print("\n".join(["", *tables]))


if __name__ == "__main__":
    main()
