"""Error rates of variants: photos enrolled and looked up in one of several ways.

The figures are those of `faces evaluate`, on the same divisions of the people and the same
bootstrap samples for every variant, so the difference of two variants has an interval of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.lookups import ALL_BUT_ONE, ENROLLED, centroid_of
from serving.evaluation.metrics import Floats, Scores, share
from serving.evaluation.tail import Comparisons, likeliest_of
from serving.gallery.segment import normalised

Rows = NDArray[np.float32]
# Probes (n, D), a person's embeddings (k, D) and their weights (k,) -> the cosines (n,).
Rule = Callable[[Rows, Rows, Floats], Floats]

FPIR, PEOPLE = 0.01, 1000
FIGURES = (
    "EER",
    "TAR, FAR 0.1%",
    "rank-1, 1",
    "DIR 10%, 1",
    "DIR 10%, 3",
    "DIR 10%, all",
    "d'",
    "lead",
    "named, 1",
    "named, all",
)


def centroid(probes: Rows, rows: Rows, weights: Floats) -> Floats:
    """The gallery's rule, if all weights are 1."""
    return (probes @ centroid_of(rows * weights[:, None])).astype(np.float64)


def nearest(probes: Rows, rows: Rows, weights: Floats) -> Floats:
    """The largest cosine with any of the photos."""
    best: Floats = (probes @ rows.T).max(axis=1).astype(np.float64)
    return best


def two_centroids(probes: Rows, rows: Rows, weights: Floats) -> Floats:
    """The larger cosine with two centroids, by k-means from the two least similar photos."""
    if len(rows) < 3:
        return nearest(probes, rows, weights)
    seeds = np.unravel_index((rows @ rows.T).argmin(), (len(rows), len(rows)))
    centres = rows[list(seeds)]
    for _ in range(10):
        side = (rows @ centres.T).argmax(axis=1)
        if len(set(side.tolist())) < 2:
            return centroid(probes, rows, weights)
        centres = np.stack([centroid_of(rows[side == n]) for n in (0, 1)])
    return nearest(probes, centres, weights)


def both(probes: Rows, rows: Rows, weights: Floats) -> Floats:
    """The mean of `centroid` and `nearest`."""
    return (centroid(probes, rows, weights) + nearest(probes, rows, weights)) / 2


@dataclass(frozen=True)
class Embedded:
    """n photos, enrolled in one way and looked up in another.

    Attributes:
        gallery, probes: (n, D), unit length.
        weights: (n,), of the photos in a person's centroid.
    """

    gallery: Rows
    probes: Rows
    weights: Floats
    rule: Rule = centroid


class Measure:
    """The figures (`FIGURES`) of an `Embedded`, as a function of each person's weight.

    Args:
        person: (n,), the person on each photo; from 0 on.
        distractors: (M, D), for rank-1: people who are in the gallery too.
        seed: of the divisions of the people, the same for every variant.
    """

    def __init__(
        self, found: Embedded, person: NDArray[np.intp], distractors: Rows, splits: int, seed: int
    ) -> None:
        self._person = person
        cosines = _Cosines(found, person)
        first, second = np.nonzero(~np.eye(len(person), dtype=bool))
        same = person[first] == person[second]
        pairs = cosines.photos[first, second]
        self._own_cosines, self._strange_cosines = pairs[same], pairs[~same]
        self._own_pairs = person[first[same]]
        self._strange_pairs = np.stack([person[first[~same]], person[second[~same]]], axis=1)
        self._pairs = Scores(pairs[same], pairs[~same])

        rng = np.random.default_rng(seed)
        among = (found.probes @ distractors.T).max(axis=1) if len(distractors) else None
        self._trials = [
            _Trial(cosines, person, count, splits, among, rng)
            if (np.bincount(person) > max(count, 1)).any()
            else None
            for count in ENROLLED
        ]

        # As in `faces calibrate`: with one photo enrolled, and with all others.
        alone = np.flatnonzero(np.bincount(person)[person] == 1)
        rest = np.setdiff1d(np.arange(len(person)), alone)
        others = cosines.others[rest, person[rest]]
        self._own = (pairs[same], person[first[same]]), (others, person[rest])
        table = cosines.people.copy()
        table[np.arange(len(person)), person] = -np.inf
        self._leads = others - table.max(axis=1)[rest], person[rest]
        probe, other = np.nonzero(person[:, None] != np.arange(person.max() + 1))
        counts = np.bincount(person)
        strangers = Comparisons(
            cosines.people[probe, other],
            np.stack([person[probe], other], axis=1),
            1 / counts[person[probe]],
        )
        self._likeliest = likeliest_of(strangers, "")

    def __call__(self, drawn: NDArray[np.int64]) -> Floats:
        """The figures; NaN where too few people or photos are left."""
        own, strange = drawn[self._own_pairs], drawn[self._strange_pairs].prod(axis=1)
        if not own.sum() or not strange.sum():
            return np.full(len(FIGURES), math.nan)
        roc = self._pairs.roc(own, strange)
        trials = [trial(drawn) if trial else (math.nan, math.nan) for trial in self._trials]
        fit = self._likeliest(drawn)
        threshold = math.nan if fit is None else fit.threshold(PEOPLE, FPIR)
        named = [
            math.nan if fit is None else _of_people(cosines >= threshold, person, drawn)
            for cosines, person in self._own
        ]
        return np.array(
            [
                roc.eer(),
                roc.tar_at(0.001),
                trials[0][0],
                *(rate for _, rate in trials),
                self._decidability(drawn),
                _of_people(*self._leads, drawn),
                *named,
            ]
        )

    def _decidability(self, drawn: NDArray[np.int64]) -> float:
        """The distance, in standard deviations, of the cosines of one person's photos from those of
        strangers: d' (Daugman, "Biometric decision landscapes", 2000)."""
        of = np.bincount(self._person)
        one, two = self._own_pairs, self._strange_pairs
        own = drawn[one] / (of[one] * (of[one] - 1))
        strange = (drawn[two] / of[two]).prod(axis=1)
        moments = []
        for cosines, weights in ((self._own_cosines, own), (self._strange_cosines, strange)):
            mean = share(cosines, weights)
            moments.append((mean, share((cosines - mean) ** 2, weights)))
        (mean, variance), (mean_2, variance_2) = moments
        return (mean - mean_2) / math.sqrt((variance + variance_2) / 2)


class _Cosines:
    """The cosines of all photos with all photos, people, and people without that photo."""

    def __init__(self, found: Embedded, person: NDArray[np.intp]) -> None:
        self._found = found
        by_person = [np.flatnonzero(person == p) for p in range(person.max() + 1)]
        self.photos = (found.probes @ found.gallery.T).astype(np.float64)
        self.people = np.stack([self.with_(own) for own in by_person], axis=1)
        self.others = self.people.copy()
        for photo, who in enumerate(person):
            rest = by_person[who][by_person[who] != photo]
            self.others[photo, who] = self.with_(rest)[photo] if len(rest) else -np.inf

    def with_(self, photos: NDArray[np.intp]) -> Floats:
        """The cosines with a person of whom these photos are enrolled: (n,)."""
        found = self._found
        return found.rule(found.probes, found.gallery[photos], found.weights[photos])


class _Trial:
    """Lookups with a number of photos enrolled, as in `serving.evaluation.lookups`."""

    def __init__(
        self,
        cosines: _Cosines,
        person: NDArray[np.intp],
        enrolled: int,
        splits: int,
        among: Rows | None,
        rng: np.random.Generator,
    ) -> None:
        counts = np.bincount(person)
        able = counts > max(enrolled, 1)
        known, unknown = [], []
        for _ in range(splits):
            order = rng.permutation(len(counts))
            chosen = order[able[order]][: max(1, len(order) // 2)]
            probe = np.ones(len(person), bool)
            if enrolled == ALL_BUT_ONE:
                table = cosines.others[:, chosen]
            else:
                table = np.empty((len(person), len(chosen)))
                for place, who in enumerate(chosen):
                    photos = rng.permutation(np.flatnonzero(person == who))[:enrolled]
                    probe[photos] = False
                    table[:, place] = cosines.with_(photos)
            best, right = table.max(axis=1), chosen[table.argmax(axis=1)] == person
            enrolled_here = np.isin(person, chosen)
            mine = np.flatnonzero(enrolled_here & probe)
            known.append(np.stack([person[mine], right[mine], best[mine], mine], axis=1))
            strange = np.flatnonzero(~enrolled_here)
            unknown.append(np.stack([person[strange], best[strange]], axis=1))
        hits, misses = np.concatenate(known), np.concatenate(unknown)
        self._known, self._unknown = hits[:, 0].astype(int), misses[:, 0].astype(int)
        right = hits[:, 1].astype(bool)
        self._scores = Scores(np.where(right, hits[:, 2], -np.inf), misses[:, 1])
        beside = -np.inf if among is None else among[hits[:, 3].astype(int)]
        self._first = right & (hits[:, 2] > beside)

    def __call__(self, drawn: NDArray[np.int64]) -> tuple[float, float]:
        """Rank-1 among the distractors, and DIR where FPIR is 10% without them."""
        known, unknown = drawn[self._known], drawn[self._unknown]
        if not known.sum() or not unknown.sum():
            return math.nan, math.nan
        return share(self._first, known), self._scores.roc(known, unknown).tar_at(0.1)


def _of_people(
    values: Floats | NDArray[np.bool_], person: NDArray[np.intp], drawn: NDArray[np.int64]
) -> float:
    """The mean, with every person weighted the same."""
    return share(values, drawn[person] / np.bincount(person)[person])


def averaged(*views: Rows) -> Rows:
    """One unit vector for each photo, from several views of it."""
    return normalised(np.sum(views, axis=0))
