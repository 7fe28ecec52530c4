"""Evaluation: photos of people -> a `Report` of error rates, and the curves behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.distractors import Distractors
from serving.evaluation.estimates import draws_of
from serving.evaluation.identification import (
    Identification,
    Reliability,
    confidence_of,
    identify,
)
from serving.evaluation.lookups import trials
from serving.evaluation.metrics import Roc
from serving.evaluation.sample import NotMeasurable, Sample
from serving.evaluation.verification import Pairs, Verification, pairs_of, verify
from serving.matching.threshold import threshold_of
from serving.model.card import ModelCard
from serving.settings import MatchSettings

# Progress steps of `evaluate`: the pairs, and each number of enrolled photos.
STEPS = 4


@dataclass(frozen=True)
class Asked:
    """Random divisions of the people, replicates of the bootstrap, and the random seed."""

    splits: int = 50
    replicates: int = 500
    seed: int = 0


@dataclass(frozen=True)
class Report:
    """Aggregates only: no value describes a single photo or person."""

    model: str
    photos: int
    people: int
    people_with_two: int
    without_embedding: int  # files that are no photo or show no face
    distractors: int
    asked: Asked
    verification: Verification
    identification: list[Identification]
    confidence: Reliability

    def to_json(self) -> dict[str, Any]:
        """Plain data; rates are keys written as decimal fractions."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {f"{k:g}" if isinstance(k, float) else k: plain(v) for k, v in value.items()}
            return [plain(v) for v in value] if isinstance(value, list | tuple) else value

        data: dict[str, Any] = plain(asdict(self))
        return data


@dataclass(frozen=True)
class Curves:
    """The curves to draw, and the pairs of photos behind them."""

    pairs: Pairs
    verification: Roc
    identification: dict[str, Roc]  # DIR over FPIR, by the photos enrolled


def evaluate(
    sample: Sample,
    card: ModelCard,
    matching: MatchSettings,
    distractors: Distractors,
    asked: Asked,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Report, Curves]:
    """Measure everything; ``advance`` is called after each of `STEPS` steps.

    Raises:
        NotMeasurable: too few people.
    """
    counts = np.bincount(sample.person, minlength=len(sample.ids))
    if len(sample.ids) < 2 or counts.max() < 2:
        raise NotMeasurable("Two people are the least, and somebody with two photos.")
    if not sample.usable.any():
        raise NotMeasurable("No photo shows a face.")
    rng = np.random.default_rng(asked.seed)
    draws = draws_of(len(sample.ids), asked.replicates, rng)
    pairs = pairs_of(sample, rng)
    verification, roc = verify(sample, pairs, card, draws, rng)
    advance()

    def threshold(people: int) -> float:
        return threshold_of(None, matching, card, people)

    lookups = trials(sample, distractors.centroids, asked.splits, rng)
    measured = []
    curves = {}
    for trial in lookups:
        identification, curve = identify(trial, threshold, draws)
        measured.append(identification)
        curves[identification.enrolled] = curve
        advance()
    report = Report(
        model=card.id,
        photos=len(sample.photos),
        people=len(sample.ids),
        people_with_two=int((counts > 1).sum()),
        without_embedding=int((~sample.usable).sum()),
        distractors=len(distractors.centroids),
        asked=asked,
        verification=verification,
        identification=measured,
        confidence=confidence_of(lookups, card.confidence, draws),
    )
    return report, Curves(pairs, roc, curves)


def worst_pairs(
    sample: Sample, pairs: Pairs, count: int
) -> tuple[list[tuple[int, int, float]], list[tuple[int, int, float]]]:
    """The most similar pairs of strangers, and the least similar pairs of photos of one person.

    Each pair of people, and each person, appears once.

    Returns:
        For each pair the places of its two photos in the sample, and their cosine.
    """

    def first(places: NDArray[np.intp], scores: NDArray[np.float64]) -> list[Any]:
        pairs_by_people: dict[tuple[int, int], tuple[int, int, float]] = {}
        for n in np.argsort(scores, kind="stable"):
            if np.isfinite(scores[n]):
                a, b = places[n].tolist()
                people = (int(sample.person[a]), int(sample.person[b]))
                pairs_by_people.setdefault(people, (a, b, float(scores[n])))
            if len(pairs_by_people) == count:
                break
        return list(pairs_by_people.values())

    strangers = first(pairs.impostor, -pairs.impostor_scores)
    own = first(pairs.genuine, pairs.genuine_scores)
    return [(a, b, -score) for a, b, score in strangers], own
