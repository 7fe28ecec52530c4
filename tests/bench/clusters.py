"""Score the groups that `faces cluster` makes, on photos of people whose names are known.

    python -m tests.bench.clusters FOLDER        # a folder of photos for each person

Pairwise: of all pairs of faces in one group, how many are of one person (precision); of all pairs
of one person's faces, how many are in one group (recall); F is their harmonic mean. BCubed: the
same for the average face. With --largest only the largest face of each photo counts, whose person
is known; the other faces of a photo are of unknown people, and are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.matching.clusters import cluster
from serving.operations.folders import subjects_in
from serving.operations.offline import Cropper, LocalModel, embed_photos
from serving.settings import DEFAULT_MODEL, AppArgs

THRESHOLDS = (0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65)
Labels = NDArray[np.int64]


def pairwise(people: Labels, groups: Labels) -> tuple[float, float, float]:
    """Precision, recall and F over pairs of faces; 1 where there are no pairs."""
    above = np.triu_indices(len(people), 1)
    same = (people[:, None] == people)[above]
    together = (groups[:, None] == groups)[above]
    return _scores(np.sum(same & together), np.sum(together), np.sum(same))


def b_cubed(people: Labels, groups: Labels) -> tuple[float, float, float]:
    """Precision, recall and F of Bagga and Baldwin (1998): each face counts the same."""
    same, together = people[:, None] == people, groups[:, None] == groups
    both = (same & together).sum(axis=1)
    precision = float(np.mean(both / together.sum(axis=1)))
    recall = float(np.mean(both / same.sum(axis=1)))
    return precision, recall, 2 * precision * recall / (precision + recall)


def _scores(both: np.int64, together: np.int64, same: np.int64) -> tuple[float, float, float]:
    precision = float(both / together) if together else 1.0
    recall = float(both / same) if same else 1.0
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repository", type=Path, default=Path("triton/models"))
    parser.add_argument("--model", default=DEFAULT_MODEL)
    args = parser.parse_args()
    local = LocalModel(args.repository, args.model)
    subjects = subjects_in(args.folder).found.people
    photos = [photo for person in subjects for photo in person.photos]
    of = np.repeat(np.arange(len(subjects)), [len(person.photos) for person in subjects])
    found = embed_photos(photos, Cropper(AppArgs(), local.card), local)
    used = np.array([n for n, problem in enumerate(found.problems) if problem is None])
    people, vectors = of[used], found.vectors[used]
    print(f"{len(used)} faces of {len(np.unique(people))} people, {local.card.id}\n")
    print("| threshold | groups | precision | recall | F | BCubed F |")
    print("|---:|---:|---:|---:|---:|---:|")
    for threshold in THRESHOLDS:
        groups = cluster(vectors, range(len(used)), threshold)
        row = (*pairwise(people, groups), b_cubed(people, groups)[2])
        figures = " | ".join(f"{value:.3f}" for value in row)
        print(f"| {threshold:.2f} | {groups.max() + 1} | {figures} |")


if __name__ == "__main__":
    main()
