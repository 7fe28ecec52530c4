"""Area averages are those of torch, at every size and in every window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from serving.vision.mtcnn.area_sums import AreaSums


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), np.uint8)


def by_torch(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    found: NDArray[np.float32] = (
        interpolate(planes, (height, width), mode="area")[0].permute(1, 2, 0).numpy()
    )
    return found


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (37, 53), (36, 52), (19, 20), (40, 60), (100, 3)])
def test_a_photo_of_any_size(size: tuple[int, int]) -> None:
    pixels = noise(37, 53)
    canvas = np.zeros((size[0] + 2, size[1] + 2, 3), np.uint8)
    AreaSums(pixels).resize_into(canvas[1:-1, 1:-1])
    resized = canvas[1:-1, 1:-1].copy()
    np.testing.assert_allclose(resized, by_torch(pixels, *size), atol=0.5 + 1e-4)
    canvas[1:-1, 1:-1] = 0
    assert not canvas.any()  # nothing beside it


def test_windows_of_any_size() -> None:
    pixels = noise(60, 80)
    corners = np.array([[0, 0, 80, 60], [3, 5, 4, 6], [10, 20, 17, 59], [79, 0, 80, 60]])
    for size in (1, 24, 48):
        windows = AreaSums(pixels).windows(corners, size)
        assert windows.shape == (4, size, size, 3)
        for window, (x1, y1, x2, y2) in zip(windows, corners, strict=True):
            expected = by_torch(pixels[y1:y2, x1:x2], size, size)
            np.testing.assert_allclose(window, expected, atol=1e-4)


def test_no_window() -> None:
    assert AreaSums(noise(5, 5)).windows(np.empty((0, 4), np.int64), 24).shape == (0, 24, 24, 3)


def test_sums_that_wrap_around() -> None:
    white = np.full((3000, 3000, 3), 255, np.uint8)  # more than an int32 holds
    white[2900:, 2900:] = 7
    sums = AreaSums(white)
    resized = np.zeros((30, 30, 3), np.uint8)
    sums.resize_into(resized)
    assert (resized[:29, :29] == 255).all()
    assert (resized[29, 29] == 7).all()
    assert (sums.windows(np.array([[2900, 2900, 3000, 3000]]), 4) == 7).all()
