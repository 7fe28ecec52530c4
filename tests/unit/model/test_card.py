"""The model's card: its id, its confidence, and its way through JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.model.card import Calibration, Margin, ModelCard, Verification, model_id
from serving.model.impostors import Impostors

PREPROCESSING: dict[str, Any] = {"size": 160, "margin": 14}
TENSORS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b.bias": np.array([0.5, -1.0], np.float32),
}


def card(**changes: Any) -> ModelCard:
    values: dict[str, Any] = {
        "name": "facenet-x",
        "id": "facenet-x@0123456789ab",
        "source": 'somebody\'s "weights" · ü',
        "licence": "MIT",
        "dimension": 512,
        "preprocessing": PREPROCESSING,
        "threshold": 0.6,
        "calibration": Calibration(slope=20.0, intercept=-11.0, measured_on="nothing"),
    }
    return ModelCard(**(values | changes))


class TestCard:
    @pytest.mark.parametrize("indent", [None, 2])
    def test_through_json_and_back(self, indent: int | None) -> None:
        assert ModelCard.from_json(card().to_json(indent)) == card()

    @pytest.mark.parametrize("text", ["", "{}", "null", "[]", "no json", '{"name": "x"}'])
    def test_no_card(self, text: str) -> None:
        with pytest.raises(ValueError, match="ModelCard"):
            ModelCard.from_json(text)

    def test_unknown_keys_are_refused(self) -> None:
        values = json.loads(card().to_json()) | {"extra": 1}
        with pytest.raises(ValueError, match="extra"):
            ModelCard.from_json(json.dumps(values))

    @pytest.mark.parametrize(
        "changes",
        [
            {"id": None},
            {"id": "facenet-x"},
            {"id": "facenet-x@0123456789AB"},
            {"name": "a/b"},
            {"name": "../a"},
            {"threshold": 1.1},
            {"dimension": 0},
        ],
    )
    def test_values_that_no_card_has(self, changes: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            card(**changes)

    def test_a_falling_calibration_is_refused(self) -> None:
        with pytest.raises(ValidationError):
            Calibration(slope=-1, intercept=0, measured_on="")


class TestConfidence:
    def test_known_values(self) -> None:
        assert card().confidence(0.55) == pytest.approx(0.5)
        assert card().even() == pytest.approx(0.55)
        assert card().confidence(0.60) == pytest.approx(1 / (1 + math.exp(-1)))
        assert card().confidence(0.50) == pytest.approx(1 - card().confidence(0.60))

    @given(st.floats(-1, 1), st.floats(-1, 1))
    def test_more_similar_is_no_less_sure(self, a: float, b: float) -> None:
        low, high = sorted((a, b))
        assert 0 <= card().confidence(low) <= card().confidence(high) <= 1

    @given(st.floats(-1e300, 1e300), st.floats(1e-3, 1e6), st.floats(-1e6, 1e6))
    def test_never_overflows(self, similarity: float, slope: float, intercept: float) -> None:
        steep = card(calibration=Calibration(slope=slope, intercept=intercept, measured_on=""))
        assert 0 <= steep.confidence(similarity) <= 1

    def test_small_probabilities_are_not_rounded_to_zero(self) -> None:
        assert card().confidence(-1) == pytest.approx(math.exp(-31), rel=1e-6)

    def test_among_more_people_the_same_cosine_says_less(self) -> None:
        calibration = Calibration(slope=20, intercept=-11, gallery=1000, measured_on="nobody")
        impostors = Impostors(mean=0, dimensions=50, measured_on="nobody")
        measured = card(calibration=calibration, impostors=impostors)
        found = [measured.confidence(0.6, n) for n in (10, 1000, 1_000_000)]
        assert found[0] > found[1] > found[2]
        assert found[1] == measured.confidence(0.6) == card().confidence(0.6)
        # As sure at the threshold of a large gallery as at that of a small one.
        for people in (10, 1_000_000):
            at = measured.confidence(impostors.threshold(people, 0.01), people)
            assert at == pytest.approx(measured.confidence(impostors.threshold(1000, 0.01)))
            assert measured.confidence(measured.even(people), people) == pytest.approx(0.5)
        assert ModelCard.from_json(measured.to_json()) == measured

    def test_without_knowing_strangers_the_size_is_ignored(self) -> None:
        assert card().confidence(0.6, 1_000_000) == card().confidence(0.6)
        assert card().confidence(0.6, 0) == card().confidence(0.6)


class TestMargin:
    def test_through_json_and_back(self) -> None:
        measured = card(margin=Margin(cosine=0.14, measured_on="nobody"))
        assert ModelCard.from_json(measured.to_json()) == measured

    def test_a_card_from_before_has_none(self) -> None:
        assert card().margin is None
        assert "margin" not in json.loads(card().to_json())


class TestPairs:
    def test_what_was_measured_counts(self) -> None:
        curve = Calibration(slope=10, intercept=-4, measured_on="pairs")
        verification = Verification(threshold=0.4, calibration=curve)
        measured = card(verification=verification)
        assert measured.pairs == verification
        assert measured.pairs.calibration.probability(0.4) == pytest.approx(0.5)
        assert ModelCard.from_json(measured.to_json()) == measured

    def test_what_was_not_is_as_strict_as_a_gallery(self) -> None:
        assert card().pairs.threshold == card().threshold
        assert card().pairs.calibration == card().calibration
        assert "verification" not in json.loads(card().to_json())


class TestModelId:
    def test_form(self) -> None:
        found = model_id("facenet-x", TENSORS, PREPROCESSING)
        assert card(id=found).id == found

    def test_known_value(self) -> None:
        # A change of this value orphans every gallery: it must not happen by accident.
        assert model_id("facenet-x", TENSORS, PREPROCESSING) == "facenet-x@908ba6015707"

    def test_what_does_not_count(self) -> None:
        same = model_id("m", TENSORS, PREPROCESSING)
        assert model_id("m", dict(reversed(TENSORS.items())), PREPROCESSING) == same
        wider = {k: v.astype(np.float64) for k, v in TENSORS.items()}
        assert model_id("m", wider, PREPROCESSING) == same
        swapped = {k: v.astype(">f4") for k, v in TENSORS.items()}
        assert model_id("m", swapped, PREPROCESSING) == same
        strided = {k: np.asfortranarray(v) for k, v in TENSORS.items()}
        assert model_id("m", strided, PREPROCESSING) == same
        assert model_id("m", TENSORS, dict(reversed(PREPROCESSING.items()))) == same

    def test_what_counts(self) -> None:
        known = TENSORS["a.weight"]
        changed = known.copy()
        changed[1, 2] = np.nextafter(changed[1, 2], np.float32(99))
        variants: list[tuple[dict[str, Any], dict[str, Any]]] = [
            (TENSORS, PREPROCESSING),
            (TENSORS | {"a.weight": changed}, PREPROCESSING),
            (TENSORS | {"a.weight": known.reshape(3, 2)}, PREPROCESSING),
            ({"A.weight": known, "b.bias": TENSORS["b.bias"]}, PREPROCESSING),
            ({"a.weight": known}, PREPROCESSING),
            (TENSORS, PREPROCESSING | {"margin": 15}),
            (TENSORS, PREPROCESSING | {"new": None}),
        ]
        assert len({model_id("m", *variant) for variant in variants}) == len(variants)
