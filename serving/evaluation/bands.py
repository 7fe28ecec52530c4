"""Error rates by the quality of the photo that is looked up, as the service measures it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.evaluation.identification import Told
from serving.evaluation.lookups import Trial
from serving.evaluation.proportions import Rate, rate_of
from serving.evaluation.sample import Sample

MEASURES = ("side", "sharpness", "evenness", "tones", "turn", "eyes")
_BANDS = 3
FEWEST = 30  # photos with a face


@dataclass(frozen=True)
class Band:
    """Photos whose ``measure`` is at least ``low``, and below ``high`` (None: any)."""

    measure: str
    low: float
    high: float | None
    photos: int
    fnir: Rate
    fpir: Rate


def bands_of(sample: Sample, trial: Trial, known: Told, unknown: Told) -> list[Band]:
    """Three bands of each measure, with as many photos in each; none where photos are few.

    Photos without a face have no quality, and are in none.
    """
    measured = np.array([q is not None for q in sample.quality], bool)
    if measured.sum() < FEWEST:
        return []
    bands = []
    for measure in MEASURES:
        values = np.array(
            [np.nan if q is None else getattr(q, measure) for q in sample.quality], np.float64
        )
        inside = values[measured]
        edges = np.unique(np.quantile(inside, np.arange(_BANDS) / _BANDS, method="lower"))
        for low, high in zip(edges, [*edges[1:], None], strict=True):
            here = (values >= low) & (values < (np.inf if high is None else high))
            if high is None:
                here |= np.isposinf(values)
            mine, strange = here[trial.known.photo], here[trial.unknown.photo]
            bands.append(
                Band(
                    measure=measure,
                    low=float(low),
                    high=None if high is None else float(high),
                    photos=int(here.sum()),
                    fnir=rate_of(
                        ~known.right[mine], trial.known.person[mine], trial.known.photo[mine]
                    ),
                    fpir=rate_of(
                        unknown.reached[strange],
                        trial.unknown.person[strange],
                        trial.unknown.photo[strange],
                    ),
                )
            )
    return bands
