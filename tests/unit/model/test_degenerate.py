"""The directions that embeddings of faces without information share, as they are stored."""

from __future__ import annotations

import json

import numpy as np

from serving.model.card import ModelCard
from serving.model.degenerate import FILE, Degenerate, degenerate_of
from serving.model.repository import REPOSITORY
from tests.support.people import unit_rows


def test_the_nearest_direction_counts() -> None:
    one, other = np.eye(2, 8, dtype=np.float32)
    known = Degenerate(np.stack([one, other]))
    probes = np.stack([other, (one + other) / np.float32(2**0.5), np.eye(8, dtype=np.float32)[5]])
    assert np.allclose(known.blankness(probes), [1, 2**-0.5, 0])


def test_a_byte_a_number_keeps_the_directions() -> None:
    known = Degenerate(unit_rows(5, 512))
    again = Degenerate.from_json(json.loads(json.dumps(known.to_json())))
    assert again.directions.shape == (5, 512)
    assert again.directions.dtype == np.float32
    assert (np.einsum("ij,ij->i", again.directions, known.directions) > 0.999).all()
    assert np.allclose(np.linalg.norm(again.directions, axis=1), 1)


def test_the_default_model_was_measured_and_others_are_not_guessed() -> None:
    text = (REPOSITORY / "facenet-casia-webface" / "model.json").read_text()
    card = ModelCard.from_json(text)
    known = degenerate_of(card.id)
    assert known is not None
    assert known.directions.shape[1] == card.dimension
    assert np.allclose(np.linalg.norm(known.directions, axis=1), 1, atol=1e-5)
    assert degenerate_of("facenet-test@0123456789ab") is None
    assert all(entry["photos"] > 0 for entry in json.loads(FILE.read_text()).values())
