"""Measures the gain of other crops, embeddings and centroids. Prints Markdown tables.

    python -m tests.bench.variants FOLDER    # FOLDER/<person>/<photo>

Or `make bench-variants PHOTOS=FOLDER`. docs/variants.md has them, and says which were adopted. Only
aggregates are printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from serving.errors import ServingError
from serving.evaluation.distractors import read_distractors
from serving.evaluation.estimates import draws_of
from serving.evaluation.metrics import Floats
from serving.operations.offline import LocalModel
from serving.settings import AppArgs
from serving.vision.decode import decode
from serving.vision.faces import MARGIN
from serving.vision.mtcnn.detector import FaceDetector
from tests.bench.variants import harder, ideas
from tests.bench.variants.comparing import FIGURES, Measure
from tests.bench.variants.crops import Face, aligned, as_served, boxed, largest_face
from tests.bench.variants.ideas import Embeddings, Variant

SPLITS, REPLICATES, SEED = 50, 500, 0
WITH_INTERVAL = ("d'", "lead", "named, 1", "named, all")
DISTRACTORS = Path("data/gallery/synthetic-1000.safetensors")


@dataclass(frozen=True)
class Sample:
    """One face of every photo, and its person, (n,), from 0 on."""

    faces: Sequence[Face]
    person: NDArray[np.intp]
    photos: int  # also those without a face

    @property
    def people(self) -> int:
        return int(self.person.max()) + 1


def read(folder: Path, detector: FaceDetector) -> Sample:
    """The largest face of every photo, of FOLDER/<person>/<photo>.

    Photos without a face are left out: they fail in every variant.
    """
    faces: list[Face] = []
    person: list[int] = []
    photos = people = 0
    for own in sorted(path for path in folder.iterdir() if path.is_dir()):
        found = []
        for path in sorted(own.iterdir()):
            try:
                photo = decode(path.read_bytes(), AppArgs().decode)
            except (ServingError, OSError):
                continue
            photos += 1
            face = largest_face(photo, detector)
            found += [face] if face else []
        if found:
            faces += found
            person += [people] * len(found)
            people += 1
    return Sample(faces, np.array(person), photos)


def table(variants: Sequence[Variant], measures: dict[str, tuple[Floats, Floats]]) -> list[str]:
    """Each figure, bold if the 95% interval of its difference from the compared variant excludes 0.
    Those in `WITH_INTERVAL` show that interval."""
    lines = ["| | " + " | ".join(FIGURES) + " |", "|---" + "|---:" * len(FIGURES) + "|"]
    for variant in variants:
        values, replicates = measures[variant.name]
        low, high = interval(replicates, measures[variant.against][1])
        cells = []
        for figure, value, a, b in zip(FIGURES, values, low, high, strict=True):
            cell = f"{value:.3f}"
            if figure in WITH_INTERVAL and variant.name != variant.against:
                cell += f" ({a:+.3f} to {b:+.3f})"
            cells.append(f"**{cell}**" if a > 0 or b < 0 else cell)
        lines.append(f"| {variant.name} | " + " | ".join(cells) + " |")
    return lines


def interval(replicates: Floats, others: Floats) -> tuple[Floats, Floats]:
    """95% interval of the differences (R, F) on the same bootstrap samples: (F,) and (F,)."""
    low, high = np.nanquantile(replicates - others, [0.025, 0.975], axis=0)
    return low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repository", type=Path, default=Path("triton/models"))
    parser.add_argument("--model", default="facenet-casia-webface")
    args = parser.parse_args()
    torch.set_num_threads(2)
    detector = FaceDetector(threads=2)
    sample = read(args.folder, detector)
    local = LocalModel(args.repository, args.model)
    embed = Embeddings(sample.faces, local)
    served = embed(as_served)
    print(f"{len(sample.faces)} faces on {sample.photos} photos of {sample.people} people\n")
    variants = [
        ideas.plain("as served", served),
        *ideas.crops(embed),
        *ideas.mirrors(embed, served),
        *ideas.weights(sample.faces, embed, served),
        *ideas.centroids(served),
        *ideas.precision(embed, args.repository / args.model / "1" / "model.pt", served),
        *ideas.combined(embed),
    ]
    distractors = read_distractors(DISTRACTORS, local.card.id, np.empty(0, np.int64)).centroids
    draws = draws_of(sample.people, REPLICATES, np.random.default_rng(SEED))
    measures = {}
    for variant in variants:
        measure = Measure(
            variant.found, sample.person, distractors.astype(np.float32), SPLITS, SEED
        )
        figures = measure(np.ones(sample.people, np.int64))
        measures[variant.name] = figures, np.stack([measure(drawn) for drawn in draws])
    print("\n".join(table(variants, measures)), flush=True)
    print()
    looked = harder.looks(sample.faces)
    print("\n".join(harder.gains(looked, sample.person, served, local)), flush=True)
    ways = {
        "as served": as_served,
        "edges repeated": boxed(MARGIN),
        "eyes level": boxed(MARGIN, rotated=True),
        "5 points, 1.2 times wider, eyes 62": aligned(62, 1.2),
    }
    galleries = {name: (cut, embed(cut)) for name, cut in ways.items()}
    whole = [face if harder.inside(face) else None for face in sample.faces]
    cut_down = {
        name: {n: face for n, face in both.items() if whole[n]}
        for name, (_, both) in looked.items()
    }
    turned = {n: harder.seen(whole, change, detector) for n, change in harder.TURNED.items()}
    for title, found in (("border", cut_down), ("turned by", turned)):
        lines = harder.leads(title, found, sample.person, galleries, local)
        print("\n".join(["", *lines]), flush=True)


if __name__ == "__main__":
    main()
