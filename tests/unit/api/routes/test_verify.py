"""`/verify`: forms of bodies, options, limits, and what one bad photo does."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from serving.errors import TooLarge, Unavailable, UnsupportedImage
from serving.model.liveness import Liveness
from tests.support.api import Api, detail_of
from tests.support.stages import CARD, GOOD_BODY, faces, row_of

PHOTO, OTHER = b"\xff\xd8 one \x00", b"\x89PNG the other"
JPEG = {"content-type": "image/jpeg"}
NOBODY = faces()
TWO = faces((0, 0, 100, 100), (5, 5, 20, 20))


def quality(side: float) -> dict[str, Any]:
    return {"quality": {**GOOD_BODY, "side": side}, "turn": 0, "liveness": None}


def b64(photo: bytes) -> str:
    return base64.b64encode(photo).decode()


PAIR = {"image_a": b64(PHOTO), "image_b": b64(OTHER)}


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.mark.parametrize(
    "request_",
    [
        {"json": PAIR},
        {"json": PAIR | {"image_a": f"data:image/jpeg;base64,{b64(PHOTO)}"}},
        {"files": [("image_b", OTHER), ("image_a", PHOTO)]},
    ],
    ids=["json", "data url", "form"],
)
def test_every_form(api: Api, request_: dict[str, Any]) -> None:
    api.pipeline.found = {PHOTO: TWO, OTHER: faces((1, 2, 30, 40))}
    answer = api.post("/verify", **request_)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "same": True,
        "similarity": 1.0,
        "confidence": round(CARD.confidence(1.0), 4),
        "threshold": 0.5,
        "image_a": {"box": [0, 0, 100, 100], "detection_score": 0.99, "faces": 2} | quality(100),
        "image_b": {"box": [1, 2, 30, 40], "detection_score": 0.99, "faces": 1} | quality(29),
        "model": CARD.id,
    }
    assert {"read", "detect", "embed"} <= {
        part.partition(";")[0] for part in answer.headers["server-timing"].split(", ")
    }


def test_the_largest_faces_are_compared(api: Api) -> None:
    second = faces((0, 0, 9, 9), (0, 0, 8, 8))
    second.crops[:] = second.crops[::-1].copy()  # full of 1, then of 0
    api.pipeline.found[OTHER] = second
    answer = api.post("/verify", json=PAIR).json()
    wanted = float(row_of(0)[0] @ row_of(1)[0])
    assert answer["similarity"] == pytest.approx(wanted, abs=1e-4)
    assert answer["same"] is bool(wanted >= CARD.threshold)


def test_the_requests_threshold_comes_before_the_settings() -> None:
    def used(api: Api, **options: float) -> Any:
        return api.post("/verify", json={**PAIR, **options}).json()["threshold"]

    assert used(Api()) == CARD.threshold  # measured for pairs or not
    assert used(Api(threshold=0.9)) == CARD.threshold  # that of the gallery
    assert used(Api(verify_threshold=0.0)) == 0
    assert used(Api(verify_threshold=0.9), threshold=0.7) == 0.7
    form = {"files": {"image_a": PHOTO, "image_b": OTHER}, "params": {"threshold": "-1"}}
    assert Api().post("/verify", **form).json()["threshold"] == -1


@pytest.mark.parametrize(
    ("without", "said"),
    [({OTHER}, "image_b"), ({PHOTO}, "image_a"), ({PHOTO, OTHER}, "image_a and image_b")],
)
def test_a_photo_without_a_face_is_named(api: Api, without: set[bytes], said: str) -> None:
    api.pipeline.found = dict.fromkeys(without, NOBODY)
    answer = api.post("/verify", json=PAIR)
    assert detail_of(answer, 422) == f"No face was found in {said}."
    assert answer.json()["type"] == "urn:faces:problem:no-usable-face"
    told = [(i["used"], i["faces"]) for i in answer.json()["images"]]
    assert told == [(False, 0) if p in without else (True, 1) for p in (PHOTO, OTHER)]


@pytest.mark.parametrize("error", [UnsupportedImage("It is damaged."), TooLarge("Too big.")])
def test_a_photo_that_cannot_be_read_is_named(api: Api, error: Any) -> None:
    api.pipeline.found[OTHER] = error
    assert detail_of(api.post("/verify", json=PAIR), error.status) == f"image_b: {error}"


def test_without_triton_no_photo_is_looked_at(api: Api) -> None:
    api.pipeline.embedder.failure = Unavailable("Triton is away.")
    detail_of(api.post("/verify", json=PAIR), 503)
    assert not api.pipeline.asked


@pytest.mark.parametrize(
    ("request_", "status", "named"),
    [
        ({"json": {"image_a": "QUJD"}}, 400, "image_b"),
        ({"json": PAIR | {"image_b": "***"}}, 400, "base64"),
        ({"json": PAIR | {"threshold": 1.5}}, 400, "threshold"),
        ({"json": PAIR | {"top_k": 1}}, 400, "top_k"),
        ({"files": {"image_a": PHOTO}}, 400, "image_b"),
        ({"files": [("image_a", PHOTO)] * 2}, 400, "image_b"),
        ({"files": {"image_a": PHOTO, "image": OTHER}}, 400, "image_b"),
        ({"content": PHOTO, "headers": JPEG}, 415, "multipart/form-data"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_read(api: Api, request_: dict[str, Any], status: int, named: str) -> None:
    assert named in detail_of(api.post("/verify", **request_), status)
    assert not api.pipeline.asked


def test_what_is_too_large() -> None:
    api = Api(max_image_bytes=len(OTHER) - 1)
    assert len(PHOTO) < len(OTHER)
    assert "image_b" in detail_of(api.post("/verify", json=PAIR), 413)
    assert not api.pipeline.asked


@pytest.mark.parametrize("threshold", [None, -1.0])
def test_of_an_attack_it_is_neither_the_same_person_nor_another(
    api: Api, threshold: float | None
) -> None:
    api.pipeline.verdict = Liveness(False, 0.12345)
    answer = api.post("/verify", json=PAIR | {"threshold": threshold}).json()
    assert {answer[name] for name in ("same", "similarity", "confidence")} == {None}
    for image in ("image_a", "image_b"):
        verdict = answer[image]["liveness"]
        assert (verdict["live"], verdict["score"]) == (False, 0.1235)
        assert verdict["reason"].startswith("The face is taken for a picture")
        assert answer[image]["quality"]["sufficient"]


def test_live_faces_are_compared(api: Api) -> None:
    api.pipeline.verdict = Liveness(True, 0.9)
    answer = api.post("/verify", json=PAIR).json()
    assert answer["same"] is True
    assert answer["image_a"]["liveness"] == {"live": True, "score": 0.9, "reason": None}
