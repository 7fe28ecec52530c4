"""CompreFace's recognition, detection and verification: forms, options, and who is named."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from serving.errors import UnsupportedImage
from serving.gallery import Kind, Operation
from serving.matching.records import Candidate
from serving.model.liveness import Liveness
from serving.settings import AuditSettings
from tests.support.api import Api
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.stages import CARD, faces, row_of
from tests.support.subjects import people_in

PHOTO, OTHER = b"\xff\xd8 one \x00", b"\x89PNG the other"
FILE = {"files": {"file": ("a.jpg", PHOTO)}}
RECOGNIZE = "/api/v1/recognition/recognize"
BOX = {"probability": 0.99, "x_max": 30, "y_max": 40, "x_min": 1, "y_min": 2}
TWO = faces((0, 0, 100, 100), (5, 5, 20, 20))


@pytest.fixture
def api() -> Api:
    return Api(compreface=True)


def told(answer: Any) -> tuple[int, int]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(
    "request_",
    [
        FILE,
        {"json": {"file": base64.b64encode(PHOTO).decode()}},
        {"json": {"file": f"data:image/jpeg;base64,{base64.b64encode(PHOTO).decode()}"}},
    ],
    ids=["form", "json", "data url"],
)
def test_a_named_face_has_its_subject(api: Api, request_: dict[str, Any]) -> None:
    answer = api.post(f"{RECOGNIZE}?&limit=0&status=False", **request_)
    assert answer.status_code == 200, answer.text
    (face,) = answer.json()["result"]
    assert face == {
        "box": BOX,
        "subjects": [
            {"subject": "Ada", "similarity": round(CARD.confidence(0.75, 1000), 5)},
        ],
    }
    assert api.asked["data"] == PHOTO


def test_without_a_name_the_id_is_the_subject(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.pipeline.found[PHOTO] = faces((1, 2, 30, 40))
    identify = api.pipeline.identify

    async def unnamed(data: bytes, **options: Any) -> Any:
        found = await identify(data, **options)
        found.matches.candidates[0][0].__dict__["name"] = None
        return found

    monkeypatch.setattr(api.pipeline, "identify", unnamed)
    (face,) = api.post(RECOGNIZE, **FILE).json()["result"]
    assert [s["subject"] for s in face["subjects"]] == ["id:7"]


def test_nobody_is_named_below_the_threshold() -> None:
    api = Api(compreface=True, threshold=0.76)
    (face,) = api.post(f"{RECOGNIZE}?prediction_count=3", **FILE).json()["result"]
    assert (face["subjects"], face["reason"]) == ([], "unknown")


def test_a_face_that_is_like_two_people_has_no_subject(api: Api) -> None:
    api.pipeline.ambiguous = {0: (Candidate(7, "Ada", 0.75), Candidate(8, "Eve", 0.74))}
    (face,) = api.post(RECOGNIZE, **FILE).json()["result"]
    assert (face["subjects"], face["reason"]) == ([], "ambiguous")


def test_an_attack_has_no_subject(api: Api) -> None:
    api.pipeline.verdict = Liveness(False, 0.1)
    (face,) = api.post(f"{RECOGNIZE}?prediction_count=3", **FILE).json()["result"]
    assert (face["subjects"], face["reason"]) == ([], "not-live")


def test_times_versions_and_landmarks_where_they_are_asked_for(api: Api) -> None:
    query = {"status": "True", "face_plugins": "landmarks", "prediction_count": 2}
    answer = api.post(RECOGNIZE, params=query, **FILE).json()
    assert answer["plugins_versions"] == {"detector": "mtcnn", "calculator": CARD.id}
    (face,) = answer["result"]
    assert set(face["execution_time"]) == {"detector"}
    assert [len(point) for point in face["landmarks"]] == [2] * 5


def test_faces_below_the_score_do_not_count(api: Api) -> None:
    api.pipeline.found[PHOTO] = TWO  # 0.99 and 0.95
    for path in (RECOGNIZE, "/api/v1/detection/detect"):
        found = api.post(f"{path}?det_prob_threshold=0.97", **FILE).json()["result"]
        assert [face["box"]["x_max"] for face in found] == [100]
        assert len(api.post(path, **FILE).json()["result"]) == 2
        assert told(api.post(f"{path}?det_prob_threshold=0.999", **FILE)) == (400, 28)


@pytest.mark.parametrize("path", [RECOGNIZE, "/api/v1/detection/detect"])
def test_a_photo_without_a_face(api: Api, path: str) -> None:
    api.pipeline.found[PHOTO] = faces()
    answer = api.post(path, **FILE)
    assert told(answer) == (400, 28)
    assert answer.json()["message"] == "No face is found in the given image"


@pytest.mark.parametrize("path", [RECOGNIZE, "/api/v1/detection/detect"])
@pytest.mark.parametrize(
    ("query", "request_", "code"),
    [
        ("face_plugins=age,gender", FILE, 26),
        ("detect_faces=false", FILE, 26),
        ("limit=x", FILE, 36),
        ("nothing=1", FILE, 26),
        ("", {"files": {"image": ("a.jpg", PHOTO)}}, 26),
        ("", {"json": {"file": "no base64!"}}, 26),
        ("", {"json": {"image": "x"}}, 26),
        ("", {"content": b"x", "headers": {"content-type": "text/plain"}}, 21),
    ],
)
def test_what_cannot_be_read(
    api: Api, path: str, query: str, request_: dict[str, Any], code: int
) -> None:
    assert told(api.post(f"{path}?{query}", **request_)) == (400, code)


def test_what_is_no_image(api: Api) -> None:
    api.pipeline.found[PHOTO] = UnsupportedImage("This is no image.")
    assert told(api.post(RECOGNIZE, **FILE)) == (400, 21)


def test_a_wrong_number_of_predictions(api: Api) -> None:
    assert told(api.post(f"{RECOGNIZE}?prediction_count=0", **FILE)) == (400, 12)


def test_a_face_is_compared_with_each_of_another_photo(api: Api) -> None:
    api.pipeline.found = {PHOTO: faces((1, 2, 30, 40)), OTHER: TWO}
    files = {"source_image": ("a", PHOTO), "target_image": ("b", OTHER)}
    answer = api.post("/api/v1/verification/verify?&limit=0", files=files)
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["result"]
    assert result["source_image_face"]["box"] == BOX
    cosines = (row_of(0, 1) @ row_of(0)[0]).tolist()
    pairs = CARD.pairs.calibration
    assert [m["similarity"] for m in result["face_matches"]] == [
        pytest.approx(pairs.probability(min(c, 1.0)), abs=1e-4) for c in cosines
    ]
    encoded = {name: base64.b64encode(data).decode() for name, (_, data) in files.items()}
    assert api.post("/api/v1/verification/verify", json=encoded).json() == answer.json()


def test_an_attack_is_like_nobody(caplog: pytest.LogCaptureFixture) -> None:
    api = Api(compreface=True, audit=AuditSettings(identifications=True))
    files = {"source_image": ("a", PHOTO), "target_image": ("b", OTHER)}
    for live in (False, True):
        api.pipeline.verdict = Liveness(live, 0.5)
        (result,) = api.post("/api/v1/verification/verify", files=files).json()["result"]
        (match,) = result["face_matches"]
        assert (match["similarity"] == 0.0) is not live
        assert match.get("reason") == (None if live else "not-live")
    attack, told = (r.__dict__ for r in caplog.records if r.name == "faces.audit")
    assert (attack["same"], attack["similarity"], attack["not_live"]) == (None, None, True)
    assert "not_live" not in told


def test_what_cannot_be_compared(api: Api) -> None:
    files = {"source_image": ("a", PHOTO), "target_image": ("b", OTHER)}
    api.pipeline.found = {PHOTO: TWO}
    several = api.post("/api/v1/verification/verify", files=files)
    assert told(several) == (400, 31)
    api.pipeline.found = {OTHER: faces()}
    nobody = api.post("/api/v1/verification/verify", files=files)
    assert told(nobody) == (400, 28)
    assert "target_image" in nobody.json()["message"]
    del files["target_image"]
    assert told(api.post("/api/v1/verification/verify", files=files)) == (400, 26)


def test_faces_are_compared_with_a_saved_one(caplog: pytest.LogCaptureFixture) -> None:
    api = Api(compreface=True, audit=AuditSettings(identifications=True))
    gallery = open_gallery(MemoryStore())
    api.app.state.context.__dict__["register"] = people_in(gallery)
    gallery.commit([Operation(Kind.PUT, 7, 1.0, row_of(1), details={"name": "Ada"})])
    (saved,) = api.get("/api/v1/recognition/faces").json()["faces"]
    api.pipeline.found[PHOTO] = TWO
    path = f"/api/v1/recognition/faces/{saved['image_id']}/verify"
    answer = api.post(path, **FILE)
    assert answer.status_code == 200, answer.text
    first, second = (face["similarity"] for face in answer.json()["result"])
    assert second == pytest.approx(CARD.pairs.calibration.probability(1.0), abs=1e-3)
    assert first < second
    (record,) = [r for r in caplog.records if r.name == "faces.audit"]
    assert (record.__dict__["action"], record.__dict__["ids"]) == ("verify", [7])
    api.pipeline.verdict = Liveness(False, 0.1)
    attacks = api.post(path, **FILE).json()["result"]
    assert [(face["similarity"], face["reason"]) for face in attacks] == [(0.0, "not-live")] * 2
    record = [r for r in caplog.records if r.name == "faces.audit"][-1]
    assert (record.__dict__["same"], record.__dict__["not_live"]) == (None, True)
    gone = api.post(path.replace("0007", "0008"), **FILE)
    assert told(gone) == (404, 44)
    assert np.isclose(second, 1, atol=0.1)
