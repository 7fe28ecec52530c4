"""Photos that are not processed: failure to acquire, and failure to enrol (ISO/IEC 19795-1).

They stay in every denominator: an error rate that leaves them out describes another, easier job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.evaluation.proportions import Rate, rate_of
from serving.evaluation.sample import Sample

_UNREAD = "not-processed"


@dataclass(frozen=True)
class Failures:
    """Photos that are not answered and not enrolled.

    Attributes:
        to_acquire: photos that look-up has no answer for: without a face, unreadable, or too poor
            to say (FTA).
        to_acquire_by: their number by the first reason.
        refused: photos that an enrolment does not take, its own gates included.
        refused_by: their number by the first reason.
        to_enrol: people of whom it takes no photo (FTE).
    """

    to_acquire: Rate
    to_acquire_by: dict[str, int]
    refused: Rate
    refused_by: dict[str, int]
    to_enrol: Rate


def failures_of(sample: Sample) -> Failures:
    photos = np.arange(len(sample.photos))
    people = np.arange(len(sample.ids))
    enrolled = np.bincount(sample.person, sample.enrollable, minlength=len(people)) > 0
    return Failures(
        to_acquire=rate_of(~sample.answerable, sample.person, photos),
        to_acquire_by=_by(sample, sample.poor),
        refused=rate_of(~sample.enrollable, sample.person, photos),
        refused_by=_by(sample, sample.refused),
        to_enrol=rate_of(~enrolled, people),
    )


def _by(sample: Sample, gates: Sequence[str | None]) -> dict[str, int]:
    reasons = sample.reasons or [None if p is None else _UNREAD for p in sample.problems]
    first = [r or g for r, g in zip(reasons, gates or [None] * len(reasons), strict=True)]
    return dict(sorted(Counter(reason for reason in first if reason is not None).items()))
