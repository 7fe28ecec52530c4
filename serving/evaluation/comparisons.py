"""The comparisons of photos to which a calibration is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.lookups import centroid_of, others_of
from serving.evaluation.metrics import Floats, row_products
from serving.evaluation.sample import NotMeasurable, Sample
from serving.evaluation.tail import Comparisons
from serving.evaluation.verification import pairs_of

FEWEST_PEOPLE = 5
_MOST = 1_000_000  # comparisons of a kind; more do not improve the fit
_DRAWS = 10  # pairs of records of a kind for each photo
_RECORDS = 100_000  # such pairs of all photos, with at least one for each


@dataclass(frozen=True)
class Own:
    """Cosines between photos of one person, float64 (C,), and the person, intp (C,)."""

    cosines: Floats
    person: NDArray[np.intp]

    def shares(self) -> Floats:
        """The weight of each cosine, in sum 1: every person has the same weight."""
        counts = np.bincount(self.person)
        return 1 / (counts[self.person] * np.count_nonzero(counts))


@dataclass(frozen=True)
class Compared:
    """All comparisons of photos: with one photo of the person (``single``), with the centroid of
    all others of the person (``centroid``), with other people's centroids (``strangers``), and with
    their single photos (``strange_pairs``)."""

    photos: int
    people: int
    single: Own
    centroid: Own
    strangers: Comparisons
    strange_pairs: Comparisons


@dataclass(frozen=True)
class Records:
    """Comparisons of a photo with two records of its person that share no photo.

    Attributes:
        lower, gap: the lower one of the two cosines, and by how much the other exceeds it,
            float64 (C,).
        person: intp (C,).
    """

    lower: Floats
    gap: Floats
    person: NDArray[np.intp]


def compare_records(sample: Sample, rng: np.random.Generator) -> Records:
    """Compare each photo with two records of its person, made at random of one other photo each,
    and of a half of all others each. Photos with fewer than two others have none."""
    usable = sample.usable
    vectors, person = sample.vectors[usable], sample.person[usable]
    draws = max(1, min(_DRAWS, _RECORDS // max(1, len(person))))
    cosines, whose = [], []
    for photo in range(len(person)):
        others = np.flatnonzero(person == person[photo])
        others = others[others != photo]
        if len(others) < 2:
            continue
        for _ in range(draws):
            order = rng.permutation(others)
            for most in (1, len(order)):
                records = [centroid_of(vectors[order[n::2][:most]]) for n in (0, 1)]
                cosines.append(np.sort(np.stack(records) @ vectors[photo]))
                whose.append(person[photo])
    low, high = np.array(cosines, np.float64).reshape(-1, 2).T
    return Records(low, high - low, np.array(whose, np.intp))


def compare(sample: Sample, rng: np.random.Generator) -> Compared:
    """Compare each photo with its own person and with all others.

    Raises:
        NotMeasurable: too few people or photos.
    """
    usable = sample.usable
    vectors, person = sample.vectors[usable], sample.person[usable]
    present, person = np.unique(person, return_inverse=True)
    people, counts = len(present), np.bincount(person)
    if people < FEWEST_PEOPLE or (counts > 1).sum() < 2:
        raise NotMeasurable(
            f"{people} people with a usable photo, {int((counts > 1).sum())} of them with two, are "
            f"too few: at least {FEWEST_PEOPLE}, two of them with two photos."
        )
    centroids = np.stack([centroid_of(vectors[person == p]) for p in range(people)])
    several = np.flatnonzero(counts[person] > 1)
    cells = np.flatnonzero(person[:, None] != np.arange(people))
    if len(cells) > _MOST:
        cells = rng.choice(cells, _MOST, replace=False)
    cells = np.stack(np.divmod(cells, people), axis=1)
    # A card is fitted to all photos with a face: what look-up is too poor for belongs to settings.
    pairs = pairs_of(replace(sample, poor=()), rng, _MOST)
    one, two = (
        (places[np.isfinite(scores)], scores[np.isfinite(scores)])
        for places, scores in (
            (pairs.genuine, pairs.genuine_scores),
            (pairs.impostor, pairs.impostor_scores),
        )
    )
    photos = np.bincount(sample.person[usable], minlength=len(sample.ids))
    strange = sample.person[two[0]]
    return Compared(
        photos=len(person),
        people=people,
        single=Own(one[1], sample.person[one[0][:, 0]]),
        centroid=Own(
            row_products(vectors, others_of(vectors, person), np.stack([several] * 2, axis=1)),
            person[several],
        ),
        strangers=Comparisons(
            row_products(vectors, centroids, cells),
            np.stack([present[person[cells[:, 0]]], present[cells[:, 1]]], axis=1),
            1 / counts[person[cells[:, 0]]],
        ),
        strange_pairs=Comparisons(two[1], strange, 1 / photos[strange].prod(axis=1)),
    )
