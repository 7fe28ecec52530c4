"""Identifying and enrolling through HTTP."""

from __future__ import annotations

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

RIGHT_BOX = [222, 153, 502, 529]  # of data/id_is_2576.jpg


@pytest.fixture(scope="module")
def ada(api: httpx.Client, data: Path) -> int:
    """Somebody enrolled, from the photos of data/2576."""
    photos = sorted((data / "2576").glob("*.jpg"))[:5]
    files = [("images", (p.name, p.read_bytes(), "image/jpeg")) for p in photos]
    answer = api.post("/generate", data={"id": "2576", "name": "Ada"}, files=files)
    assert answer.status_code == 200, answer.text
    return 2576


@pytest.fixture(scope="module")
def probe(data: Path) -> bytes:
    return (data / "id_is_2576.jpg").read_bytes()


def infer(api: httpx.Client, photo: bytes, **options: Any) -> dict[str, Any]:
    answer = api.post(
        "/infer", content=photo, headers={"content-type": "image/jpeg"}, params=options
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_known_person_is_named(api: httpx.Client, ada: int, probe: bytes) -> None:
    answer = infer(api, probe)
    (face,) = answer["faces"]
    assert (face["id"], face["name"]) == (ada, "Ada")
    assert face["similarity"] > 0.75
    assert face["confidence"] > 0.9
    assert face["detection_score"] > 0.99
    assert face["box"] == pytest.approx(RIGHT_BOX, abs=4)
    assert [c["id"] for c in face["candidates"]] == [ada]
    assert answer["model"].startswith("facenet-casia-webface@")


def test_a_stranger_gets_no_name(api: httpx.Client, ada: int, data: Path) -> None:
    (face,) = infer(api, (data / "people/102/obama.jpg").read_bytes())["faces"]
    assert face["id"] is face["name"] is face["similarity"] is face["confidence"] is None
    assert face["candidates"][0]["similarity"] < 0.5
    assert face["candidates"][0]["confidence"] < 0.5


def test_the_threshold_can_be_given(api: httpx.Client, ada: int, data: Path, probe: bytes) -> None:
    stranger = (data / "people/102/obama.jpg").read_bytes()
    assert infer(api, stranger, threshold=-1)["faces"][0]["id"] is not None
    assert infer(api, probe, threshold=0.99)["faces"][0]["id"] is None


def test_json_raw_and_multipart_say_the_same(api: httpx.Client, ada: int, probe: bytes) -> None:
    encoded = base64.b64encode(probe).decode()
    answers = [
        infer(api, probe, top_k=2),
        api.post("/infer", json={"image": encoded, "top_k": 2}).json(),
        api.post("/infer", json={"image": f"data:image/jpeg;base64,{encoded}", "top_k": 2}).json(),
        api.post("/infer", files={"image": probe}, data={"top_k": "2"}).json(),
    ]
    assert all(a["faces"] == answers[0]["faces"] for a in answers)


def test_everybody_in_a_group_is_found_largest_first(api: httpx.Client, data: Path) -> None:
    faces = infer(api, (data / "group.jpg").read_bytes())["faces"]
    assert len(faces) == 4
    areas = [(f["box"][2] - f["box"][0]) * (f["box"][3] - f["box"][1]) for f in faces]
    assert areas == sorted(areas, reverse=True)
    assert len(infer(api, (data / "group.jpg").read_bytes(), max_faces=2)["faces"]) == 2


def test_an_enrolment_by_json_reports_each_photo(
    api: httpx.Client, new_id: int, data: Path
) -> None:
    photos = [
        (data / "people/103/sunak.jpg").read_bytes(),
        (data / "group.jpg").read_bytes(),
        b"no image",
    ]
    images = [{"image": base64.b64encode(p).decode()} for p in photos]
    answer = api.post("/generate", json={"id": new_id, "images": images})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["id"], body["photos"]) == (new_id, 2)
    assert [i["used"] for i in body["images"]] == [True, True, False]
    assert [i["faces"] for i in body["images"]] == [1, 4, 0]
    assert "This is text" in body["images"][2]["reason"]


def test_without_a_usable_face_nothing_is_written(
    api: httpx.Client, ada: int, new_id: int, probe: bytes
) -> None:
    before = infer(api, probe)["gallery_version"]
    images = [{"image": base64.b64encode(b"no image").decode()}]
    answer = api.post("/generate", json={"id": new_id, "images": images})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert not answer.json()["images"][0]["used"]
    assert infer(api, probe)["gallery_version"] == before


def test_replacing_and_appending(api: httpx.Client, new_id: int, data: Path) -> None:
    def generate(photo: str, mode: str) -> int:
        files = {"images": (data / photo).read_bytes()}
        answer = api.post("/generate", data={"id": str(new_id), "mode": mode}, files=files)
        return int(answer.json()["photos"])

    assert generate("people/101/macron_2014.jpg", "replace") == 1
    assert generate("people/101/macron_2025.jpg", "append") == 2
    assert generate("people/101/macron_2025.jpg", "replace") == 1


def test_what_was_written_is_seen_at_once_by_every_replica(
    api: httpx.Client, new_id: int, data: Path
) -> None:
    photo = (data / "people/104/collins.jpg").read_bytes()
    for name in ("one", "two", "three"):
        answer = api.post(
            "/generate", data={"id": str(new_id), "name": name}, files={"images": photo}
        )
        version = answer.json()["gallery_version"]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: infer(api, photo), range(12)))
        assert {f["faces"][0]["name"] for f in found} == {name}
        assert all(f["gallery_version"] >= version for f in found)


def test_enrolments_that_come_together_are_all_kept(api: httpx.Client, data: Path) -> None:
    photo = (data / "people/102/obama.jpg").read_bytes()

    def enrol(person: int) -> httpx.Response:
        return api.post("/generate", data={"id": str(person)}, files={"images": photo})

    ids = range(2_000_000, 2_000_012)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(enrol, ids))
    assert [a.status_code for a in answers] == [200] * len(ids)
    candidates = infer(api, photo, top_k=20)["faces"][0]["candidates"]
    assert set(ids) <= {c["id"] for c in candidates}


def test_the_stages_are_timed(api: httpx.Client, probe: bytes) -> None:
    answer = api.post("/infer", files={"image": probe})
    timing = answer.headers["server-timing"]
    stages = [part.partition(";")[0] for part in timing.split(", ")]
    assert stages == ["read", "decode", "detect", "embed", "gallery", "match"]
    worked = dict(re.findall(r"(\w+);dur=[\d.]+;work=([\d.]+)", timing))
    assert worked.keys() == {"decode", "detect", "match"}
    assert float(worked["detect"]) > 0


def test_health_and_readiness(api: httpx.Client) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    ready = api.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["checks"]["triton"] == "ok"
    assert ready.json()["checks"]["gallery"]["loaded"] is True


def test_the_api_is_described(api: httpx.Client) -> None:
    assert api.get("/docs").status_code == 200
    paths = api.get("/openapi.json").json()["paths"]
    assert {"/infer", "/generate", "/healthz", "/readyz"} <= paths.keys()


def test_a_request_has_one_id(api: httpx.Client) -> None:
    answer = api.get("/nowhere", headers={"X-Request-ID": "mine-1"})
    assert answer.headers.get_list("x-request-id") == ["mine-1"]
    assert answer.json()["request_id"] == "mine-1"
