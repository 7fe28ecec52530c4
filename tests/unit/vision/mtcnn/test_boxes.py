"""Boxes, by hand."""

from __future__ import annotations

import numpy as np

from serving.vision.mtcnn.boxes import moved, sides, square

BOXES = np.array([[0, 0, 9, 9], [1, 1, 10, 10], [20, 0, 29, 19]], np.float32)


def test_both_edges_count() -> None:
    assert sides(BOXES).tolist() == [[10, 10], [10, 10], [10, 20]]


def test_regression_moves_an_edge_by_a_part_of_the_side() -> None:
    assert moved(BOXES[2:], np.array([[0.1, -0.1, 0, 0.5]], np.float32)).tolist() == [
        [21, -2, 29, 29]
    ]


def test_a_square_keeps_the_middle() -> None:
    assert square(np.array([[20, 0, 30, 20]], np.float32)).tolist() == [[15, 0, 35, 20]]
