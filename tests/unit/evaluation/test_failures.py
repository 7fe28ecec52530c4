"""Photos that are not processed: counted, by reason, and never left out."""

from __future__ import annotations

from dataclasses import replace

from serving.evaluation.failures import failures_of
from tests.support.samples import crowd, sample_of


def test_failures_by_reason() -> None:
    whole = crowd(3, 4)
    sample = replace(
        sample_of(whole.vectors, whole.person.tolist(), missing=[0, 1, 4]),
        reasons=["no-face", "unsupported-image", None, None, "no-face", *[None] * 7],
        poor=[None, None, "too-blurred", *[None] * 9],
        refused=[None, None, "too-blurred", "too-turned", None, None, "too-turned", *[None] * 5],
    )
    found = failures_of(sample)
    assert (found.to_acquire.errors, found.to_acquire.lookups) == (4, 12)
    assert found.to_acquire_by == {"no-face": 2, "too-blurred": 1, "unsupported-image": 1}
    assert found.refused.errors == 6
    assert found.refused_by == {
        "no-face": 2, "too-blurred": 1, "too-turned": 2, "unsupported-image": 1,
    }  # fmt: skip
    # Nothing of the first person can be enrolled.
    assert (found.to_enrol.errors, found.to_enrol.lookups) == (1, 3)


def test_nothing_fails() -> None:
    found = failures_of(crowd(3, 4))
    assert found.to_acquire.value == found.refused.value == found.to_enrol.value == 0
    assert found.to_acquire.high is not None
    assert found.to_acquire.high > 0.5  # three people show little
    assert found.to_acquire_by == {}


def test_a_sample_without_reasons() -> None:
    sample = sample_of(crowd(2, 2).vectors, [0, 0, 1, 1], missing=[1])
    assert failures_of(sample).to_acquire_by == {"not-processed": 1}
