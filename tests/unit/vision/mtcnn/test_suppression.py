from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch.models.utils.detect_face import nms_numpy
from numpy.typing import NDArray
from torchvision.ops import nms as nms_of_torchvision

from serving.vision.mtcnn.suppression import nms, nms_by_smaller

Array = NDArray[np.float32]


def boxes_of(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Boxes that overlap a lot, among them boxes without an area, and scores that are equal."""
    corners = random.integers(0, 60, (count, 2))
    sides = random.integers(0, 30, (count, 2))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    return boxes, random.choice(np.linspace(0, 1, 40, dtype=np.float32), count)


@pytest.mark.parametrize("overlap", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("count", [0, 1, 2, 30, 500])
def test_nms_keeps_what_torchvision_keeps(count: int, overlap: float) -> None:
    random = np.random.default_rng(count)
    for _ in range(20):
        boxes, scores = boxes_of(random, count)
        expected = nms_of_torchvision(torch.from_numpy(boxes), torch.from_numpy(scores), overlap)
        assert nms(boxes, scores, overlap).tolist() == expected.tolist()


@pytest.mark.parametrize("count", [1, 2, 30, 300])
def test_nms_by_smaller_keeps_what_facenet_pytorch_keeps(count: int) -> None:
    random = np.random.default_rng(count)
    for _ in range(20):
        boxes, _ = boxes_of(random, count)
        scores = random.permutation(count).astype(np.float32)  # argsort there is not stable
        expected = nms_numpy(boxes, scores, 0.7, "Min")
        assert nms_by_smaller(boxes, scores, 0.7).tolist() == expected.tolist()


def test_nothing_is_kept_of_nothing() -> None:
    empty = np.empty((0, 4), np.float32), np.empty(0, np.float32)
    assert nms_by_smaller(*empty, 0.7).tolist() == []


def test_of_two_that_overlap_the_likelier_stays() -> None:
    boxes = np.array([[0, 0, 9, 9], [1, 1, 10, 10], [20, 0, 29, 19]], np.float32)
    scores = np.array([0.8, 0.9, 0.7], np.float32)
    assert nms(boxes, scores, 0.5).tolist() == [1, 2]


def test_no_face_lies_inside_another() -> None:
    inside = np.array([[0, 0, 99, 99], [10, 10, 29, 29], [200, 0, 219, 19]], np.float32)
    scores = np.array([0.8, 0.9, 0.7], np.float32)
    assert nms_by_smaller(inside, scores, 0.7).tolist() == [1, 2]
    assert nms(inside, scores, 0.7).tolist() == [1, 0, 2]
