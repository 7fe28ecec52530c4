"""Ambiguous faces: how many good lookups lose their name, and how many wrong names are avoided.

    python -m tests.bench.ambiguous FOLDER [--gallery FILE]    # FOLDER/<id>/<photo>

Lookups by the functions of the service, with the card of the model that is served by default:

- each photo among the other photos of all people, with one photo a person enrolled or all others;
- photos of people who are not enrolled;
- look-alikes: a second identity whose photos are mixtures of those of two people, enrolled beside
  one of the two; photos of both are looked up. No photo is in both;
- people who are enrolled under two ids, each with a half of their photos.

Prints tables; docs/accuracy.md has them. ``--gallery`` adds the people of an export.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.cli.evaluation import opened
from serving.evaluation.calibrate import Wanted, calibrate
from serving.evaluation.distractors import read_distractors
from serving.evaluation.lookups import centroid_of
from serving.evaluation.sample import Sample
from serving.gallery.segment import normalised
from serving.matching.ambiguity import COMPARED, as_likely, margin_of
from serving.matching.records import Candidate
from serving.matching.threshold import named, threshold_of
from serving.model.card import ModelCard
from serving.model.repository import REPOSITORY
from serving.settings import MatchSettings
from serving.stack.config import StackSettings

MARGINS = (0.05, 0.1, None, 0.18, 0.25)  # None: the card's
WEIGHTS = (0.2, 0.3, 0.4, 0.5)  # of the other person in a look-alike's photos
DRAWS = 400
PARTS = 3  # of the people, of which the card is calibrated without one
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Lookup:
    """One face that was looked up.

    Attributes:
        right: whether its name is right; None: it has none.
        ambiguous: for each of `MARGINS`.
    """

    right: bool | None
    ambiguous: tuple[bool, ...]


@dataclass(frozen=True)
class People:
    """Photos of people, their embeddings by person, and others who are in every gallery."""

    photos: Sequence[Vectors]
    others: Vectors
    card: ModelCard

    def look(self, probe: Vectors, rows: Sequence[tuple[int, Vectors]], person: int) -> Lookup:
        """Look up a photo of ``person`` among centroids ``rows`` of people, and the others."""
        centroids = np.concatenate([np.stack([row for _, row in rows]), self.others])
        owners = [owner for owner, _ in rows] + [-1] * len(self.others)
        cosines = centroids @ probe
        order = np.argsort(-cosines)[:COMPARED]
        candidates = [Candidate(int(n), None, float(min(cosines[n], 1))) for n in order]
        threshold = threshold_of(None, MatchSettings(), self.card, len(centroids))
        best = named(candidates, threshold)
        margins = [margin_of(MatchSettings(ambiguous_margin=m), self.card) for m in MARGINS]
        likely = [
            bool(as_likely(candidates, threshold, self.card, len(centroids), m)) for m in margins
        ]
        return Lookup(None if best is None else owners[best.id] == person, tuple(likely))


def enrolled(people: People, one: bool, rng: np.random.Generator) -> list[tuple[int, Vectors]]:
    """Everybody, with one photo or with all."""
    return [
        (person, centroid_of(photos[rng.permutation(len(photos))][: 1 if one else None]))
        for person, photos in enumerate(people.photos)
    ]


def good(people: People, one: bool, draws: int, rng: np.random.Generator) -> Iterator[Lookup]:
    """Each photo among everybody's others."""
    for _ in range(draws if one else 1):
        everybody = enrolled(people, one, rng)
        for person, photos in enumerate(people.photos):
            for n in range(len(photos) if len(photos) > 1 else 0):
                rest = np.delete(photos, n, axis=0)
                kept = rest[rng.permutation(len(rest))][: 1 if one else None]
                rows = [*everybody[:person], (person, centroid_of(kept)), *everybody[person + 1 :]]
                yield people.look(photos[n], rows, person)


def strangers(people: People, one: bool, draws: int, rng: np.random.Generator) -> Iterator[Lookup]:
    """Each photo among everybody else."""
    for _ in range(draws if one else 1):
        everybody = enrolled(people, one, rng)
        for person, photos in enumerate(people.photos):
            rows = [*everybody[:person], *everybody[person + 1 :]]
            for photo in photos:
                yield people.look(photo, rows, person)


def look_alikes(
    people: People, weight: float, one: bool, rng: np.random.Generator
) -> Iterator[Lookup]:
    """Photos of a person, and of a second one who is a mixture with another person."""
    able = [n for n, photos in enumerate(people.photos) if len(photos) >= 4]
    others = [n for n, photos in enumerate(people.photos) if len(photos) >= 2]
    twin = len(people.photos)
    for _ in range(DRAWS):
        person = int(rng.choice(able))
        other = int(rng.choice([n for n in others if n != person]))
        mine = people.photos[person][rng.permutation(len(people.photos[person]))]
        strange = people.photos[other][rng.permutation(len(people.photos[other]))]
        most = 1 if one else None
        rest = mine[2:]
        base, added = rest[1::2][:most], strange[1:]
        added = added[np.arange(len(base)) % len(added)]
        mixed = normalised((1 - weight) * base + weight * added)
        probe = normalised(((1 - weight) * mine[1] + weight * strange[0])[None])[0]
        everybody = enrolled(people, one, rng)
        everybody[person] = (person, centroid_of(rest[::2][:most]))
        rows = [*everybody, (twin, centroid_of(mixed))]
        yield people.look(mine[0], rows, person)
        yield people.look(probe, rows, twin)


def twice(people: People, one: bool, rng: np.random.Generator) -> Iterator[Lookup]:
    """Photos of a person who is enrolled under two ids; either is right."""
    able = [n for n, photos in enumerate(people.photos) if len(photos) >= 3]
    for _ in range(DRAWS):
        person = int(rng.choice(able))
        photos = people.photos[person][rng.permutation(len(people.photos[person]))]
        everybody = enrolled(people, one, rng)
        halves = [centroid_of(photos[1:][n::2][: 1 if one else None]) for n in (0, 1)]
        rows = [*everybody[:person], *everybody[person + 1 :]]
        yield people.look(photos[0], [*rows, *((person, half) for half in halves)], person)


def row(name: str, lookups: Sequence[Lookup]) -> str:
    """Lookups, names that are right and wrong, and of each how many are ambiguous."""
    counts = Counter(lookup.right for lookup in lookups)
    cells = [f"{len(lookups)}", f"{counts[True]}", f"{counts[False]}"]
    for n in range(len(MARGINS)):
        taken = Counter(lookup.right for lookup in lookups if lookup.ambiguous[n])
        cells.append(f"{taken[True]}, {taken[False]}")
    return f"| {name} | {' | '.join(cells)} |"


def without(sample: Sample, part: int) -> Sample:
    """The sample without one part of the people."""
    kept = np.flatnonzero(sample.person % PARTS != part)
    ids, person = np.unique(sample.person[kept], return_inverse=True)
    return Sample(
        sample.ids[ids],
        person,
        [sample.photos[n] for n in kept],
        sample.vectors[kept],
        [sample.problems[n] for n in kept],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--gallery", type=Path)
    args = parser.parse_args()
    measured = opened(args.folder, StackSettings().model, REPOSITORY, None)
    sample, card = measured.embed(), measured.model.card
    others = np.empty((0, card.dimension), np.float32)
    if args.gallery is not None:
        others = read_distractors(args.gallery, card.id, sample.ids).centroids.astype(np.float32)
    photos = [
        sample.vectors[(sample.person == person) & sample.usable]
        for person in range(len(sample.ids))
    ]
    assert card.margin is not None
    margins = [
        calibrate(without(sample, part), Wanted(), np.random.default_rng(0)).margin
        for part in range(PARTS)
    ]
    print(
        f"Margin of the card {card.margin.cosine}; without a third of the people "
        f"{', '.join(f'{margin.cosine:.3f}' for margin in margins if margin is not None)}.\n"
    )
    people = People(photos, others, card)
    rng = np.random.default_rng(0)
    cases: dict[str, list[Lookup]] = {}
    for one in (True, False):
        of = "one photo" if one else "all photos"
        cases[f"known, {of}"] = list(good(people, one, 20, rng))
        cases[f"strangers, {of}"] = list(strangers(people, one, 20, rng))
        for weight in WEIGHTS:
            cases[f"look-alike {weight:g}, {of}"] = list(look_alikes(people, weight, one, rng))
        cases[f"enrolled twice, {of}"] = list(twice(people, one, rng))
    heads = " | ".join(f"{m or card.margin.cosine:g}: right, wrong" for m in MARGINS)
    print(f"| | lookups | named rightly | wrongly | {heads} |\n|---|" + "---:|" * 8)
    for name, lookups in cases.items():
        print(row(name, lookups))


if __name__ == "__main__":
    main()
