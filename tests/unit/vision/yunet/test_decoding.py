"""YuNet's outputs: which cells count, and where their boxes and landmarks are."""

from __future__ import annotations

import numpy as np

from serving.vision.detector import Array
from serving.vision.yunet.decoding import OUTPUTS, decode


def outputs(width: int = 96, height: int = 64) -> dict[str, Array]:
    """Of an image without a face."""
    values = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    made = {}
    for name in OUTPUTS:
        what, stride = name.split("_")
        cells = width // int(stride) * (height // int(stride))
        made[name] = np.zeros((cells, values[what]), np.float32)
    return made


def test_an_image_without_a_face() -> None:
    found = decode(outputs(), 96, 0.1)
    assert (found.boxes.shape, found.scores.shape) == ((0, 4), (0,))
    assert found.landmarks.shape == (0, 5, 2)
    assert found.boxes.dtype == found.scores.dtype == found.landmarks.dtype == np.float32


def test_a_box_and_its_landmarks_are_relative_to_their_cell() -> None:
    given = outputs()
    place = 2 * 6 + 3  # third row, fourth column of the grid of 16 pixels
    given["cls_16"][place] = 0.81
    given["obj_16"][place] = 0.49
    given["bbox_16"][place] = [0.5, -0.25, np.log(2), np.log(3)]
    given["kps_16"][place] = [-0.5, 0, 0.5, 0, 0, 0.25, -0.25, 0.5, 0.25, 0.5]
    found = decode(given, 96, 0.5)
    assert np.allclose(found.scores, [0.63])  # sqrt(0.81 * 0.49)
    middle_x, middle_y = (3 + 0.5) * 16, (2 - 0.25) * 16
    box = [middle_x - 16, middle_y - 24, middle_x + 16, middle_y + 24]
    assert np.allclose(found.boxes, [box], atol=1e-4)
    points = [[40, 32], [56, 32], [48, 36], [44, 40], [52, 40]]
    assert np.allclose(found.landmarks, [points])


def test_all_three_grids_count_and_scores_below_the_least_do_not() -> None:
    given = outputs()
    for stride, chance in ((8, 0.9), (16, 0.4), (32, 0.8)):
        given[f"cls_{stride}"][1] = given[f"obj_{stride}"][1] = chance
    found = decode(given, 96, 0.5)
    assert np.allclose(found.scores, [0.9, 0.8])
    assert np.allclose(found.boxes, [[4, -4, 12, 4], [16, -16, 48, 16]])


def test_probabilities_over_one_and_boxes_without_end_stay_numbers() -> None:
    given = outputs()
    given["cls_8"][0] = given["obj_8"][0] = 1.5
    given["bbox_8"][0] = [0, 0, 500, 500]
    found = decode(given, 96, 0.5)
    assert found.scores.tolist() == [1.0]
    assert np.isfinite(found.boxes).all()
