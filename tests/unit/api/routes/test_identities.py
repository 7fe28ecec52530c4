from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from serving.errors import TimedOut, Unavailable
from serving.gallery import Person
from serving.gallery.erasure import Erasure, Left, Receipt
from serving.gallery.retention import seconds_of
from serving.matching.records import PeoplePage
from tests.support.api import Api, detail_of


@pytest.fixture
def listed() -> list[int]:
    """The ids of the people of `api`."""
    return []


@pytest.fixture
def endings() -> list[float | None]:
    """The ends before which `api` was asked for people."""
    return []


@pytest.fixture
def api(listed: list[int], endings: list[float | None]) -> Api:
    """One whose register holds people, in the order of their ids."""
    api = Api()

    async def page(
        collection: str, limit: int, after: int, ending: float | None = None
    ) -> PeoplePage:
        endings.append(ending)
        people = [Person(i, 1, None, {}, 0.0, 0.0) for i in sorted(listed) if i > after][:limit]
        return PeoplePage(people, len(listed), 17)

    api.register.page = page  # type: ignore[method-assign,assignment]
    return api


@pytest.mark.parametrize("people", range(8))
def test_pages_are_everybody_and_none_is_empty(api: Api, listed: list[int], people: int) -> None:
    listed += [7 * n for n in range(people)]
    for limit in range(1, 9):
        cursor, found, pages = -1, [], []
        while cursor is not None:
            answer = api.get(f"/identities?limit={limit}&cursor={cursor}").json()
            pages.append([person["id"] for person in answer["identities"]])
            found += pages[-1]
            cursor = answer["next"]
        assert found == listed
        assert len(pages) == max(1, -(-people // limit))
        assert all(len(page) == limit for page in pages[:-1])


@pytest.mark.parametrize("failure", [Unavailable("The store is away."), TimedOut("Too long.")])
def test_a_change_that_cannot_be_read_back_is_no_failed_write(failure: Exception) -> None:
    api = Api()

    async def describe(*args: Any) -> int:
        return 18

    async def person(*args: Any) -> None:
        raise failure

    api.register.describe = describe  # type: ignore[method-assign,assignment]
    api.register.person = person  # type: ignore[method-assign,assignment]
    answer = api.request("PATCH", "/identities/7", json={"name": "Ada"})
    assert "version 18" in detail_of(answer, 503)
    assert answer.json()["type"] == "urn:faces:problem:not-read-back"
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("character", ["a", "é", "王", "𞤀"])
@pytest.mark.parametrize("escaped", [True, False])
def test_metadata_is_counted_in_bytes_of_utf8(character: str, escaped: bool) -> None:
    api = Api()
    described: list[Any] = []

    async def describe(collection: str, person: int, details: dict[str, Any]) -> int:
        described.append(details["metadata"])
        return 18

    api.register.describe = describe  # type: ignore[method-assign]
    count, rest = divmod(4096 - len(b'{"t":""}'), len(character.encode()))
    text = character * count + "x" * rest

    def patch(text: str) -> httpx.Response:
        body = json.dumps({"metadata": {"t": text}}, ensure_ascii=escaped)
        headers = {"Content-Type": "application/json"}
        return api.request("PATCH", "/identities/7", content=body, headers=headers)

    patch(text)
    assert described == [{"t": text}]
    assert "4096 bytes" in detail_of(patch(text + "x"), 400)


@pytest.mark.parametrize("number", ["1e39", "-1e300", "1e999"])
def test_a_number_that_no_embedding_can_hold_is_told_so(api: Api, number: str) -> None:
    body = f'{{"model": "m", "embeddings": [[{number}, 0.5]]}}'
    headers = {"content-type": "application/json"}
    detail = detail_of(api.post("/identities/7/embeddings", content=body, headers=headers), 400)
    assert "too large" in detail or "finite number" in detail


def test_people_whose_retention_ends_are_asked_for_by_a_time(
    api: Api, listed: list[int], endings: list[float | None]
) -> None:
    listed.append(7)
    for text in ("2027-01-31T00:00:00Z", "2027-01-31T01:00:00%2B01:00"):
        answer = api.get(f"/identities?expires_before={text}").json()
        assert [person["id"] for person in answer["identities"]] == [7]
    api.get("/identities")
    assert endings == [1801353600.0, 1801353600.0, None]
    for text in ("2027-01-31", "soon", "1801353600", "2027-01-31T00:00:00", ""):
        detail = detail_of(api.get(f"/identities?expires_before={text}"), 400)
        assert "expires_before: should be a date and a time" in detail


@pytest.mark.parametrize("left", [(), (Left("default/x", "It is damaged."),)])
def test_a_withdrawal_answers_with_the_receipt_of_an_erasure(left: tuple[Left, ...]) -> None:
    api = Api()
    asked: list[tuple[str, int]] = []

    async def withdraw(collection: str, person: int, now: float) -> Erasure:
        asked.append((collection, person))
        return Erasure([Receipt("m", [person], 3, ["a"], ["b"], 18, now, now + 9)], left)

    api.register.withdraw = withdraw  # type: ignore[method-assign]
    answer = api.request("POST", "/collections/shop/identities/7/withdraw")
    assert answer.status_code == (207 if left else 200)
    receipt = answer.json()
    assert (receipt["id"], receipt["embeddings"], receipt["complete"]) == (7, 3, not left)
    assert seconds_of(receipt["withdrawn_at"]) <= receipt["galleries"][0]["time"]
    assert asked == [("shop", 7)]
