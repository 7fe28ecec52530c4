"""Lookups of known and unknown people; see `serving.evaluation.identification`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.metrics import Floats
from serving.evaluation.sample import Sample
from serving.gallery.segment import normalised

ALL_BUT_ONE = 0
ENROLLED = (1, 3, ALL_BUT_ONE)  # photos a person
DISTRACTORS_KEPT = 20  # the nearest of each photo


@dataclass(frozen=True)
class Lookups:
    """Lookups of all splits together, of known people or of unknown ones.

    Attributes:
        person, photo: intp (L,), the person on the photo that was looked up, and the photo.
        best: float64 (L,), the best candidate's cosine; -inf: no face, one that is too poor to say,
            or an empty gallery.
        right: bool (L,), whether the best candidate is the person.
        people: int64 (L,), the number of people in the gallery.
        second: float64 (L,), the second candidate's cosine; -inf: there is none.
        mate: float64 (L,), the cosine with the person's own record; -inf: there is none.
        rank: int64 (L,), the place of the person among the candidates, from 1; 0: not among them.
            Above `DISTRACTORS_KEPT` it may be too low where there are distractors.
    """

    person: NDArray[np.intp]
    photo: NDArray[np.intp]
    best: Floats
    right: NDArray[np.bool_]
    people: NDArray[np.int64]
    second: Floats
    mate: Floats
    rank: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.person)


@dataclass(frozen=True)
class Trial:
    """The lookups with a given number of photos enrolled for each person."""

    enrolled: int  # photos, or ALL_BUT_ONE
    known: Lookups
    unknown: Lookups


def trials(
    sample: Sample,
    distractors: NDArray[np.floating[Any]],
    splits: int,
    rng: np.random.Generator,
    advance: Callable[[], None] = lambda: None,
) -> list[Trial]:
    """Look up in ``splits`` galleries for each number of photos of which a person has more.

    Args:
        distractors: (M, D), centroids of people who are in every gallery but not in the sample.
        advance: called after each split.
    """
    nearest = _nearest_of(sample.vectors, distractors)
    counts = np.bincount(sample.person, minlength=len(sample.ids))
    results = []
    for enrolled in ENROLLED:
        able = counts > max(enrolled, 1)
        if not able.any() or len(sample.ids) < 2:
            continue
        parts: list[tuple[Lookups, Lookups]] = []
        for _ in range(splits):
            order = rng.permutation(len(sample.ids))
            known = order[able[order]][: max(1, len(order) // 2)]
            parts.append(_split(sample, known, enrolled, nearest, len(distractors), rng))
            advance()
        known_parts, unknown_parts = zip(*parts, strict=True)
        results.append(Trial(enrolled, joined(known_parts), joined(unknown_parts)))
    return results


def centroid_of(rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The gallery's centroid of unit vectors (k, D): float32 (D,); zeros where k is 0."""
    total = rows.sum(axis=0, dtype=np.float32, keepdims=True)
    centroid: NDArray[np.float32] = normalised(total)[0]
    return centroid


def others_of(vectors: NDArray[np.float32], person: NDArray[np.intp]) -> NDArray[np.float32]:
    """For each of vectors (n, D) the centroid of the person's others: (n, D); zeros without others.

    Args:
        vectors: unit length, or zeros, which do not count.
        person: (n,), the person of each vector.
    """
    sums = np.zeros((int(person.max()) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, person, vectors)
    there = vectors.any(axis=1)
    others = np.bincount(person, there)[person] - there
    rest: NDArray[np.float32] = normalised(sums[person] - vectors)
    rest[others < 1] = 0
    return rest


def _split(
    sample: Sample,
    known: NDArray[np.intp],
    enrolled: int,
    nearest: Floats,
    distractors: int,
    rng: np.random.Generator,
) -> tuple[Lookups, Lookups]:
    """Enrol ``known`` in one gallery; returns the lookups of known and of unknown people.

    Args:
        nearest: (n, K), the largest cosines of each photo with distractors, descending.
    """
    person, answered = sample.person, sample.answerable
    # What is enrolled, and what is looked up: a photo may be good enough for one of the two.
    gallery = np.where(sample.enrollable[:, None], sample.vectors, np.float32(0))
    vectors = sample.vectors
    probe = np.ones(len(person), bool)
    centroids = np.zeros((len(known), vectors.shape[1]), np.float32)
    for place, enrolled_person in enumerate(known):
        photos = np.flatnonzero(person == enrolled_person)
        if enrolled != ALL_BUT_ONE:
            photos = rng.permutation(photos)[:enrolled]
            probe[photos] = False
        centroids[place] = centroid_of(gallery[photos])
    there = centroids.any(axis=1)  # people with at least one photo with a face
    cosines = (vectors @ centroids.T).astype(np.float64)
    cosines[:, ~there] = -np.inf
    of_known = np.full(len(sample.ids), -1)
    of_known[known] = np.arange(len(known))
    own = of_known[person]
    if enrolled == ALL_BUT_ONE:
        photos = np.flatnonzero(own >= 0)
        rest = others_of(gallery, person)[photos]
        products = np.einsum("ij,ij->i", vectors[photos], rest)
        cosines[photos, own[photos]] = np.where(rest.any(axis=1), products, -np.inf)
    best_place = cosines.argmax(axis=1)
    best = cosines[np.arange(len(person)), best_place]
    right = (best_place == own) & (best > nearest[:, 0]) & answered
    mate = np.where((own >= 0) & answered, cosines[np.arange(len(person)), own], -np.inf)
    before = (cosines > mate[:, None]).sum(axis=1) + (nearest >= mate[:, None]).sum(axis=1)
    rank = np.where(right, 1, np.where(np.isfinite(mate), np.maximum(before + 1, 2), 0))
    top = np.sort(np.concatenate([cosines, nearest], axis=1), axis=1)[:, -2:]
    second = np.where(answered, top[:, -2], -np.inf)
    best = np.where(answered, top[:, -1], -np.inf)
    people = int(there.sum()) + distractors

    def lookups(chosen: NDArray[np.bool_]) -> Lookups:
        photos = np.flatnonzero(chosen)
        return Lookups(
            person[photos],
            photos,
            best[photos],
            right[photos],
            np.full(len(photos), people, np.int64),
            second[photos],
            mate[photos],
            rank[photos],
        )

    return lookups(probe & (own >= 0)), lookups(own < 0)


def _nearest_of(vectors: NDArray[np.float32], others: NDArray[np.floating[Any]]) -> Floats:
    """The largest cosines of each of ``vectors`` (n, D) with ``others`` (M, D), descending: (n, K),
    at least one; -inf where there are not so many."""
    nearest = np.full((len(vectors), min(DISTRACTORS_KEPT, max(1, len(others)))), -np.inf)
    for start in range(0, len(others), 10_000):
        part = others[start : start + 10_000].astype(np.float32)
        both = np.concatenate([nearest, (vectors @ part.T).astype(np.float64)], axis=1)
        kept = nearest.shape[1]
        nearest = -np.sort(-np.partition(both, -kept, axis=1)[:, -kept:], axis=1)
    return nearest


def joined(parts: Sequence[Lookups]) -> Lookups:
    names = [field.name for field in fields(Lookups)]
    return Lookups(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
