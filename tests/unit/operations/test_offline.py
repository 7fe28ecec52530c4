"""Photos to embeddings in this process."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.errors import Unavailable
from serving.model.repository import ModelError
from serving.operations.offline import (
    Cropper,
    LeftOut,
    LocalModel,
    TritonModel,
    embed_crops,
    embed_photos,
)
from serving.settings import AppArgs, TritonSettings
from tests.support import images
from tests.support.model_repository import NAME, traced
from tests.support.operations import NoUnitModel, PixelModel, fake_triton
from tests.support.people import DIMENSION
from tests.support.stages import ALIGNED, CARD

FAST = AppArgs.model_validate({"detect": {"max_side": 320, "min_face_size": 40}})


@pytest.fixture(scope="module")
def cropper() -> Cropper:
    return Cropper(FAST, CARD)


def reason(result: object) -> tuple[str, str]:
    assert isinstance(result, LeftOut)
    return result.reason, result.detail


def test_the_largest_face_is_cut_out(cropper: Cropper) -> None:
    crop = cropper.crop(images.GROUP)
    assert isinstance(crop, np.ndarray)
    assert crop.shape == (3, 160, 160)
    assert crop.dtype == np.uint8
    one_only = Cropper(FAST, CARD, largest=False)
    assert reason(one_only.crop(images.GROUP)) == ("several-faces", "It shows 3 faces.")
    assert isinstance(one_only.crop(images.PORTRAIT), np.ndarray)


def test_a_model_with_aligned_crops_gets_them() -> None:
    crop = Cropper(FAST, ALIGNED).crop(images.PORTRAIT)
    assert isinstance(crop, np.ndarray)
    assert crop.shape == (3, 112, 112)
    unknown = ALIGNED.model_copy(update={"preprocessing": {"align": "in three dimensions"}})
    with pytest.raises(Unavailable, match="in three dimensions"):
        Cropper(FAST, unknown)


def test_the_other_detector_is_for_models_of_aligned_faces() -> None:
    yunet = AppArgs.model_validate({"detect": {"model": "yunet"}})
    crop = Cropper(yunet, ALIGNED).crop(images.PORTRAIT)
    assert isinstance(crop, np.ndarray)
    assert crop.shape == (3, 112, 112)
    with pytest.raises(Unavailable, match=r"detect\.model is yunet"):
        Cropper(yunet, CARD)


def test_photos_that_are_left_out(cropper: Cropper, tmp_path: Path) -> None:
    grey, text = tmp_path / "grey.png", tmp_path / "text.jpg"
    Image.new("RGB", (200, 200), "grey").save(grey)
    text.write_text("no photo")
    assert reason(cropper.crop(grey)) == ("no-face", "No face was found.")
    assert reason(cropper.crop(text))[0] == "unsupported-image"
    assert reason(cropper.crop(tmp_path / "gone.jpg")) == (
        "unreadable",
        "It cannot be read: No such file or directory.",
    )


def test_each_photo_has_its_own_row_or_problem(cropper: Cropper, tmp_path: Path) -> None:
    shutil.copy(images.PORTRAIT, tmp_path / "a.jpg")
    photos = [images.GROUP, tmp_path / "gone.jpg", tmp_path / "a.jpg", images.PORTRAIT]
    steps: list[int] = []
    embeddings = embed_photos(photos, cropper, PixelModel(), steps.append)
    assert sum(steps) == 4
    assert [problem is None for problem in embeddings.problems] == [True, False, True, True]
    vectors = embeddings.vectors
    assert vectors.shape == (4, DIMENSION)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1, 1], abs=1e-5)
    assert np.array_equal(vectors[2], vectors[3])
    assert not np.allclose(vectors[0], vectors[2])


def test_vectors_of_another_length_are_no_embeddings() -> None:
    crops = np.ones((2, 3, 160, 160), np.uint8)
    assert embed_crops(crops, PixelModel()).shape == (2, DIMENSION)
    with pytest.raises(ModelError, match=r"facenet-new.* does not make vectors of unit length"):
        embed_crops(crops, NoUnitModel())


def test_a_local_model_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model 'facenet-other'"):
        LocalModel(tmp_path, "facenet-other")
    with pytest.raises(ModelError):
        LocalModel(traced(tmp_path, b"no TorchScript"), NAME)


def test_a_model_that_triton_serves() -> None:
    with fake_triton() as triton:
        settings = TritonSettings(url=triton.url)
        model = TritonModel(settings)
        try:
            assert model.card == CARD
        finally:
            model.close()
