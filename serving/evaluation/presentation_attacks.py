"""Error rates of presentation attack detection, in the terms of ISO/IEC 30107-3.

A presentation is one photo: bona fide, or an attack of one species (prints, screens, masks).

- APCER: of the attacks of a species, the share that is classified as bona fide. The highest of all
  species counts; a mean would hide the attack that works.
- BPCER: of the bona fide presentations, the share that is classified as an attack.
- APNRR, BPNRR: the share without a response, which is here a photo in which no face was found.

Presentations without a response are in no denominator of APCER and BPCER: nothing classified them.

Intervals are those of `serving.evaluation.proportions`, with sources (a person, one print) as the
clusters, since the photos of one source are alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.estimates import Estimate, clopper_pearson
from serving.evaluation.proportions import rate_of

SCHEMA = "faces-presentation-attacks/1.0"
# The APCER of BPCER100, BPCER20, BPCER10 and BPCER5.
LIMITS = {"BPCER100": 0.01, "BPCER20": 0.05, "BPCER10": 0.1, "BPCER5": 0.2}
# The service rounds scores to four digits. Halfway between two of them a threshold divides the
# scores as they were before.
_HALF_STEP = 0.00005


@dataclass(frozen=True)
class Presentation:
    """The answer to one photo.

    Attributes:
        source: the number of the person or instrument; each species has numbers of its own.
        live: it is classified as bona fide; None: there was no response.
        score: the probability of live, 0 to 1; None: no response, or it is not to be known.
    """

    source: int
    live: bool | None
    score: float | None = None


@dataclass(frozen=True)
class Proportion(Estimate):
    """A share of presentations and its 95% interval.

    Attributes:
        errors, presentations, sources: the counts behind it.
        shown_from: the upper end of the interval, had there been no error: so few sources can show
            no lower rate. None: there are no sources.
    """

    errors: int = 0
    presentations: int = 0
    sources: int = 0
    shown_from: float | None = None


@dataclass(frozen=True)
class Attacks:
    apcer: Proportion
    apnrr: Proportion


@dataclass(frozen=True)
class BonaFide:
    bpcer: Proportion
    bpnrr: Proportion


@dataclass(frozen=True)
class OperatingPoint:
    """BPCER at the lowest threshold at which the highest APCER is within a limit.

    Attributes:
        name: such as BPCER20.
        apcer_at_most: the limit.
        threshold: from which on a score counts as live; None: there is none up to 1, as too many
            attacks have a score of 1. All that follows is None then.
        species: whose APCER is the highest there.
        apcer, bpcer: there.
        apcer_upper_bound: the highest upper end of the intervals of all species. Above the limit,
            these photos do not show that the limit is kept.
    """

    name: str
    apcer_at_most: float
    threshold: float | None = None
    species: str | None = None
    apcer: Proportion | None = None
    apcer_upper_bound: float | None = None
    bpcer: Proportion | None = None


@dataclass(frozen=True)
class PadReport:
    """The error rates at one threshold, and BPCER at others.

    Attributes:
        threshold: None: that of the service, which its answers do not have.
        species: of each attack instrument species by its name.
        attacks: all of them together.
        bona_fide: of the people who were there.
        worst_species: the one with the highest APCER; None: no attack had a response.
        operating_points: None: the scores are not known.
    """

    threshold: float | None
    species: dict[str, Attacks]
    attacks: Attacks
    bona_fide: BonaFide
    worst_species: str | None
    operating_points: list[OperatingPoint] | None

    def to_json(self) -> dict[str, Any]:
        """Plain data. It holds no names but those of the species."""
        return {"schema": SCHEMA, **asdict(self)}


def measure(
    bona_fide: Sequence[Presentation],
    attacks: Mapping[str, Sequence[Presentation]],
    threshold: float | None = None,
) -> PadReport:
    """The error rates of a test.

    Args:
        attacks: of each species by its name.
        threshold: classify by the scores, which all responses then need, instead of ``live``.
    """
    real = _Trials.of(bona_fide)
    by_species = {name: _Trials.of(own) for name, own in attacks.items()}
    scored = all(trials.scored for trials in (real, *by_species.values()))
    if threshold is not None and not scored:
        raise ValueError("A threshold needs the scores.")
    species = {
        name: Attacks(trials.accepted(threshold), trials.unanswered())
        for name, trials in by_species.items()
    }
    together = _together(attacks)
    return PadReport(
        threshold,
        species,
        Attacks(together.accepted(threshold), together.unanswered()),
        BonaFide(real.rejected(threshold), real.unanswered()),
        _worst({name: rates.apcer for name, rates in species.items()}),
        _operating_points(real, by_species) if scored else None,
    )


@dataclass(frozen=True)
class _Trials:
    """Presentations as columns (N,); ``score`` is NaN where there is none."""

    source: NDArray[np.intp]
    responded: NDArray[np.bool_]
    live: NDArray[np.bool_]
    score: NDArray[np.float64]

    @classmethod
    def of(cls, presentations: Sequence[Presentation]) -> _Trials:
        return cls(
            np.array([p.source for p in presentations], np.intp),
            np.array([p.live is not None for p in presentations], bool),
            np.array([bool(p.live) for p in presentations], bool),
            np.array([np.nan if p.score is None else p.score for p in presentations], float),
        )

    @property
    def scored(self) -> bool:
        return not np.isnan(self.score[self.responded]).any()

    @property
    def scores(self) -> NDArray[np.float64]:
        """Those of the responses."""
        return self.score[self.responded]

    def accepted(self, threshold: float | None) -> Proportion:
        return self._of_responses(self._is_live(threshold))

    def rejected(self, threshold: float | None) -> Proportion:
        return self._of_responses(~self._is_live(threshold))

    def unanswered(self) -> Proportion:
        return _proportion(~self.responded, self.source, "no presentation")

    def _is_live(self, threshold: float | None) -> NDArray[np.bool_]:
        return self.live if threshold is None else self.score >= threshold

    def _of_responses(self, errors: NDArray[np.bool_]) -> Proportion:
        return _proportion(errors[self.responded], self.source[self.responded], "no response")


def _together(attacks: Mapping[str, Sequence[Presentation]]) -> _Trials:
    """All species as one; no two of them share a source."""
    kinds = [(kind, p) for kind, own in attacks.items() for p in own]
    numbers = {key: n for n, key in enumerate(dict.fromkeys((kind, p.source) for kind, p in kinds))}
    return _Trials.of([replace(p, source=numbers[kind, p.source]) for kind, p in kinds])


def _proportion(errors: NDArray[np.bool_], source: NDArray[np.intp], none: str) -> Proportion:
    """The share of ``errors``; ``none`` is the note where there are no presentations."""
    if not len(errors):
        return Proportion(None, note=none)
    rate = rate_of(errors, source)
    return Proportion(
        rate.value,
        rate.low,
        rate.high,
        errors=rate.errors,
        presentations=rate.lookups,
        sources=rate.people,
        shown_from=clopper_pearson(0, rate.people)[1],
    )


def _worst(apcers: Mapping[str, Proportion]) -> str | None:
    """The species with the highest APCER; of several, the one of which least is known."""
    measured = {
        name: (rate.value, rate.high or 0.0)
        for name, rate in apcers.items()
        if rate.value is not None
    }
    return max(sorted(measured), key=lambda name: measured[name], default=None)


def _operating_points(real: _Trials, by_species: Mapping[str, _Trials]) -> list[OperatingPoint]:
    answered = {name: trials for name, trials in by_species.items() if len(trials.scores)}
    if not answered:
        return []
    scores = np.unique(np.concatenate([trials.scores for trials in answered.values()]))
    # Just above a score of an attack: lower ones up to the next such score accept the same attacks.
    thresholds = np.round(scores + _HALF_STEP, 5)
    highest = np.max(
        [
            1 - np.searchsorted(np.sort(trials.scores), thresholds) / len(trials.scores)
            for trials in answered.values()
        ],
        axis=0,
    )
    points = []
    for name, limit in LIMITS.items():
        # It falls to 0 at the last threshold.
        threshold = float(thresholds[np.argmax(highest <= limit + 1e-9)])
        if threshold > 1:
            points.append(OperatingPoint(name, limit))
            continue
        apcers = {kind: trials.accepted(threshold) for kind, trials in answered.items()}
        worst = _worst(apcers)
        points.append(
            OperatingPoint(
                name,
                limit,
                threshold,
                worst,
                None if worst is None else apcers[worst],
                max(rate.high or 0.0 for rate in apcers.values()),
                real.rejected(threshold),
            )
        )
    return points
