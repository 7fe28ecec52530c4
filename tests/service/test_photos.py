"""Finding faces and comparing two photos through HTTP."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.stack.process import Process
from tests.support import images

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def people(data: Path) -> dict[str, bytes]:
    paths = {
        "ardern": "2576/photo_01.jpg",
        "ardern later": "id_is_2576.jpg",
        "macron": "people/101/macron_2014.jpg",
        "macron later": "people/101/macron_2025.jpg",
        "obama": "people/102/obama.jpg",
        "collins": "people/104/collins.jpg",
        "group": "group.jpg",
    }
    nobody = images.encode(Image.new("RGB", (300, 300), "teal"), "PNG")
    return {name: (data / path).read_bytes() for name, path in paths.items()} | {"nobody": nobody}


def verify(api: httpx.Client, a: bytes, b: bytes, **options: Any) -> httpx.Response:
    return api.post("/verify", files={"image_a": a, "image_b": b}, params=options)


@pytest.mark.parametrize(
    ("a", "b"), [("ardern", "ardern later"), ("macron", "macron later"), ("obama", "obama")]
)
def test_one_person_is_the_same(
    api: httpx.Client, people: dict[str, bytes], a: str, b: str
) -> None:
    answer = verify(api, people[a], people[b]).json()
    assert answer["same"] is True
    assert answer["similarity"] >= answer["threshold"]
    assert answer["confidence"] > 0.5
    assert answer["model"].startswith("facenet-casia-webface@")


@pytest.mark.parametrize(
    ("a", "b"), [("ardern", "collins"), ("macron", "obama"), ("collins", "obama")]
)
def test_two_people_are_not(api: httpx.Client, people: dict[str, bytes], a: str, b: str) -> None:
    answer = verify(api, people[a], people[b]).json()
    assert answer["same"] is False
    assert answer["confidence"] < 0.5
    assert verify(api, people[a], people[b], threshold=-1).json()["same"] is True


def test_both_ways_give_the_same_number(api: httpx.Client, people: dict[str, bytes]) -> None:
    encoded = {k: base64.b64encode(people[k]).decode() for k in ("ardern", "group")}
    there = api.post("/verify", json={"image_a": encoded["ardern"], "image_b": encoded["group"]})
    back = verify(api, people["group"], people["ardern"])
    assert there.json()["similarity"] == pytest.approx(back.json()["similarity"], abs=2e-4)
    assert there.json()["image_b"] == back.json()["image_a"]
    assert (there.json()["image_a"]["faces"], there.json()["image_b"]["faces"]) == (1, 4)


def test_the_photo_that_will_not_do_is_named(api: httpx.Client, people: dict[str, bytes]) -> None:
    without = verify(api, people["obama"], people["nobody"])
    assert without.status_code == 422
    assert without.json()["detail"] == "No face was found in image_b."
    assert [i["used"] for i in without.json()["images"]] == [True, False]
    damaged = verify(api, people["obama"][:5000], people["obama"])
    assert damaged.status_code == 415
    assert damaged.json()["detail"].startswith("image_a: ")


def test_what_is_detected_is_what_is_identified(
    api: httpx.Client, people: dict[str, bytes]
) -> None:
    detected = api.post("/detect", content=people["group"], headers=JPEG).json()["faces"]
    identified = api.post("/infer", content=people["group"], headers=JPEG).json()["faces"]
    assert len(detected) == 4
    for one, other in zip(detected, identified, strict=True):
        assert one["box"] == other["box"]
        assert one["detection_score"] == other["detection_score"]


def test_landmarks_lie_in_the_face_where_they_belong(
    api: httpx.Client, people: dict[str, bytes]
) -> None:
    (face,) = api.post("/detect", files={"image": people["ardern later"]}).json()["faces"]
    points = np.array(face["landmarks"])
    x1, y1, x2, y2 = face["box"]
    assert ((points >= (x1, y1)) & (points <= (x2, y2))).all()
    left_eye, right_eye, nose, left_corner, right_corner = points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_corner[0] < right_corner[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_corner[1], right_corner[1])


@contextmanager
def stopped(*processes: Process) -> Iterator[None]:
    """They hold their connections and answer nobody, which is worse than being gone."""
    try:
        for process in processes:
            os.killpg(process.pid, signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGCONT)


def test_faces_are_found_while_triton_and_the_store_are_away(
    api: httpx.Client, people: dict[str, bytes], processes: list[Process]
) -> None:
    store, triton, _ = processes
    with stopped(store, triton):
        answer = api.post("/detect", content=people["group"], headers=JPEG)
        assert (answer.status_code, len(answer.json()["faces"])) == (200, 4)
        away = verify(api, people["obama"], people["obama"])
        assert away.status_code == 503
        assert "Triton" in away.json()["detail"]
    assert verify(api, people["obama"], people["obama"]).json()["same"] is True


def test_two_photos_are_compared_while_the_store_is_away(
    api: httpx.Client, people: dict[str, bytes], processes: list[Process]
) -> None:
    with stopped(processes[0]):
        assert verify(api, people["obama"], people["obama"]).json()["same"] is True
