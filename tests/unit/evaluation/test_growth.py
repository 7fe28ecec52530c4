"""The promise of `fpir`, kept by the default settings while the gallery grows: with the synthetic
gallery of this repository. `make bench-fpir` measures it up to a million people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from serving.evaluation.comparisons import compare
from serving.evaluation.sample import Sample, read_card
from serving.evaluation.tail import fit
from serving.gallery.segment import normalised
from serving.matching.threshold import threshold_of
from serving.settings import MatchSettings
from tests.support.stages import CARD

GALLERY = Path(__file__).resolve().parents[3] / "data/gallery/synthetic-1000.safetensors"
SIZES = (10, 30, 100, 300, 700)
FPIR = 0.05  # of 200 people who are looked up, ten

Rows = NDArray[np.float32]


@pytest.fixture(scope="module")
def synthetic() -> tuple[NDArray[np.intp], Rows]:
    """Whose embedding each is, as a number from 0, and the embeddings."""
    found = load_file(GALLERY)
    person = np.arange(len(found["ids"])).repeat(found["counts"])
    return person, normalised(found["embeddings"])


def centroids(person: NDArray[np.intp], rows: Rows, people: NDArray[np.intp]) -> Rows:
    sums = np.array([rows[person == p].sum(axis=0) for p in people])
    return normalised(sums)


@pytest.mark.parametrize("seed", range(3))
def test_strangers_are_named_no_more_often_in_a_larger_gallery(
    synthetic: tuple[NDArray[np.intp], Rows], seed: int
) -> None:
    """Calibrated on 100 people; 200 others are looked up among up to 700 yet others."""
    person, rows = synthetic
    rng = np.random.default_rng(seed)
    seen, strangers, enrolled = np.split(rng.permutation(1000), [100, 300])
    keep = np.flatnonzero(np.isin(person, seen))
    ids, own = np.unique(person[keep], return_inverse=True)
    nothing: list[str | None] = [None] * len(keep)
    sample = Sample(ids, own, [Path()] * len(keep), rows[keep], nothing)
    comparisons = compare(sample, rng).strangers
    impostors = fit(comparisons, len(ids), (1000, FPIR), "a test", rng).expected
    card = CARD.model_copy(update={"impostors": impostors})

    probes = rows[np.isin(person, strangers)]
    cosines = probes @ centroids(person, rows, enrolled).T
    auto, fixed = {}, {}
    for size in SIZES:
        best = cosines[:, :size].max(axis=1)
        auto[size] = (best >= threshold_of(None, MatchSettings(fpir=FPIR), card, size)).mean()
        fixed[size] = (best >= impostors.threshold(SIZES[0], FPIR)).mean()
    assert max(auto.values()) < 2 * FPIR
    assert min(auto.values()) > FPIR / 10  # nor is it kept by naming nobody
    assert fixed[700] > 5 * FPIR  # what a threshold that does not follow would do


@pytest.mark.parametrize("people", [100, 10_000, 1_000_000])
def test_the_confidence_at_the_threshold_is_the_same_in_every_gallery(people: int) -> None:
    card = read_card(GALLERY.parents[2] / "triton/models/facenet-casia-webface/model.json")
    at = threshold_of(None, MatchSettings(), card, people)
    assert card.confidence(at, people) == pytest.approx(card.confidence(card.threshold), abs=0.01)
