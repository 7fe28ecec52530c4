"""What enrolling tells: conflicts, poor photos, and likely duplicates, through HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageFilter

ARDERN = [f"2576/photo_{n:02d}.jpg" for n in range(1, 7)]
MACRON = "people/101/macron_2025.jpg"
OBAMA = "people/102/obama.jpg"


@pytest.fixture(autouse=True)
def _nobody(api: httpx.Client) -> Iterator[None]:
    yield
    api.delete("/identities", params={"confirm": "all"}).raise_for_status()


class People:
    def __init__(self, api: httpx.Client, data: Path) -> None:
        self.api = api
        self._data = data

    def read(self, photo: str) -> bytes:
        return (self._data / photo).read_bytes()

    def ask(
        self, person: int, photos: Sequence[str | bytes], place: str = "", **fields: str
    ) -> httpx.Response:
        files = [("images", p if isinstance(p, bytes) else self.read(p)) for p in photos]
        return self.api.post(f"{place}/generate", data={"id": str(person), **fields}, files=files)

    def enrol(self, person: int, *photos: str | bytes, **fields: str) -> dict[str, Any]:
        return dict(self.ask(person, photos, **fields).raise_for_status().json())


@pytest.fixture
def people(api: httpx.Client, data: Path) -> People:
    return People(api, data)


def test_photos_of_one_person_have_no_conflicts(people: People) -> None:
    assert people.enrol(2576, *ARDERN)["conflicts"] == []
    assert people.enrol(2576, *ARDERN, mode="append")["conflicts"] == []
    assert people.enrol(102, OBAMA)["conflicts"] == []


def test_a_photo_of_somebody_else_is_told(people: People) -> None:
    (conflict,) = people.enrol(2576, "names.json", *ARDERN[:3], OBAMA)["conflicts"]
    assert (conflict["type"], conflict["images"]) == ("other-person", [4])
    assert (conflict["id"], conflict["name"]) == (None, None)
    assert conflict["similarity"] < 0.4
    (added,) = people.enrol(2576, MACRON, mode="append")["conflicts"]
    assert (added["type"], added["images"]) == ("other-person", [0])


def test_somebody_who_is_enrolled_already_is_told_whichever_replica_answers(
    people: People,
) -> None:
    people.enrol(2576, *ARDERN[:3], name="Jacinda Ardern")
    for person in range(1, 9):
        answer = people.enrol(person, ARDERN[3])
        first = next(c for c in answer["conflicts"] if c["id"] == 2576)
        assert (first["type"], first["images"]) == ("already-enrolled", [0])
        assert first["name"] == "Jacinda Ardern"
        assert first["similarity"] > 0.63
        assert first["confidence"] > 0.5
        people.api.delete(f"/identities/{person}").raise_for_status()


def test_of_those_who_enrol_one_face_at_once_at_most_one_hears_of_nobody(people: People) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: people.enrol(n, ARDERN[0]), range(1, 7)))
    assert sum(answer["conflicts"] == [] for answer in answers) <= 1


def test_another_collection_tells_nothing(people: People) -> None:
    people.enrol(2576, *ARDERN[:3], name="Jacinda Ardern")
    place = "/collections/conflicts"
    answer = people.ask(1, [ARDERN[3]], place)
    assert answer.json()["conflicts"] == []
    assert people.api.get(f"{place}/duplicates").json()["duplicates"] == []
    people.api.delete(f"{place}/identities", params={"confirm": "all"}).raise_for_status()


def test_a_poor_photo_is_told_and_forced(people: People, data: Path) -> None:
    with Image.open(data / OBAMA) as photo:
        blurred, small = io.BytesIO(), io.BytesIO()
        soft = ImageFilter.GaussianBlur(photo.width / 30)
        photo.convert("RGB").filter(soft).save(blurred, "JPEG")
        (face,) = people.api.post("/detect", files={"image": people.read(OBAMA)}).json()["faces"]
        scale = 18 / (face["box"][2] - face["box"][0])
        size = (round(photo.width * scale), round(photo.height * scale))
        photo.convert("RGB").resize(size).save(small, "PNG")
    refused = people.ask(102, [blurred.getvalue(), small.getvalue()])
    assert refused.status_code == 422, refused.text
    body = refused.json()
    assert body["type"] == "urn:faces:problem:no-usable-face"
    assert [i["gate"] for i in body["images"]] == ["too-blurred", "too-small"]
    assert all(i["reason"].startswith("The face is too ") and i["box"] for i in body["images"])
    assert people.api.get("/identities/102").status_code == 404

    partly = people.enrol(102, OBAMA, blurred.getvalue())
    assert [i["used"] for i in partly["images"]] == [True, False]
    assert partly["photos"] == 1
    assert people.enrol(102, blurred.getvalue(), force="true")["photos"] == 1
    # Identification looks at every face.
    assert len(people.api.post("/infer", files={"image": blurred.getvalue()}).json()["faces"]) == 1


def test_likely_duplicates_until_they_are_merged(people: People) -> None:
    people.enrol(2576, *ARDERN[:3], name="Jacinda Ardern")
    people.enrol(7, *ARDERN[3:6], name="J. Ardern")
    people.enrol(102, OBAMA)
    found = people.api.get("/duplicates").raise_for_status().json()
    (pair,) = found["duplicates"]
    assert (pair["a"]["id"], pair["b"]["id"]) == (7, 2576)
    assert (pair["a"]["name"], pair["b"]["photos"]) == ("J. Ardern", 3)
    assert pair["similarity"] > found["threshold"]
    assert (found["found"], found["next"], found["total"]) == (1, None, 3)
    everybody = people.api.get("/duplicates", params={"threshold": -1, "limit": 2})
    assert len(everybody.json()["duplicates"]) == 2
    assert everybody.json()["found"] == 3

    def asked() -> dict[str, Any]:
        answer = people.api.post("/infer", files={"image": people.read("2576/photo_07.jpg")})
        return dict(answer.raise_for_status().json()["faces"][0])

    doubt = asked()
    assert (doubt["id"], doubt["name"], len(doubt["candidates"])) == (None, None, 1)
    assert {c["id"]: c["name"] for c in doubt["ambiguous"]} == {
        2576: "Jacinda Ardern",
        7: "J. Ardern",
    }
    people.api.post("/identities/2576/merge", json={"from": [7]}).raise_for_status()
    assert people.api.get("/duplicates").json()["duplicates"] == []
    named = asked()
    assert (named["id"], named["ambiguous"]) == (2576, [])


@pytest.mark.parametrize("params", [{"limit": 0}, {"threshold": 2}, {"cursor": -2}])
def test_wrong_questions_for_duplicates(people: People, params: dict[str, int]) -> None:
    answer = people.api.get("/duplicates", params=params)
    assert answer.status_code == 400
    assert next(iter(params)) in answer.json()["detail"]
