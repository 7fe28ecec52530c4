"""People of an export as distractors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.errors import InvalidInput
from serving.evaluation.distractors import read_distractors
from serving.evaluation.lookups import centroid_of
from serving.evaluation.sample import NotMeasurable
from serving.gallery import Kind, Segment
from serving.gallery.interchange import write_export
from tests.support.samples import crowd
from tests.support.stages import CARD

ROWS = crowd(6, 1).vectors.astype(np.float16)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "people.safetensors"
    ids, counts = np.array([5, 7, 9]), np.array([1, 3, 2], np.int32)
    times = np.zeros(3)
    people = Segment.of_people(Kind.PUT, ids, counts, ROWS, created=times, updated=times)
    write_export(path, CARD.id, ROWS.shape[1], [people])
    return path


def test_one_centroid_a_person(export: Path) -> None:
    found = read_distractors(export, CARD.id, np.array([1, 2]))
    assert found.left_out == 0
    for centroid, rows in zip(found.centroids, (ROWS[:1], ROWS[1:4], ROWS[4:]), strict=True):
        wanted = centroid_of(rows.astype(np.float32))
        assert centroid.astype(np.float32) == pytest.approx(wanted, abs=1e-3)


def test_who_is_in_the_sample_is_left_out(export: Path) -> None:
    found = read_distractors(export, CARD.id, np.array([7, 8]))
    assert (len(found.centroids), found.left_out) == (2, 1)


def test_nobody_is_left(export: Path) -> None:
    assert len(read_distractors(export, CARD.id, np.array([5, 7, 9])).centroids) == 0


def test_embeddings_of_another_model_are_never_compared(export: Path) -> None:
    with pytest.raises(NotMeasurable, match="were made by facenet-test@"):
        read_distractors(export, "facenet-other@ffffffffffff", np.array([1]))


def test_no_export(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(InvalidInput, match=r"a\.safetensors"):
        read_distractors(tmp_path / "a.safetensors", CARD.id, np.array([1]))
