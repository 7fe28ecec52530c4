"""Evaluation: photos of people -> a `Report` of error rates, and the curves behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.bands import Band, bands_of
from serving.evaluation.data_faults import DataFaults, data_faults
from serving.evaluation.distractors import Distractors
from serving.evaluation.estimates import draws_of
from serving.evaluation.extremes import Growth, growth, strangers_of
from serving.evaluation.failures import Failures, failures_of
from serving.evaluation.groups import Differential, Groups, differential, labels_of
from serving.evaluation.identification import (
    RANKS,
    Ambiguity,
    Identification,
    Reliability,
    answers_to,
    confidence_of,
    identify,
)
from serving.evaluation.lookups import trials
from serving.evaluation.metrics import Roc
from serving.evaluation.operating_points import OperatingPoint, operating_points
from serving.evaluation.sample import NotMeasurable, Sample
from serving.evaluation.verification import Pairs, Verification, pairs_of, verify
from serving.matching.ambiguity import margin_of
from serving.matching.threshold import threshold_of
from serving.model.card import ModelCard
from serving.settings import MatchSettings

# Progress steps of `evaluate`: the pairs, each number of enrolled photos, and larger galleries.
STEPS = 5
# The form of the JSON. A field that is new raises the second number, one that changes its meaning
# or goes the first.
SCHEMA = "faces-evaluation/1.0"


@dataclass(frozen=True)
class Asked:
    """Random divisions of the people, replicates of the bootstrap, and the random seed.

    ``fpir`` is the wanted one; None: that of the settings."""

    splits: int = 50
    replicates: int = 500
    seed: int = 0
    fpir: float | None = None


@dataclass(frozen=True)
class Report:
    """Aggregates only: no value describes a single photo or person.

    Attributes:
        at_threshold: the photos enrolled in the trial that groups, bands and operating points are
            about.
        ambiguous_named: whether an ambiguous face has the name of the nearest.
        files: sentences about single files, where they were asked for.
    """

    schema: str
    model: str
    photos: int
    people: int
    people_with_two: int
    without_embedding: int  # files that are no photo or show no face
    distractors: int
    asked: Asked
    fpir: float
    ambiguous_named: bool
    at_threshold: str | None
    failures: Failures
    faults: DataFaults
    verification: Verification
    identification: list[Identification]
    operating_points: list[OperatingPoint]
    groups: list[Differential]
    bands: list[Band]
    growth: Growth
    confidence: Reliability
    files: list[str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data; rates are keys written as decimal fractions."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {f"{k:g}" if isinstance(k, float) else k: plain(v) for k, v in value.items()}
            return [plain(v) for v in value] if isinstance(value, list | tuple) else value

        data: dict[str, Any] = plain(asdict(self))
        del data["faults"]["details"]  # they name files
        return data


@dataclass(frozen=True)
class Curves:
    """The curves to draw, and the pairs of photos behind them."""

    pairs: Pairs
    verification: Roc
    identification: dict[str, Roc]  # DIR over FPIR, by the photos enrolled
    ranks: dict[str, NDArray[np.float64]]  # CMC: the share found within ranks 1, 2, …


def evaluate(
    sample: Sample,
    card: ModelCard,
    matching: MatchSettings,
    distractors: Distractors,
    asked: Asked,
    advance: Callable[[], None] = lambda: None,
    groups: Groups | None = None,
) -> tuple[Report, Curves]:
    """Measure everything; ``advance`` is called after each of `STEPS` steps.

    Args:
        groups: of the people, to compare.

    Raises:
        NotMeasurable: too few people.
    """
    counts = np.bincount(sample.person, minlength=len(sample.ids))
    if len(sample.ids) < 2 or counts.max() < 2:
        raise NotMeasurable("Two people are the least, and somebody with two photos.")
    if not sample.usable.any():
        raise NotMeasurable("No photo shows a face.")
    if not sample.answerable.any():
        raise NotMeasurable("All faces are too poor to say who they are.")
    rng = np.random.default_rng(asked.seed)
    draws = draws_of(len(sample.ids), asked.replicates, rng)
    pairs = pairs_of(sample, rng)
    verification, roc = verify(sample, pairs, card, draws, rng)
    advance()

    def threshold(people: int) -> float:
        return threshold_of(None, matching, card, people)

    fpir = asked.fpir or matching.fpir
    ambiguity = Ambiguity(margin_of(matching, card), card.even, matching.ambiguous == "nearest")
    lookups = trials(sample, distractors.centroids, asked.splits, rng)
    measured, genuine = [], {}
    curves = {}
    ranks = {}
    for trial in lookups:
        identification, curve = identify(trial, threshold, draws, ambiguity, sample)
        measured.append(identification)
        curves[identification.enrolled] = curve
        ranks[identification.enrolled] = cmc(trial.known.rank, identification.gallery)
        genuine[identification.enrolled] = trial.known.mate
        advance()
    # With all but one photo enrolled: the most lookups, and records as they are after an enrolment.
    last, at = lookups[-1], measured[-1]
    known, unknown = (
        answers_to(of, threshold, ambiguity, sample) for of in (last.known, last.unknown)
    )
    by = groups or Groups({})
    labels = {attribute: labels_of(by, attribute, sample) for attribute in by.by}
    model = None if card.impostors is None else card.impostors.threshold
    larger = growth(
        strangers_of(sample, distractors.centroids, rng), genuine, threshold, model, fpir, rng
    )
    advance()
    report = Report(
        schema=SCHEMA,
        model=card.id,
        photos=len(sample.photos),
        people=len(sample.ids),
        people_with_two=int((counts > 1).sum()),
        without_embedding=int((~sample.usable).sum()),
        distractors=len(distractors.centroids),
        asked=asked,
        fpir=fpir,
        ambiguous_named=ambiguity.named,
        at_threshold=at.enrolled,
        failures=failures_of(sample),
        faults=data_faults(sample, pairs, len(by.unknown)),
        verification=verification,
        identification=measured,
        operating_points=operating_points(last, at.gallery, fpir, labels, card.impostors),
        groups=[
            differential(attribute, of, sample, last, known, unknown)
            for attribute, of in labels.items()
        ],
        bands=bands_of(sample, last, known, unknown),
        growth=larger,
        confidence=confidence_of(lookups, card.confidence, draws),
    )
    return report, Curves(pairs, roc, curves, ranks)


def cmc(rank: NDArray[np.int64], gallery: int, most: int = RANKS[-1]) -> NDArray[np.float64]:
    """The share of lookups whose person is within rank 1, 2, … of the candidates."""
    found = np.bincount(rank[(rank > 0) & (rank <= most)], minlength=most + 1)[1:]
    shares: NDArray[np.float64] = np.cumsum(found) / max(len(rank), 1)
    return shares[: max(1, gallery)]


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
