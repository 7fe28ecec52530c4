"""Every option of every route: unknown, misspelt, in capitals, twice, of the wrong kind."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.routing import APIRoute

from serving.api.build import ROUTERS
from serving.api.examples import Example
from serving.api.options import Taken, taken_of, value_of
from tests.support.api import Api

ROUTES = [r for router in ROUTERS for r in router.routes if isinstance(r, APIRoute)]
TAKEN = taken_of(ROUTES)
PHOTO = b"\xff\xd8 bytes that only the decoder looks into"
# How one might write a number; the first alone is taken for a whole one.
SPELLINGS = ("1", "01", "+1", " 1", "1.0", "1_0", "1e1", "true", '"1"', "１")
NUMBERS = {"1", "1.0", "1e1"}
# Of JSON the two in the middle are no JSON at all.
IN_JSON = ("1", "01", "+1", "1.0", "1_0", "1e1", "true", '"1"', '"１"')


@dataclass(frozen=True)
class Case:
    """One route, and a request that it takes."""

    route: APIRoute
    method: str

    @property
    def taken(self) -> Taken:
        return TAKEN[self.route.unique_id]

    @property
    def streams(self) -> bool:
        """Whether the body is a stream, whose lines are each a request of another route."""
        return self.route.path_format.endswith("/stream")

    @property
    def example(self) -> Example:
        example: Example = self.route.endpoint._faces_example  # type: ignore[attr-defined]
        return example

    def path(self, **instead: str) -> str:
        values = {"version": "1", **self.example.parameters, **instead}
        return self.route.path_format.format(
            **{name: quote(str(value), safe="") for name, value in values.items()}
        )

    def ask(
        self, api: Api, query: str = "", body: str | None = None, **instead: str
    ) -> httpx.Response:
        more: dict[str, Any] = {}
        if body is not None or self.example.body is not None:
            text = json.dumps(self.example.body) if body is None else body
            more = {"content": text, "headers": {"Content-Type": "application/json"}}
        return api.request(self.method, f"{self.path(**instead)}?{query}", **more)

    def __str__(self) -> str:
        return f"{self.method} {self.route.path_format}"


CASES = [Case(route, method) for route in ROUTES for method in sorted(route.methods or ())]
QUERIES = [
    (case, name)
    for case in CASES
    for name, kinds in case.taken.query.items()
    if not (case.streams and "object" in kinds)  # what is in it is checked for each line
]
FORMS = [
    case
    for case in CASES
    if not case.streams
    and "multipart/form-data"
    in (case.route.openapi_extra or {}).get("requestBody", {}).get("content", {})
]
FORM_OPTIONS = [(case, name) for case in FORMS for name in case.taken.query]
WITH_JSON = [case for case in CASES if case.example.body is not None and not case.streams]


@pytest.mark.parametrize("text", ["%C8%EC%FF", "%ED%A0%80", "a%ff"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_query_that_is_not_utf8_is_refused(case: Case, text: str) -> None:
    """It would count as question marks, in a name for good."""
    api = Api()
    for query in (f"name={text}", f"{text}=1"):
        answer = case.ask(api, query)
        assert answer.status_code == 400
        assert "not UTF-8" in answer.text
    assert not api.pipeline.asked


def text_of(case: Case, name: str) -> str:
    """A value of the option that is right."""
    kinds = case.taken.query[name]
    if name in ("mode", "confirm"):
        return {"mode": "append", "confirm": "all"}[name]
    if name.startswith("expires"):
        return "2099-01-31T00:00:00Z"
    if "object" in kinds:
        return '{"kind": "contract"}'
    return "true" if "boolean" in kinds else "Ada" if "string" in kinds else "1"


@pytest.fixture(scope="module")
def busy() -> Api:
    """One that may be asked; its register has no answers."""
    return Api()


@pytest.fixture
def api(busy: Api) -> Iterator[Api]:
    """The same, where nothing may happen."""
    busy.pipeline.asked.clear()
    yield busy
    assert not busy.pipeline.asked


def refused(answer: httpx.Response, *words: str) -> str:
    assert answer.status_code == 400, answer.text
    body = answer.json()
    detail = str(body["error" if "error" in body else "detail"])
    for word in words:
        assert word in detail, detail
    return detail


def test_all_routes_are_here() -> None:
    assert len(CASES) > 20
    assert len(FORMS) == 4
    assert len(QUERIES) > 15


@pytest.mark.parametrize("case", CASES, ids=str)
class TestEveryRoute:
    def test_an_unknown_option_is_refused_by_its_name(self, api: Api, case: Case) -> None:
        refused(case.ask(api, "made_up=1"), "made_up is no option of this request")
        refused(case.ask(api, "made_up="), "made_up")

    def test_a_body_is_refused_where_none_is_taken(self, api: Api, case: Case) -> None:
        if case.taken.body:
            return
        refused(case.ask(api, body='{"erase": true}'), "takes no body")

        async def parts() -> Any:
            yield b""
            yield b"x"

        refused(api.request(case.method, case.path(), content=parts()), "takes no body")

    def test_below_a_collection_it_is_the_same(self, api: Api, case: Case) -> None:
        answer = api.request(case.method, f"/collections/trial{case.path()}?made_up=1")
        if answer.status_code != 404:
            refused(answer, "made_up is no option")


@pytest.mark.parametrize(("case", "name"), QUERIES, ids=str)
class TestEveryOption:
    def test_twice(self, api: Api, case: Case, name: str) -> None:
        text = text_of(case, name)
        refused(case.ask(api, f"{name}={text}&{name}={text}"), f"{name} is given twice")

    def test_in_capitals(self, api: Api, case: Case, name: str) -> None:
        for other in (name.capitalize(), name.upper()):
            refused(
                case.ask(api, f"{other}={text_of(case, name)}"),
                f"{other} is no option of this request; did you mean {name}?",
            )

    def test_misspelt(self, api: Api, case: Case, name: str) -> None:
        if len(name) > 3:
            refused(case.ask(api, f"{name[:-2]}{name[-1]}=1"), f"did you mean {name}?")

    def test_of_the_wrong_kind(self, api: Api, case: Case, name: str) -> None:
        kinds = case.taken.query[name]
        if "string" not in kinds:
            for text in ("many", "", "null", "[1]", "{}", "NaN", "True", "yes", "9" * 5000):
                refused(case.ask(api, f"{name}={text}"), name)


@pytest.mark.parametrize("spelling", SPELLINGS)
class TestNumbers:
    """The same ten spellings at each numeric place."""

    @pytest.mark.parametrize(("case", "name"), QUERIES, ids=str)
    def test_in_a_query(self, busy: Api, case: Case, name: str, spelling: str) -> None:
        kinds = case.taken.query[name]
        if "integer" in kinds or "number" in kinds:
            answer = case.ask(busy, f"{name}={quote(spelling)}")
            self._check(answer, name, spelling, whole="number" not in kinds)

    @pytest.mark.parametrize(
        ("case", "name"),
        [(c, n) for c in CASES for n, kinds in c.taken.path.items() if "integer" in kinds],
        ids=str,
    )
    def test_in_a_path(self, busy: Api, case: Case, name: str, spelling: str) -> None:
        answer = case.ask(
            busy, "confirm=all" if "confirm" in case.taken.query else "", **{name: spelling}
        )
        self._check(answer, name, spelling, whole=True)

    @pytest.mark.parametrize(("case", "name"), FORM_OPTIONS, ids=str)
    def test_in_a_form(self, busy: Api, case: Case, name: str, spelling: str) -> None:
        kinds = case.taken.query[name]
        if "integer" not in kinds and "number" not in kinds:
            return
        answer = busy.post(case.path(), data={**needed(case), name: spelling}, files=files(case))
        self._check(answer, name, spelling, whole="number" not in kinds)

    @staticmethod
    def _check(answer: httpx.Response, name: str, spelling: str, *, whole: bool) -> None:
        right = spelling == "1" if whole else spelling in NUMBERS
        if right:  # whatever comes of it
            detail = str(answer.json().get("detail", ""))
            assert "whole number" not in detail
            assert "is a number" not in detail
        else:
            refused(answer, f"{name} is a {'whole number' if whole else 'number'}")


@pytest.mark.parametrize(
    ("case", "name"),
    [
        (case, name)
        for case in WITH_JSON
        for name, kinds in case.taken.query.items()
        if kinds & {"integer", "number"}
    ],
    ids=str,
)
@pytest.mark.parametrize("spelling", IN_JSON)
def test_numbers_in_json_are_read_as_in_a_query(
    busy: Api, case: Case, name: str, spelling: str
) -> None:
    body = json.dumps({**case.example.body, name: "HERE"}).replace('"HERE"', spelling)
    answer = case.ask(busy, body=body)
    whole = "number" not in case.taken.query[name]
    if spelling == "1" or (not whole and spelling in NUMBERS - {"1e1"}):
        assert answer.status_code == 200, answer.text
    else:
        refused(answer)


@pytest.mark.parametrize(
    ("case", "name"),
    [(c, n) for c in WITH_JSON for n, kinds in c.taken.query.items() if "boolean" in kinds],
    ids=str,
)
@pytest.mark.parametrize("spelling", ["1", "0", '"true"', "null", '"yes"', "1.0"])
def test_booleans_in_json_are_true_and_false(
    api: Api, case: Case, name: str, spelling: str
) -> None:
    body = json.dumps({**case.example.body, name: "HERE"}).replace('"HERE"', spelling)
    refused(case.ask(api, body=body), name)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "x", "embeddings": [[True, 0.5]]},
        {"model": "x", "embeddings": [["0.1", 0.5]]},
        {"model": "x", "embeddings": [[0.1, None]]},
    ],
)
def test_embeddings_are_numbers(api: Api, body: dict[str, Any]) -> None:
    refused(api.post("/identities/7/embeddings", json=body), "embeddings")


@pytest.mark.parametrize("case", WITH_JSON, ids=str)
class TestJson:
    def test_each_key_twice(self, api: Api, case: Case) -> None:
        for key, value in case.example.body.items():
            pair = f"{json.dumps(key)}: {json.dumps(value)}"
            whole = json.dumps(case.example.body)
            detail = refused(case.ask(api, body=f"{whole[:-1]}, {pair}}}"))
            assert detail == f"{key} is given twice in the JSON."

    def test_a_key_twice_that_is_written_in_two_ways(self, api: Api, case: Case) -> None:
        body = case.example.body or {"version": 1}  # nothing is needed for an undo
        key, value = next(iter(body.items()))
        escaped = f'"\\u{ord(key[0]):04x}{key[1:]}": {json.dumps(value)}'
        whole = json.dumps(body)
        refused(case.ask(api, body=f"{whole[:-1]}, {escaped}}}"), f"{key} is given twice")

    def test_each_key_in_capitals_and_one_that_is_made_up(self, api: Api, case: Case) -> None:
        for key, value in case.example.body.items():
            rest = {k: v for k, v in case.example.body.items() if k != key}
            body = json.dumps({key.upper(): value, **rest})
            refused(case.ask(api, body=body), f"{key.upper()} is no option", f"did you mean {key}?")
        body = json.dumps({**case.example.body, "made_up": 1})
        refused(case.ask(api, body=body), "made_up is no option of this request")


def test_a_misspelt_key_deep_inside_is_named_with_its_place(api: Api) -> None:
    body: dict[str, Any] = {"id": 7, "images": [{"imagee": "QUJD"}]}
    refused(
        api.post("/generate", json=body),
        "images.0.imagee is no option of this request; did you mean images.0.image?",
    )
    tensor = {"name": "IMAGE", "shape": [1], "datatype": "BYTES", "data": ["QUJD"]}
    body = {"inputs": [tensor], "parameters": {"treshold": 0.5}}
    path = "/v2/models/face-identification/infer"
    refused(api.post(path, json=body), "did you mean parameters.threshold?")
    for key in ("timeout", "priority", "sequence_id"):
        body = {"inputs": [tensor], "parameters": {key: 1}}
        refused(api.post(path, json=body), f"parameters.{key} is no option")
    refused(api.post(path, json={"inputs": [{**tensor, "Shape": [1]}]}), "inputs.0.shape?")
    refused(api.post(path, json={"inputs": [tensor], "model_name": "other"}), "model_name")


def test_keys_inside_of_metadata_are_the_callers_but_each_comes_once(api: Api) -> None:
    body = '{"metadata": {"desk": 1, "Desk": 2, "a": {"desk": 1, "b": [{"desk": 3}, {"desk": 4}]}}}'
    headers = {"Content-Type": "application/json"}
    answer = api.request("PATCH", "/identities/7", content=body, headers=headers)
    assert answer.status_code == 500, answer.text  # the register was asked: it has no answers
    body = '{"metadata": {"a": {"desk": 1, "b": "}", "desk": 2}}}'
    answer = api.request("PATCH", "/identities/7", content=body, headers=headers)
    refused(answer, "desk is given twice")


def needed(case: Case) -> Mapping[str, str]:
    return {"id": "7"} if "id" in case.taken.query else {}


def files(case: Case) -> dict[str, bytes]:
    names = ("image_a", "image_b") if "verify" in case.route.path else ("image",)
    return dict.fromkeys(names, PHOTO)


@pytest.mark.parametrize(("case", "name"), FORM_OPTIONS, ids=str)
class TestForms:
    def test_in_capitals(self, api: Api, case: Case, name: str) -> None:
        data = {**needed(case), name.upper(): text_of(case, name)}
        refused(
            api.post(case.path(), data=data, files=files(case)),
            f"{name.upper()} is no option of this request; did you mean {name}?",
        )

    def test_twice(self, api: Api, case: Case, name: str) -> None:
        data = {**needed(case), name: ["1", "2"]}
        refused(
            api.post(case.path(), data=data, files=files(case)),
            f"{name} is given twice, as 1 and 2.",
        )

    def test_in_the_query_and_in_the_form(self, api: Api, case: Case, name: str) -> None:
        kinds = case.taken.query[name]
        one, other = ("true", "false") if "boolean" in kinds else ("1", "0")
        data, path = {**needed(case), name: one}, f"{case.path()}?{name}={other}"
        refused(api.post(path, data=data, files=files(case)), f"{name} is given twice")

    def test_the_same_in_both_is_no_contradiction(self, busy: Api, case: Case, name: str) -> None:
        text = text_of(case, name)
        data, path = {**needed(case), name: text}, f"{case.path()}?{name}={text}"
        assert busy.post(path, data=data, files=files(case)).status_code == 200


@pytest.mark.parametrize("case", FORMS, ids=str)
def test_an_unknown_field_of_a_form_is_refused_by_its_name(api: Api, case: Case) -> None:
    data = {**needed(case), "made_up": "1"}
    answer = api.post(case.path(), data=data, files=files(case))
    refused(answer, "made_up is no option of this request")


def test_what_a_caller_writes_is_shown_short_and_without_control_characters(api: Api) -> None:
    detail = refused(api.get(f"/healthz?{quote('x' * 500 + chr(27))}=1"))
    assert len(detail) < 200
    assert "\x1b" not in refused(api.get(f"/healthz?{quote(chr(27) + '[2J')}=1"))


@pytest.mark.parametrize(
    "header", ["If-Match", "If-None-Match", "If-Unmodified-Since", "Idempotency-Key"]
)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_change_with_a_condition_that_is_not_checked_is_refused(
    busy: Api, case: Case, header: str
) -> None:
    path = case.path().removesuffix("/stream")
    asks = case.method == "GET" or path.endswith(("infer", "verify", "detect"))
    query = "confirm=all" if "confirm" in case.taken.query else ""
    answer = busy.request(case.method, f"{case.path()}?{query}", headers={header: '"x"'})
    if asks:
        assert header not in answer.text
    else:
        refused(answer, header)


def test_minus_zero_is_zero_wherever_an_id_is_given() -> None:
    api = Api()
    encoded = base64.b64encode(PHOTO).decode()
    body = f'{{"id": -0, "images": [{{"image": "{encoded}"}}]}}'
    for answer in (
        api.post("/generate", content=body, headers={"content-type": "application/json"}),
        api.post("/generate", data={"id": "-0"}, files={"images": PHOTO}),
    ):
        assert answer.json()["id"] == 0
    assert value_of("id", "-0", frozenset({"integer"})) == 0  # of a path or a query


def test_the_files_of_the_page_take_whatever_a_link_is_given() -> None:
    assert Api().get("/?utm_source=mail").status_code == 200


def test_a_number_that_is_written_in_two_ways_is_no_contradiction() -> None:
    for query, body in (("1", 1.0), ("1.0", 1), ("5e-1", 0.5)):
        answer = Api().post(f"/infer?threshold={query}", json={"image": "QUJD", "threshold": body})
        assert answer.status_code == 200, answer.text
    answer = Api().post("/infer?threshold=1", json={"image": "QUJD", "threshold": 0.9})
    refused(answer, "threshold is given twice")
