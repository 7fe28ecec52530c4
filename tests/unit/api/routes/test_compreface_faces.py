"""CompreFace's saved faces: adding, listing and removing photos of people by their names."""

from __future__ import annotations

import logging

import httpx
import pytest

from serving.gallery import Gallery
from serving.pipeline.reports import (
    NO_FACE,
    NOT_LIVE,
    NOT_LIVE_REASON,
    SEVERAL_FACES,
    PhotoReport,
)
from tests.support.api import Api
from tests.support.compreface import names, over, told
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.stages import faces
from tests.support.subjects import EnrollingPipeline

FACES = "/api/v1/recognition/faces"
PHOTO = b"\xff\xd8 one"
NOBODY = "00000000-0000-0063-0000-000000000000"


@pytest.fixture
def gallery() -> Gallery:
    return open_gallery(MemoryStore())


@pytest.fixture
def api(gallery: Gallery) -> Api:
    made = over(gallery, Api(compreface=True))
    made.pipeline = EnrollingPipeline(gallery)
    made.app.state.context.__dict__["pipeline"] = made.pipeline
    return made


def add(api: Api, subject: str, photo: bytes = PHOTO) -> httpx.Response:
    return api.post(FACES, params={"subject": subject}, files={"file": ("a.jpg", photo)})


def listed(api: Api, **query: str | int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = api.get(FACES, params=query).json()["faces"]
    return found


def test_a_face_is_added_and_listed(
    api: Api, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "faces.audit"):
        answer = add(api, "Ada")
    assert answer.status_code == 201, answer.text
    added = answer.json()
    assert (set(added), added["subject"]) == ({"image_id", "subject"}, "Ada")
    assert listed(api) == [added]
    (record,) = [r.__dict__ for r in caplog.records if r.name == "faces.audit"]
    assert (record["action"], record["ids"], record["mode"]) == ("enrol", [0], "append")
    assert api.pipeline.asked[-1] == {"name": "Ada", "only_face": 0.0}
    form = {"subject": "Ada", "det_prob_threshold": "0.8"}
    again = api.post(f"{FACES}/", data=form, files={"file": ("a.jpg", PHOTO)})
    assert again.status_code == 201, again.text
    assert api.pipeline.asked[-1]["only_face"] == 0.8
    assert names(gallery) == {0: ("Ada", 2)}


def test_pages(api: Api) -> None:
    for n in range(5):
        api.pipeline.found[b"%d" % n] = faces(*[(0, 0, 50, 50)] * (n + 1))
    ids = [add(api, f"p{n}").json()["image_id"] for n in range(5)]
    page = api.get(FACES, params={"page": 1, "size": 2}).json()
    assert [face["image_id"] for face in page.pop("faces")] == ids[2:4]
    assert page == {"page_number": 1, "page_size": 2, "total_pages": 3, "total_elements": 5}
    assert listed(api, subject="p4") == [{"image_id": ids[4], "subject": "p4"}]
    assert listed(api, page=9) == []


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (PhotoReport(None, 0, NO_FACE), 28),
        (PhotoReport(faces((0, 0, 9, 9)), 1, "The face is blurred.", "too-blurred"), 28),
        (PhotoReport(faces((0, 0, 9, 9)), 1, NOT_LIVE_REASON, NOT_LIVE), 28),
        (PhotoReport(faces((0, 0, 9, 9)), 2, "Several.", SEVERAL_FACES), 31),
        (PhotoReport(None, 0, "This is no image."), 21),
    ],
)
def test_a_photo_that_cannot_be_used(api: Api, report: PhotoReport, code: int) -> None:
    assert isinstance(api.pipeline, EnrollingPipeline)
    api.pipeline.reports[PHOTO] = report
    assert told(add(api, "Ada")) == (400, code)
    assert listed(api) == []


def test_a_subject_has_to_be_given(api: Api) -> None:
    assert told(api.post(FACES, files={"file": ("a.jpg", PHOTO)})) == (400, 33)
    assert told(add(api, "id:77")) == (400, 26)
    assert told(add(api, "a\nb")) == (400, 26)


def test_faces_are_removed_one_by_one(
    api: Api, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = add(api, "Ada").json(), add(api, "Eve").json()
    add(api, "Eve")
    path = f"{FACES}/{first['image_id']}"
    caplog.clear()
    with caplog.at_level(logging.INFO, "faces.audit"):
        assert api.request("DELETE", path).json() == first
    (record,) = [r.__dict__ for r in caplog.records if r.name == "faces.audit"]
    assert (record["action"], record["ids"]) == ("remove", [0])
    assert told(api.request("DELETE", path)) == (404, 44)
    many = api.post(f"{FACES}/delete", json=[first["image_id"], NOBODY, second["image_id"]])
    assert (many.status_code, many.json()) == (200, [second])
    assert names(gallery) == {1: ("Eve", 1)}
    assert told(api.post(f"{FACES}/delete", json=["x"])) == (400, 36)
    assert told(api.post(f"{FACES}/delete", json={"ids": []})) == (400, 26)


def test_many_faces_of_a_subject_are_one_change(
    api: Api, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    images = []
    for n, subject in enumerate(["Ada", "Ada", "Ada", "Bo"]):
        photo = b"\xff\xd8 %d" % n
        api.pipeline.found[photo] = faces(*[(0, 0, 50, 50)] * (n + 1)).some([n])
        images.append(add(api, subject, photo).json())
    before = gallery.refresh().version
    caplog.clear()
    with caplog.at_level(logging.INFO, "faces.audit"):
        answer = api.post(f"{FACES}/delete", json=[i["image_id"] for i in images])
    assert sorted(answer.json(), key=str) == sorted(images, key=str)
    assert (names(gallery), gallery.refresh().version - before) == ({}, 2)
    records = [r.__dict__ for r in caplog.records if r.name == "faces.audit"]
    assert [record["photos"] for record in records] == [3, 1]


def test_all_faces_of_a_subject_and_of_all(api: Api, gallery: Gallery) -> None:
    for subject in ("Ada", "Ada", "Eve", "Bo"):
        add(api, subject)
    assert api.request("DELETE", FACES, params={"subject": "Ada"}).json() == {"deleted": 2}
    assert told(api.request("DELETE", FACES, params={"subject": "Ada"})) == (404, 42)
    assert told(api.request("DELETE", FACES, params={"subject": ""})) == (400, 26)
    assert len(names(gallery)) == 2
    assert api.request("DELETE", FACES).json() == {"deleted": 2}
    assert names(gallery) == {}


def test_there_are_no_pictures(api: Api) -> None:
    assert told(api.get(f"{FACES}/{NOBODY}/img")) == (404, 11)
    assert told(api.get(f"/api/v1/static/some-key/images/{NOBODY}")) == (404, 11)
