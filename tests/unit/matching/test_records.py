"""The records between the stages: frozen, and picklable as Ray needs it."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from serving.matching.records import Candidate, Matches
from serving.vision.records import CROP_SIZE, Faces, Photo
from tests.support.stages import GOOD


def faces(count: int) -> Faces:
    return Faces(
        boxes=np.arange(count * 4, dtype=np.float32).reshape(count, 4),
        scores=np.linspace(0.9, 1, count, dtype=np.float32),
        landmarks=np.zeros((count, 5, 2), np.float32),
        crops=np.zeros((count, 3, CROP_SIZE, CROP_SIZE), np.uint8),
        quality=(GOOD,) * count,
        turns=np.zeros(count, np.int64),
    )


@pytest.mark.parametrize("n", [0, 2, 3, 9])
def test_the_first_faces(n: int) -> None:
    first = faces(3).first(n)
    assert len(first) == min(n, 3)
    assert len(first.scores) == len(first.landmarks) == len(first.crops) == len(first)
    assert len(first.quality) == len(first)
    assert np.array_equal(first.boxes, faces(3).boxes[:n])


def test_records_cannot_be_changed() -> None:
    photo = Photo(np.zeros((2, 3, 3), np.uint8), width=3, height=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        photo.width = 4  # type: ignore[misc]


def test_records_travel() -> None:
    again = pickle.loads(pickle.dumps(faces(2), protocol=5))
    assert np.array_equal(again.boxes, faces(2).boxes)
    matches = Matches(((Candidate(7, None, 0.5),), ()), gallery_version=3, people=1)
    assert pickle.loads(pickle.dumps(matches)) == matches
