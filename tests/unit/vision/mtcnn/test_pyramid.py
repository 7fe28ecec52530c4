"""The levels of a pyramid keep out of each other's way, and are those of facenet-pytorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from serving.vision.mtcnn.area_sums import AreaSums
from serving.vision.mtcnn.pyramid import canvases_of, paint

SIZES = [(12, 12), (20, 20), (37, 53), (600, 37), (21, 900), (480, 640), (481, 641), (1280, 853)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [0.6, 0.5, 1.0])
def test_no_level_sees_another(size: tuple[int, int], scale: float) -> None:
    for canvas in canvases_of(*size, scale, 0.709, 12):
        painted = paint(AreaSums(np.ones((*size, 3), np.uint8)), canvas)
        taken = np.zeros(painted.shape[:2], np.uint8)
        for level in canvas:
            assert level.top % 2 == level.left % 2 == 0
            # With the pixel after an odd number of them, which the network's pooling sees, too.
            bottom, right = (
                start + length + length % 2
                for start, length in ((level.top, level.height), (level.left, level.width))
            )
            assert bottom <= len(painted)
            assert right <= len(painted[0])
            taken[level.top : bottom, level.left : right] += 1
        assert taken.max() == 1
        assert (taken == painted[:, :, 0]).all()  # and there the photo is, and nowhere else


@pytest.mark.parametrize("size", SIZES)
def test_the_levels_of_facenet_pytorch(size: tuple[int, int]) -> None:
    expected = []
    scale, least = 0.6, min(size) * 0.6
    while least >= 12:
        expected.append((int(size[0] * scale + 1), int(size[1] * scale + 1)))
        scale, least = scale * 0.709, least * 0.709
    found = [level for canvas in canvases_of(*size, 0.6, 0.709, 12) for level in canvas]
    assert [(level.height, level.width) for level in found] == expected


def test_each_level_is_the_photo_reduced() -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (301, 203, 3), np.uint8)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    for canvas in canvases_of(301, 203, 0.6, 0.709, 12):
        painted = paint(AreaSums(pixels), canvas)
        for level in canvas:
            size = level.height, level.width
            there = painted[level.top :, level.left :][: size[0], : size[1]]
            expected = interpolate(planes, size, mode="area")[0].permute(1, 2, 0).numpy()
            np.testing.assert_allclose(there, expected, atol=0.501)


def test_canvases_of_few_sizes() -> None:
    shapes = {
        paint(AreaSums(np.zeros((height, 640, 3), np.uint8)), canvas).shape
        for height in range(440, 480)
        for canvas in canvases_of(height, 640, 0.6, 0.709, 12)
    }
    assert len(shapes) <= 6
