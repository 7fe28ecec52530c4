"""`/detect`: forms of bodies, options and limits."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from serving.errors import Unavailable
from tests.support.api import Api, detail_of
from tests.support.stages import GOOD_BODY, faces

PHOTO = b"\xff\xd8 one \x00"
JPEG = {"content-type": "image/jpeg"}
NOBODY = faces()
TWO = faces((0, 0, 100, 100), (5, 5, 20, 20))


def b64(photo: bytes) -> str:
    return base64.b64encode(photo).decode()


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"image": b64(PHOTO), "max_faces": 1}},
        {"json": {"image": f"data:image/jpeg;base64,{b64(PHOTO)}", "max_faces": 1}},
        {"content": PHOTO, "headers": JPEG, "params": {"max_faces": 1}},
        {"files": {"image": PHOTO}, "data": {"max_faces": "1"}},
    ],
    ids=["json", "data url", "raw", "form"],
)
def test_every_form(api: Api, request_: dict[str, Any]) -> None:
    api.pipeline.found[PHOTO] = TWO
    answer = api.post("/detect", **request_)
    assert answer.status_code == 200, answer.text
    (face,) = answer.json()["faces"]
    assert face == {
        "box": [0, 0, 100, 100],
        "detection_score": 0.99,
        "landmarks": [[30.0, 40.0], [70.0, 40.0], [50.0, 60.0], [35.0, 80.0], [65.0, 80.0]],
        "quality": {**GOOD_BODY, "side": 100.0},
        "turn": 0,
    }
    assert api.asked == {"data": PHOTO}


def test_largest_first_and_no_more_than_the_service_looks_at() -> None:
    api = Api(max_faces=1)
    api.pipeline.found[PHOTO] = TWO
    answer = api.post("/detect", content=PHOTO, headers=JPEG).json()
    assert (len(answer["faces"]), answer["more_faces"]) == (1, True)


def test_nobody_is_an_answer(api: Api) -> None:
    api.pipeline.found[PHOTO] = NOBODY
    assert api.post("/detect", content=PHOTO, headers=JPEG).json() == {
        "faces": [],
        "more_faces": False,
    }


def test_triton_is_not_asked(api: Api) -> None:
    api.pipeline.embedder.failure = Unavailable("Triton is away.")
    assert api.post("/detect", content=PHOTO, headers=JPEG).status_code == 200


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"image": "QUJD", "top_k": 1}, "top_k"),
        ({"image": "QUJD", "max_faces": 0}, "max_faces"),
        ({"image": "***"}, "base64"),
        ({}, "image"),
    ],
)
def test_what_cannot_be_read(api: Api, body: dict[str, Any], named: str) -> None:
    assert named in detail_of(api.post("/detect", json=body), 400)
    assert not api.pipeline.asked


def test_what_is_too_large() -> None:
    api = Api(max_image_bytes=10)
    detail_of(api.post("/detect", content=bytes(11), headers=JPEG), 413)
