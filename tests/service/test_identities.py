"""Who is enrolled: listing, describing, merging, deleting and erasing through HTTP."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

Enrol = Callable[[int], dict[str, Any]]


@pytest.fixture
def enrol(api: httpx.Client, data: Path) -> Enrol:
    photo = (data / "people/103/sunak.jpg").read_bytes()

    def enrol(person: int) -> dict[str, Any]:
        answer = api.post("/generate", data={"id": str(person)}, files={"images": photo})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return enrol


def test_a_person_is_shown_renamed_and_deleted(
    api: httpx.Client, enrol: Enrol, new_id: int
) -> None:
    version = enrol(new_id)["gallery_version"]
    shown = api.get(f"/identities/{new_id}").json()
    assert (shown["id"], shown["name"], shown["photos"]) == (new_id, None, 1)
    assert shown["gallery_version"] >= version
    patch = {"name": "Eve", "metadata": {"desk": "4ü"}}
    renamed = api.patch(f"/identities/{new_id}", json=patch).json()
    assert (renamed["name"], renamed["metadata"]) == ("Eve", {"desk": "4ü"})
    assert renamed["created"] == shown["created"] < renamed["updated"]
    removed = api.patch(f"/identities/{new_id}", json={"name": None}).json()
    assert (removed["name"], removed["metadata"]) == (None, {"desk": "4ü"})
    assert api.delete(f"/identities/{new_id}").status_code == 200
    assert api.get(f"/identities/{new_id}").status_code == 404


def test_people_are_listed_in_pages(api: httpx.Client, enrol: Enrol) -> None:
    ids = [3_000_000, 3_000_001, 3_000_002]
    for person in ids:
        enrol(person)
    page = api.get("/identities", params={"limit": 2, "cursor": ids[0] - 1}).json()
    assert [p["id"] for p in page["identities"]] == ids[:2]
    assert page["total"] >= 3
    after = api.get("/identities", params={"limit": 2, "cursor": page["next"]}).json()
    assert after["identities"][0]["id"] == ids[2]


def test_records_of_one_person_become_one(api: httpx.Client, enrol: Enrol) -> None:
    ids = [3_100_000, 3_100_001, 3_100_002]
    for person in ids:
        enrol(person)
    merged = api.post(f"/identities/{ids[0]}/merge", json={"from": ids[1:]})
    assert merged.status_code == 200, merged.text
    assert merged.json()["photos"] == 3
    assert [api.get(f"/identities/{i}").status_code for i in ids] == [200, 404, 404]
    undone = api.post(f"/identities/{ids[0]}/unmerge", json={"from": [ids[2]]}).json()
    assert (undone["ids"], undone["undone"]) == ([ids[0], ids[2]], merged.json()["gallery_version"])
    assert api.get(f"/identities/{ids[0]}").json()["photos"] == 2
    again = api.post(f"/identities/{ids[2]}/undo", json={"version": undone["gallery_version"]})
    assert again.json()["ids"] == [ids[0], ids[2]]
    assert [api.get(f"/identities/{i}").status_code for i in ids] == [200, 404, 404]


def test_a_photo_becomes_another_persons(api: httpx.Client, enrol: Enrol) -> None:
    ids = [3_200_000, 3_200_001]
    enrol(ids[0])
    model = api.get("/identities").json()["model"]
    body = {"model": model, "embeddings": [[0.0, 1.0] + [0.0] * 510]}
    api.post(f"/identities/{ids[0]}/embeddings", json=body).raise_for_status()
    photos = api.get(f"/identities/{ids[0]}/photos").json()["photos"]
    wrong = photos[1]["photo"]
    moved = api.post(f"/identities/{ids[0]}/move", json={"photos": [wrong], "to": ids[1]})
    assert (moved.status_code, moved.json()["id"]) == (200, ids[1]), moved.text
    left = [api.get(f"/identities/{i}/photos").json()["photos"] for i in ids]
    assert [[p["photo"] for p in person] for person in left] == [[photos[0]["photo"]], [wrong]]
    again = api.post(f"/identities/{ids[0]}/move", json={"photos": [wrong], "to": ids[1]})
    assert again.json()["type"].endswith("unknown-photo")


def test_embeddings_that_were_made_elsewhere_are_added(api: httpx.Client, new_id: int) -> None:
    model = api.get("/identities").json()["model"]
    vectors = [[1.0] + [0.0] * 511, [0.5, 0.5] + [0.0] * 510]
    body = {"model": model, "embeddings": vectors}
    added = api.post(f"/identities/{new_id}/embeddings", json=body)
    assert added.status_code == 200, added.text
    assert added.json()["photos"] == 2
    again = api.post(f"/identities/{new_id}/embeddings", json={**body, "mode": "replace"})
    assert again.json()["photos"] == 2
    more = api.post(f"/identities/{new_id}/embeddings", json=body)
    assert more.json()["photos"] == 4
    other = api.post(
        f"/identities/{new_id}/embeddings", json={**body, "model": "facenet-other@0123456789ab"}
    )
    assert other.status_code == 422
    assert "facenet-other@0123456789ab" in other.json()["detail"]
    assert model in other.json()["detail"]


def test_an_erased_person_comes_with_a_receipt(
    api: httpx.Client, enrol: Enrol, new_id: int
) -> None:
    enrol(new_id)
    receipt = api.delete(f"/identities/{new_id}", params={"erase": "true"})
    assert receipt.status_code == 200, receipt.text
    body = receipt.json()
    assert (body["id"], body["embeddings"]) == (new_id, 1)
    assert body["galleries"][0]["objects_removed"]
    assert api.get(f"/identities/{new_id}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/identities/4000000", None, 404),
        ("DELETE", "/identities/4000000", None, 404),
        ("DELETE", "/identities/4000000?erase=true", None, 404),
        ("PATCH", "/identities/4000000", {"name": "x"}, 404),
        ("POST", "/identities/4000000/merge", {"from": [4_000_001]}, 404),
        ("POST", "/identities/4000000/merge", {"from": [4_000_000]}, 400),
        ("POST", "/identities/4000000/merge", {"from": []}, 400),
        ("PATCH", "/identities/4000000", {}, 400),
        ("PATCH", "/identities/4000000", {"metadata": {"x": "y" * 5000}}, 400),
        ("GET", "/identities/-1", None, 400),
        ("GET", "/identities/ada", None, 400),
        ("GET", f"/identities/{2**63}", None, 400),
        ("GET", "/identities?limit=0", None, 400),
        ("DELETE", "/identities", None, 400),
        ("DELETE", "/identities?confirm=yes", None, 400),
        ("POST", "/identities/1/embeddings", {"model": "x", "embeddings": [[1], [1, 2]]}, 400),
    ],
)
def test_what_cannot_be_done_is_told(
    api: httpx.Client, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    answer = api.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_everybody_is_forgotten(api: httpx.Client, enrol: Enrol, new_id: int) -> None:
    enrol(new_id)
    assert api.delete("/identities", params={"confirm": "all"}).status_code == 200
    assert api.get("/identities").json()["total"] == 0
    enrol(new_id)
    assert api.get("/identities").json()["total"] == 1


def test_forgetting_everybody_of_nobody_begins_no_collection(api: httpx.Client) -> None:
    place = "/collections/nobody-was-here/identities"
    answer = api.delete(place, params={"confirm": "all"})
    assert (answer.status_code, answer.json()) == (200, {"gallery_version": 0})
    assert api.get(place).json()["total"] == 0
    collections = api.get("/collections").json()["collections"]
    assert "nobody-was-here" not in [collection["name"] for collection in collections]


def test_nobody_is_named_from_the_end_of_the_retention_on(
    api: httpx.Client, data: Path, new_id: int
) -> None:
    """By the clock alone: the gallery does not change in between."""
    photo = (data / "people/104/collins.jpg").read_bytes()
    fields = {"id": str(new_id), "legal_basis": '{"kind": "consent", "reference": "form 12"}'}
    api.post("/generate", data=fields, files={"images": photo}).raise_for_status()
    end = math.floor(time.time()) + 2
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    shown = api.patch(f"/identities/{new_id}", json={"expires_at": text}).json()
    assert (shown["expires_at"], shown["legal_basis"]["reference"]) == (text, "form 12")

    def named() -> tuple[set[int], int]:
        answer = api.post("/infer", params={"top_k": 100}, files={"image": photo}).json()
        (face,) = answer["faces"]
        return {c["id"] for c in face["candidates"]}, answer["gallery_version"]

    ids, version = named()
    assert new_id in ids
    time.sleep(max(0.0, end - time.time()))
    ids, later = named()
    assert new_id not in ids
    assert later == version
    page = api.get("/identities", params={"expires_before": "2099-01-01T00:00:00Z"}).json()
    assert new_id in [person["id"] for person in page["identities"]]
    refused = api.patch(f"/identities/{new_id}", json={"expires_at": None})
    assert (refused.status_code, refused.json()["title"]) == (
        409,
        "The retention of this person has ended",
    )
    receipt = api.post(f"/identities/{new_id}/withdraw")
    assert receipt.status_code == 200, receipt.text
    assert receipt.json()["embeddings"] == 1
    assert receipt.json()["complete"]
    assert api.get(f"/identities/{new_id}").status_code == 404
