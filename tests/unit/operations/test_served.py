"""The card of the model that Triton serves."""

from __future__ import annotations

import pytest

from serving.errors import Unavailable
from serving.operations.served import served_card
from serving.settings import TritonSettings
from tests.support.operations import fake_triton
from tests.support.stages import CARD


def test_the_card_is_read_from_the_models_configuration() -> None:
    with fake_triton() as triton:
        assert served_card(TritonSettings(url=triton.url, model="facenet-x")) == CARD
        assert triton.asked == ["GET /v2/models/facenet-x/config"]


def test_triton_is_away() -> None:
    with fake_triton() as triton:
        settings = TritonSettings(url=triton.url)
        triton.status, triton.body = 503, {"error": "unavailable"}
        with pytest.raises(Unavailable, match="Triton"):
            served_card(settings)


def test_a_model_without_a_card() -> None:
    with fake_triton() as triton:
        del triton.body["parameters"]
        with pytest.raises(Unavailable, match="without a usable card"):
            served_card(TritonSettings(url=triton.url))
