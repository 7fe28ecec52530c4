"""The retention in requests: every way in, what is refused and how, and what is stored of it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from serving.api.request_schemas import IdentityPatch
from serving.api.retention import retention_of
from serving.errors import UnusableRetention
from serving.gallery.retention import seconds_of
from tests.support.api import Api, detail_of

NOW = seconds_of("2026-11-29T12:00:00Z")
LATER = "2099-01-31T00:00:00Z"
CONSENT = {"kind": "consent", "reference": "form 12", "date": "2026-01-31", "text_version": "3"}
JPEG = {"Content-Type": "image/jpeg"}


def read(**given: Any) -> dict[str, Any]:
    return retention_of(IdentityPatch.model_validate(given), NOW)


def test_only_what_is_given_changes() -> None:
    assert read(name="Ada") == {}
    assert read(expires_at=None, legal_basis=None) == {"expires_at": None, "legal_basis": None}
    assert read(expires_at="2099-01-31T01:00:00.5+01:00") == {"expires_at": LATER}
    assert read(legal_basis=CONSENT) == {"legal_basis": CONSENT}
    assert read(legal_basis={"kind": "contract", "date": None}) == {
        "legal_basis": {"kind": "contract"}
    }


@pytest.mark.parametrize(
    "given",
    [
        {"expires_at": "2026-11-29T12:00:00Z"},
        {"expires_at": "2226-11-29T12:00:00Z"},
        {"legal_basis": {**CONSENT, "date": "2026-12-02"}},
    ],
)
def test_what_cannot_be_meant_now_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UnusableRetention):
        read(**given)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"expires_at": "2099-01-31"}, "expires_at: should be a date and a time"),
    ({"expires_at": "2099-01-31T00:00:00"}, "with a time zone, as 2027-01-31T00:00:00Z"),
    ({"expires_at": ""}, "expires_at: should be"),
    ({"expires_at": "2099-02-30T00:00:00Z"}, "that exist"),
    ({"expires_at": "never"}, "expires_at: should be"),
    ({"legal_basis": {}}, "legal_basis.kind"),
    ({"legal_basis": {"kind": "Consent"}}, "did you mean consent?"),
    ({"legal_basis": {**CONSENT, "date": "31.1.2026"}}, "legal_basis.date: should be a date"),
    ({"legal_basis": {**CONSENT, "reference": ""}}, "legal_basis.reference: has 1 to 200"),
    ({"legal_basis": {**CONSENT, "reference": "a\u202eb"}}, "the direction of the text"),
    ({"legal_basis": {**CONSENT, "withdrawn_at": LATER}}, "legal_basis.withdrawn_at is no option"),
]


@pytest.mark.parametrize(("given", "sentence"), WRONG, ids=str)
def test_what_is_no_retention_is_refused_in_every_way_in(
    given: dict[str, Any], sentence: str
) -> None:
    api = Api()
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items()}
    body = {"id": 7, "images": [{"image": "aGk="}]}
    answers = [
        api.request("PATCH", "/identities/7", json=given),
        api.post("/generate", json={**body, **given}),
        api.post("/generate", data={"id": "7", **texts}, files={"images": b"photo"}),
        api.post("/generate", params={"id": "7", **texts}, content=b"photo", headers=JPEG),
    ]
    for answer in answers:
        assert sentence in detail_of(answer, 400)
    assert api.pipeline.asked == []


@pytest.mark.parametrize("value", [5, True, ["x"], {"at": LATER}])
def test_other_kinds_of_json_are_refused(value: Any) -> None:
    api = Api()
    detail_of(api.request("PATCH", "/identities/7", json={"expires_at": value}), 400)
    if not isinstance(value, dict):
        detail_of(api.request("PATCH", "/identities/7", json={"legal_basis": value}), 400)


@pytest.mark.parametrize("text", ["consent", "[1]", '{"kind": ', "7", '{"kind": "consent"} x'])
def test_a_legal_basis_in_a_form_is_a_json_object(text: str) -> None:
    form = {"id": "7", "legal_basis": text}
    answer = Api().post("/generate", data=form, files={"images": b"photo"})
    assert "legal_basis" in detail_of(answer, 400)


def test_a_key_of_it_comes_once() -> None:
    form = {"id": "7", "legal_basis": '{"kind": "consent", "kind": "contract"}'}
    answer = Api().post("/generate", data=form, files={"images": b"photo"})
    assert "kind is given twice in legal_basis" in detail_of(answer, 400)


def test_dates_that_cannot_be_meant_are_a_422() -> None:
    api = Api()
    for given, sentence in (
        ({"expires_at": "2020-01-31T00:00:00Z"}, "is over"),
        ({"expires_at": "9999-01-31T00:00:00Z"}, "more than 100 years"),
        ({"legal_basis": {**CONSENT, "date": "2098-01-31"}}, "it is not ahead"),
    ):
        body = {"id": 7, "images": [{"image": "aGk="}], **given}
        for answer in (
            api.request("PATCH", "/identities/7", json=given),
            api.post("/generate", json=body),
        ):
            assert sentence in detail_of(answer, 422)
            assert answer.json()["type"] == "urn:faces:problem:unusable-retention"
    assert api.pipeline.asked == []


@pytest.mark.parametrize("way", ["json", "form", "query"])
def test_an_enrolment_has_a_retention_in_every_way_in(way: str) -> None:
    api = Api()
    given = {"expires_at": LATER, "legal_basis": CONSENT}
    texts = {"id": "7", "expires_at": LATER, "legal_basis": json.dumps(CONSENT)}
    if way == "json":
        body = {"id": 7, "images": [{"image": "aGk="}], **given}
        answer = api.post("/generate", json=body)
    elif way == "form":
        answer = api.post("/generate", data=texts, files={"images": b"photo"})
    else:
        answer = api.post("/generate", params=texts, content=b"photo", headers=JPEG)
    assert answer.status_code == 200, answer.text
    assert answer.json()["expires_at"] == LATER
    assert api.pipeline.asked[0]["retention"] == given


def test_a_second_ahead_is_taken() -> None:
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 30))
    body = {"id": 7, "images": [{"image": "aGk="}], "expires_at": expires}
    assert Api().post("/generate", json=body).json()["expires_at"] == expires
