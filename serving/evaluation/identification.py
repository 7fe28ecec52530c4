"""Open-set identification (1:N): some people are enrolled, photos of all people are looked up.

The people are divided repeatedly into known and unknown. Known people are enrolled with some of
their photos, and their other photos are looked up, as is every photo of the unknown people. As in
the service, the gallery holds one centroid per person; distractors are added to it if given.

- identification rate at a threshold: of the lookups of known people, the share whose best candidate
  is the person and reaches the threshold (true-positive identification rate).
- FPIR (false-positive identification rate): of the lookups of unknown people, the share for whom
  somebody reaches the threshold, also where the answer is ambiguous.
- FNIR (false-negative identification rate): of the lookups of known people, the share that does not
  get the right name: 1 - identification rate.
- DIR at an FPIR: the identification rate at the threshold with that FPIR on these people.
- rank-1: of the lookups of known people, the share whose best candidate is the person. CMC: the
  same for the best k.

At the threshold in use answers are counted as the service gives them: an ambiguous one has no name
(or that of the nearest, where the settings say so). The curves, and the rates at a wanted FPIR, are
by the best candidate alone. A photo without a face, or with one that is too poor to say, is a
lookup without a candidate; what the gates of enrolment refuse adds nothing to a record. The terms
are those of ISO/IEC 19795-1 and NIST's FRTE 1:N.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.estimates import Estimate, at_rate, estimate, estimates, shown_from
from serving.evaluation.lookups import ALL_BUT_ONE, Lookups, Trial, joined
from serving.evaluation.metrics import (
    Bin,
    Floats,
    Roc,
    Scores,
    calibration_error,
    reliability,
    share,
)
from serving.evaluation.proportions import Rate, rate_of
from serving.evaluation.sample import Sample
from serving.matching.ambiguity import COMPARED

FPIRS = (0.1, 0.01, 0.003, 0.001)
RANKS = (1, 2, 3, 5, 10, 20)

Draws = NDArray[np.int64]
Threshold = Callable[[int], float]  # of the gallery's size
ConfidenceOf = Callable[[float, int], float]  # of a cosine, and the gallery's size
EvenOf = Callable[[int], float]  # the cosine of an even chance, for the gallery's size


@dataclass(frozen=True)
class Ambiguity:
    """When an answer is ambiguous, as `serving.matching.ambiguity` has it.

    Attributes:
        margin: None: no answer is.
        even: `ModelCard.even`.
        named: whether an ambiguous face has the name of the nearest.
    """

    margin: float | None
    even: EvenOf
    named: bool = False

    def least(self, lookups: Lookups, thresholds: Floats) -> Floats:
        """The cosine from which on a second candidate makes each answer ambiguous; inf: none."""
        if self.margin is None:
            return np.full(len(lookups), np.inf)
        evens = each(self.even, lookups.people)
        least = np.maximum(lookups.best - self.margin, np.minimum(thresholds, evens))
        return np.where(lookups.best >= thresholds, least, np.inf)


@dataclass(frozen=True)
class Answers:
    """What was answered to lookups, by count; the kinds add up to ``lookups``.

    Attributes:
        right, wrong: names.
        ambiguous_with, ambiguous_without: without a name, as two or more are nearly as likely; the
            person is among them, or not.
        none: nobody reaches the threshold.
        too_poor, failed: no candidate, as the face is too poor to say, or none was found.
    """

    lookups: int
    right: int
    wrong: int
    ambiguous_with: int
    ambiguous_without: int
    none: int
    too_poor: int
    failed: int


@dataclass(frozen=True)
class Identification:
    """The error rates of one `Trial`; see `identify`."""

    enrolled: str
    gallery: int  # people, on average, distractors included
    known_people: int
    known_lookups: int  # of all splits
    unknown_photos: int  # different ones
    rank1: Estimate
    dir_at_fpir: dict[float, Estimate]
    threshold: float  # the current one, in a gallery of that size
    fpir: Rate
    identification_rate: Rate
    fnir: Rate
    fnir_at_fpir: dict[float, Estimate]
    cmc: dict[int, float]  # by rank
    shown_from: float  # the lowest FPIR that so many photos of unknown people can show
    shown_from_people: float  # the same if photos of one person are no better than one
    of_known: Answers
    of_unknown: Answers
    ambiguous: int  # answers, whether they have a name or not


@dataclass(frozen=True)
class Reliability:
    """The calibration of the best candidate's confidence, if half of the lookups are of known
    people."""

    lookups: int
    calibration_error: Estimate
    reliability: list[Bin]


def identify(
    trial: Trial,
    threshold: Threshold,
    draws: Draws,
    ambiguity: Ambiguity | None = None,
    sample: Sample | None = None,
) -> tuple[Identification, Roc]:
    """Measure the error rates with intervals, and the curve of DIR over FPIR.

    The galleries are the same in every replicate; drawn is whose lookups count.

    Args:
        ambiguity: None: no answer is ambiguous.
        sample: to tell photos that are too poor from those without a face; None: all without a
            candidate are the latter.
    """
    known, unknown = trial.known, trial.unknown
    hits = np.where(known.right, known.best, -np.inf)
    scores = Scores(hits, unknown.best)
    of_known = answers_to(known, threshold, ambiguity, sample)
    of_unknown = answers_to(unknown, threshold, ambiguity, sample)

    def rates(drawn: Draws) -> Iterator[float]:
        genuine, impostor = drawn[known.person], drawn[unknown.person]
        if not genuine.sum() or not impostor.sum():
            return iter([math.nan] * (1 + len(FPIRS)))
        roc = scores.roc(genuine, impostor)
        return iter([share(known.right, genuine), *(roc.tar_at(fpir) for fpir in FPIRS)])

    people = len(np.unique(known.person))
    count = 1 + len(FPIRS)
    rank1, *at = estimates(rates, draws, [None] * count, [people] * count)
    photos, strangers = len(np.unique(unknown.photo)), len(np.unique(unknown.person))
    dir_at = {limit: at_rate(each, limit, photos) for limit, each in zip(FPIRS, at, strict=True)}
    gallery = round(float(known.people.mean()))
    measured = Identification(
        enrolled="all but one" if trial.enrolled == ALL_BUT_ONE else str(trial.enrolled),
        gallery=gallery,
        known_people=people,
        known_lookups=len(known),
        unknown_photos=photos,
        rank1=rank1,
        dir_at_fpir=dir_at,
        threshold=threshold(gallery),
        fpir=rate_of(of_unknown.reached, unknown.person, unknown.photo),
        identification_rate=rate_of(of_known.right, known.person, known.photo),
        fnir=rate_of(~of_known.right, known.person, known.photo),
        fnir_at_fpir={limit: _complement(each) for limit, each in dir_at.items()},
        cmc={
            rank: float(((known.rank > 0) & (known.rank <= rank)).mean())
            for rank in RANKS
            if rank <= max(gallery, 1)
        },
        shown_from=shown_from(photos),
        shown_from_people=shown_from(strangers),
        of_known=of_known.counts(),
        of_unknown=of_unknown.counts(),
        ambiguous=int(of_known.ambiguous.sum() + of_unknown.ambiguous.sum()),
    )
    return measured, scores.roc()


@dataclass(frozen=True)
class Told:
    """The answers to lookups, each (L,) bool.

    Attributes:
        reached: somebody reaches the threshold.
        ambiguous: two or more are nearly as likely; ``among``: the person is one of them.
        named, right: there is a name; it is the person's.
        too_poor, failed: the face is too poor to say; there is none.
    """

    reached: NDArray[np.bool_]
    ambiguous: NDArray[np.bool_]
    right: NDArray[np.bool_]
    named: NDArray[np.bool_]
    among: NDArray[np.bool_]
    too_poor: NDArray[np.bool_]
    failed: NDArray[np.bool_]

    def counts(self) -> Answers:
        unnamed = self.ambiguous & ~self.named
        return Answers(
            lookups=len(self.reached),
            right=int(self.right.sum()),
            wrong=int((self.named & ~self.right).sum()),
            ambiguous_with=int((unnamed & self.among).sum()),
            ambiguous_without=int((unnamed & ~self.among).sum()),
            none=int((~self.reached & ~self.too_poor & ~self.failed).sum()),
            too_poor=int(self.too_poor.sum()),
            failed=int(self.failed.sum()),
        )


def answers_to(
    lookups: Lookups,
    threshold: Threshold,
    ambiguity: Ambiguity | None = None,
    sample: Sample | None = None,
) -> Told:
    """Answer lookups (L,); see `identify`."""
    rule = ambiguity or Ambiguity(None, lambda people: 0.0)
    thresholds = each(threshold, lookups.people)
    # A photo without a candidate has no name, however low the threshold is.
    reached = (lookups.best >= thresholds) & np.isfinite(lookups.best)
    least = rule.least(lookups, thresholds)
    ambiguous = reached & (lookups.second >= least)
    named = reached & (~ambiguous | rule.named)
    if sample is None:
        failed, too_poor = np.isneginf(lookups.best), np.zeros(len(lookups), bool)
    else:
        failed = ~sample.usable[lookups.photo]
        too_poor = ~failed & ~sample.answerable[lookups.photo]
    return Told(
        reached=reached,
        ambiguous=ambiguous,
        right=named & lookups.right,
        named=named,
        among=ambiguous & (lookups.mate >= least) & (lookups.rank <= COMPARED),
        too_poor=too_poor,
        failed=failed,
    )


def confidence_of(tried: list[Trial], confidence: ConfidenceOf, draws: Draws) -> Reliability:
    """The calibration of the confidence, over lookups with one or all but one photo enrolled."""
    some = [t for t in tried if t.enrolled in (1, ALL_BUT_ONE)]
    parts = [lookups for t in some for lookups in (t.known, t.unknown)]
    every = joined(parts)
    known = np.concatenate([np.full(len(p), n % 2 == 0) for n, p in enumerate(parts)])
    seen = np.isfinite(every.best)
    sure = np.array(
        [
            confidence(c, n)
            for c, n in zip(every.best[seen].tolist(), every.people[seen].tolist(), strict=True)
        ]
    )

    def bins(drawn: Draws) -> list[Bin]:
        weights = drawn[every.person].astype(np.float64)
        for half in (known, ~known):
            weights[half] /= max(weights[half].sum(), 1)
        return reliability(sure, every.right[seen], weights[seen])

    return Reliability(
        lookups=int(seen.sum()),
        calibration_error=estimate(lambda drawn: calibration_error(bins(drawn)), draws),
        reliability=bins(np.ones(draws.shape[1], np.int64)),
    )


def _complement(dir_at: Estimate) -> Estimate:
    if dir_at.value is None or dir_at.low is None or dir_at.high is None:
        return dir_at
    return Estimate(1 - dir_at.value, 1 - dir_at.high, 1 - dir_at.low, dir_at.note)


def each(threshold: Threshold, people: NDArray[np.int64]) -> Floats:
    """The threshold of each gallery's size, (L,)."""
    sizes, place = np.unique(people, return_inverse=True)
    thresholds: Floats = np.array([threshold(int(size)) for size in sizes], np.float64)[place]
    return thresholds
