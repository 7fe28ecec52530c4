"""The audit's objects of a real service: look-ups, changes, an erasure, and the check of it all."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.settings import AppArgs
from serving.stack.config import StackSettings, serve_config
from serving.stack.credentials import credentials
from serving.trail import reading
from serving.trail.places import Places
from serving.trail.reading import Query


@pytest.fixture(scope="module")
def places(stack: StackSettings) -> Places:
    (application,) = serve_config(stack)["applications"]
    args = AppArgs.model_validate(application["args"])
    return Places.of(args, credentials=credentials(stack.folder))


@pytest.fixture(scope="module")
def photo(data: Path) -> bytes:
    return (data / "people/103/sunak.jpg").read_bytes()


def found(places: Places, query: Query) -> list[dict[str, Any]]:
    """The records, once there are some: they are written a moment after the answer."""
    until = time.monotonic() + 30
    while not (records := list(reading.search(places, query))):
        assert time.monotonic() < until
        time.sleep(0.2)
    return records


def test_a_look_up_is_a_record_of_its_answer(
    api: httpx.Client, places: Places, photo: bytes, new_id: int
) -> None:
    api.post("/generate", data={"id": str(new_id)}, files={"images": photo}).raise_for_status()
    request = uuid.uuid4().hex
    headers = {"X-Request-ID": request, "X-Verified-By": "ann, bob", "Content-Type": "image/jpeg"}
    answer = api.post("/infer", content=photo, headers=headers).json()
    (record,) = found(places, Query(request_id=request))
    assert (record["action"], record["outcome"], record["key"]) == ("identify", "done", "anonymous")
    assert record["verifiers"] == ["ann", "bob"]
    assert (record["model"], record["gallery_version"]) == (
        answer["model"],
        answer["gallery_version"],
    )
    (face,), (told,) = record["answers"][0]["faces"], answer["faces"]
    assert (face["id"], face["similarity"]) == (told["id"], told["similarity"]) != (None, None)
    assert record["began"] < record["ended"]


def test_an_erased_person_is_a_pseudonym_in_the_records(
    api: httpx.Client, places: Places, photo: bytes, new_id: int
) -> None:
    request = uuid.uuid4().hex
    headers = {"X-Request-ID": request}
    api.post(
        "/generate", data={"id": str(new_id)}, files={"images": photo}, headers=headers
    ).raise_for_status()
    (record,) = found(places, Query(person=new_id))
    assert (record["action"], record["ids"]) == ("enrol", [new_id])
    erased = api.delete(f"/identities/{new_id}", params={"erase": True})
    assert (erased.status_code, erased.json()["complete"]) == (200, True)
    (record,) = found(places, Query(request_id=request))
    assert record["ids"][0].startswith("p-")
    assert list(reading.search(places, Query(person=new_id))) == []


def test_the_api_answers_what_the_search_finds(
    api: httpx.Client, places: Places, photo: bytes, new_id: int
) -> None:
    request = uuid.uuid4().hex
    headers = {"X-Request-ID": request}
    api.post(
        "/generate", data={"id": str(new_id)}, files={"images": photo}, headers=headers
    ).raise_for_status()
    records = found(places, Query(request_id=request))
    answer = api.get("/audit", params={"request_id": request}).raise_for_status().json()
    assert (answer["records"], answer["look_ups"], answer["problems"]) == (records, True, [])
    by_person = api.get("/audit", params={"person": new_id, "limit": 1}).raise_for_status().json()
    assert by_person["records"][0]["ids"] == [new_id]
    elsewhere = api.get("/collections/elsewhere/audit", params={"request_id": request})
    assert elsewhere.raise_for_status().json()["records"] == []
    chains = api.get("/audit/chains").raise_for_status().json()["chains"]
    assert chains
    assert [chain["problems"] for chain in chains if chain["problems"]] == []


def test_the_chains_are_whole(places: Places) -> None:
    reports, expired = reading.check(places)
    assert reports
    assert [problem for report in reports for problem in report.problems] == []
    assert (sum(report.lost for report in reports), expired) == (0, None)
