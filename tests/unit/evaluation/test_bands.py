"""Error rates by quality of the photo that is looked up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.bands import MEASURES, Band, bands_of
from serving.evaluation.identification import answers_to
from serving.evaluation.lookups import Lookups, Trial
from serving.evaluation.metrics import Floats
from serving.evaluation.sample import Sample
from serving.vision.records import Quality
from tests.support.samples import crowd

SHARP = Quality(side=100, sharpness=0.1, evenness=1, tones=5, turn=0.1, eyes=0.4)


def measured(sample: Sample, right: NDArray[np.bool_], best: Floats) -> list[Band]:
    n = len(right)
    photo = np.arange(n)
    none = np.full(n, -np.inf)
    known = Lookups(sample.person, photo, best, right, np.full(n, 5), none, none, right.astype(int))
    unknown = replace(known, right=np.zeros(n, bool))
    told = [answers_to(x, lambda people: 0.5, None, sample) for x in (known, unknown)]
    return bands_of(sample, Trial(1, known, unknown), *told)


def test_small_faces_are_worse() -> None:
    whole = crowd(10, 6)
    sides = np.arange(60)
    quality = [replace(SHARP, side=float(s)) for s in sides]
    sample = replace(whole, quality=quality)
    # The smallest 20 have no name, known or not, and all others have one.
    right = sides >= 20
    best = np.where(right, 0.9, 0.1)
    bands = [b for b in measured(sample, right, best) if b.measure == "side"]
    assert [(b.low, b.high, b.photos) for b in bands] == [(0, 19, 19), (19, 39, 20), (39, None, 21)]
    assert [b.fnir.errors for b in bands] == [19, 1, 0]
    assert [b.fnir.lookups for b in bands] == [19, 20, 21]
    assert [b.fpir.errors for b in bands] == [0, 19, 21]


def test_every_photo_is_in_one_band_of_each_measure() -> None:
    quality = [replace(SHARP, turn=np.inf if n < 3 else n / 60) for n in range(60)]
    found = measured(replace(crowd(10, 6), quality=quality), np.ones(60, bool), np.full(60, 0.9))
    for measure in MEASURES:
        assert sum(b.photos for b in found if b.measure == measure) == 60
    # One value for all is one band.
    assert len([b for b in found if b.measure == "side"]) == 1


def test_few_photos_have_no_bands() -> None:
    sample = replace(crowd(10, 2), quality=[SHARP] * 20)
    assert measured(sample, np.ones(20, bool), np.full(20, 0.9)) == []
    assert measured(crowd(10, 6), np.ones(60, bool), np.full(60, 0.9)) == []


def test_photos_without_a_face_are_in_none() -> None:
    sample = replace(crowd(10, 6), quality=[None] * 10 + [SHARP] * 50)
    found = measured(sample, np.ones(60, bool), np.full(60, 0.9))
    assert all(band.photos == 50 for band in found)
