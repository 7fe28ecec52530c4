"""The routes of the audit: who may read which records, what is asked for, and where it is off."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml

from serving.keys import hash_of, new_key
from serving.settings import KeySettings
from serving.trail.paging import Reader
from serving.trail.places import Places, time_of
from serving.valid_keys import Keys
from tests.support.api import Api, detail_of
from tests.support.memory_store import MemoryStore
from tests.support.trails import Trails, looked_up

KEYS = {name: new_key() for name in ("auditor", "shop", "clerk", "boss")}
ENTRIES: dict[str, dict[str, Any]] = {
    "auditor": {"scopes": ["audit"]},
    "shop": {"scopes": ["audit"], "collections": ["shop"]},
    "clerk": {"scopes": ["identify", "enrol"]},
    "boss": {"scopes": ["admin"]},
}


def keys() -> Keys:
    entries = [{"name": n, "hash": hash_of(KEYS[n]), **e} for n, e in ENTRIES.items()]
    return Keys(KeySettings(required=True), {"FACES_KEYS": yaml.safe_dump({"keys": entries})}.get)


def as_(name: str) -> dict[str, dict[str, str]]:
    return {"headers": {"Authorization": f"Bearer {KEYS[name]}"}}


@pytest.fixture(scope="module")
def places() -> Places:
    """Three records of now, one of them of the collection shop."""
    trails = Trails(MemoryStore())
    trails.now = time.time()
    ended = time_of(trails.now)
    trails.write(
        [
            looked_up(7, request_id="a", ended=ended),
            looked_up(2**63 - 1, request_id="b", ended=ended, key="desk"),
            looked_up(7, request_id="c", ended=ended, collection="shop"),
        ]
    )
    return trails.places


@pytest.fixture
def api(places: Places) -> Api:
    return Api(keys=keys(), records=Reader(lambda: places))


def found(api: Api, path: str, caller: str = "auditor", **params: Any) -> str:
    answer = api.get(path, params=params, **as_(caller))
    assert answer.status_code == 200, answer.text
    return "".join(record["request_id"] for record in answer.json()["records"])


def test_an_auditor_reads_records_of_one_collection(api: Api) -> None:
    assert found(api, "/audit") == "ba"
    assert found(api, "/collections/shop/audit") == "c"
    assert found(api, "/audit", person=7) == "a"
    assert found(api, "/audit", person=2**63 - 1) == "b"
    assert found(api, "/audit", key="desk") == "b"
    assert found(api, "/audit", until="2020-01-01T00:00:00Z") == ""
    assert found(api, "/audit", since="2020-01-01T02:00:00+02:00") == "ba"
    assert found(api, "/audit", "boss") == "ba"


def test_a_page_says_where_it_ends(api: Api) -> None:
    first = api.get("/audit", params={"limit": 1}, **as_("auditor")).json()
    assert first["since"].endswith("T00:00:00Z")
    assert (first["look_ups"], first["expired_before"], first["problems"]) == (False, None, [])
    assert found(api, "/audit", cursor=first["next"]) == "a"


@pytest.mark.parametrize("path", ["/audit", "/audit/chains", "/collections/shop/audit"])
def test_who_may_not_read_the_audit_does_not(api: Api, path: str) -> None:
    assert "scope audit" in detail_of(api.get(path, **as_("clerk")), 403)
    assert "API key" in detail_of(api.get(path), 401)


def test_a_key_of_one_collection_reads_that_ones_records_and_no_chains(api: Api) -> None:
    assert found(api, "/collections/shop/audit", "shop") == "c"
    assert "collection 'default'" in detail_of(api.get("/audit", **as_("shop")), 403)
    for path in ("/audit/chains", "/collections/shop/audit/chains"):
        assert "all collections" in detail_of(api.get(path, **as_("shop")), 403)


def test_an_auditor_may_do_nothing_else(api: Api) -> None:
    for method, path in (("GET", "/identities"), ("POST", "/infer"), ("GET", "/collections")):
        detail_of(api.request(method, path, **as_("auditor")), 403)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=1e2",
        "since=yesterday",
        "since=2026-01-01",
        "since=0001-01-01T00:00:00Z",
        "person=-1",
        "person=9223372036854775808",
        "person=7&person=8",
        "key=",
        f"key={'a' * 201}",
        "cursor=x",
        "cursor=../../etc",
        "collection=shop",
        "until=%ff",
    ],
)
def test_hostile_options_are_refused(api: Api, query: str) -> None:
    detail_of(api.get(f"/audit?{query}", **as_("auditor")), 400)


@pytest.mark.parametrize("query", ["days=0", "days=32", "cursor=", "since=2026-01-01T00:00:00Z"])
def test_hostile_options_of_the_chains_are_refused(api: Api, query: str) -> None:
    detail_of(api.get(f"/audit/chains?{query}", **as_("auditor")), 400)


def test_chains_are_checked(api: Api, places: Places) -> None:
    answer = api.get("/audit/chains", **as_("auditor")).json()
    (chain,) = answer["chains"]
    assert (chain["first"], chain["records"], chain["lost"]) == (1, 3, 0)
    assert (chain["ended"], chain["problems"]) == (True, [])
    assert (answer["next"], answer["expired_before"]) == (None, None)


def test_where_the_audit_is_off_the_answer_says_how_to_switch_it_on() -> None:
    api = Api(keys=keys())
    for path in ("/audit", "/audit/chains"):
        answer = api.get(path, **as_("auditor"))
        assert "audit.objects.enabled: true" in detail_of(answer, 404)
        assert answer.json()["type"] == "urn:faces:problem:audit-off"


def test_it_is_served_without_keys_where_none_are_needed(places: Places) -> None:
    api = Api(records=Reader(lambda: places))
    assert api.get("/audit").status_code == 200


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"action": "Identify"}, "Identify is no action of the audit; did you mean identify?"),
        (
            {"since": "2027-01-31T00:00:00Z", "until": "2026-01-31T00:00:00Z"},
            "until (2026-01-31T00:00:00) has to be later than since (2027-01-31T00:00:00).",
        ),
    ],
)
def test_what_no_record_can_match_is_no_empty_answer(
    api: Api, params: dict[str, str], told: str
) -> None:
    answer = api.get("/audit", params=params, **as_("auditor"))
    assert detail_of(answer, 400) == told
