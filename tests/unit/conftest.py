"""What the tests of the stages share; costly to make, and never changed by a test."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from serving.vision.mtcnn.detector import FaceDetector
from tests.support import images

# Threads that wait for each other make a busy machine many times slower than one thread does.
torch.set_num_threads(1)
# A machine that is busy is no failure of the code.
hypothesis.settings.register_profile("faces", deadline=None)
hypothesis.settings.load_profile("faces")


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return FaceDetector(threads=1)


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """A photo with one face."""
    with Image.open(images.PORTRAIT) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="session")
def group() -> NDArray[np.uint8]:
    """A photo with several faces."""
    with Image.open(images.GROUP) as image:
        return np.asarray(image.convert("RGB"))
