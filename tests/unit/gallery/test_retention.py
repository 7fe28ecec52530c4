"""Times and legal bases: what is read of them, what is refused, and when a retention ends."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gallery.retention import (
    day,
    end_of,
    merged,
    moment_problem,
    retention_problem,
    seconds_of,
    text_of,
    utc,
)

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=timezone.utc).timestamp()
CONSENT = {"kind": "consent", "reference": "form 12", "date": "2026-11-28", "text_version": "3"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2027-01-31T00:00:00Z", "2027-01-31T00:00:00Z"),
        ("2027-01-31t00:00:00z", "2027-01-31T00:00:00Z"),
        ("2027-01-31T01:30:00+01:30", "2027-01-31T00:00:00Z"),
        ("2027-01-30T19:00:00-05:00", "2027-01-31T00:00:00Z"),
        ("2027-01-31T00:00:00.999999Z", "2027-01-31T00:00:00Z"),
    ],
)
def test_times_are_told_in_utc_and_whole_seconds(text: str, expected: str) -> None:
    assert utc(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "tomorrow", "2027", "2027-01-31", "2027-01-31T00:00:00", "2027-01-31 00:00:00Z"),
        *("2027-02-30T00:00:00Z", "2027-01-31T24:00:00Z", "2027-01-31T00:00:60Z"),
        *("2027-01-31T00:00:00+24:00", "2027-01-31T00:00:00 00:00", "2027-01-31T00:00:00Z\n"),
        *("٢٠٢٧-01-31T00:00:00Z", "10000-01-01T00:00:00Z", "1801353600", "20270131T000000Z"),
    ],
)
def test_other_texts_are_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="with a time zone, as 2027-01-31T00:00:00Z"):
        utc(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1969-12-31T23:59:59Z", "is before 1970"),
        ("1970-01-01T00:00:00Z", "is before 1970"),
        ("0001-01-01T00:00:00+01:00", "is before 1970"),
        ("9999-12-31T23:59:59-01:00", "is after the year 9999"),
    ],
)
def test_a_time_that_exists_is_not_told_to_exist(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        utc(text)


def test_a_plus_that_an_address_made_a_blank_is_told() -> None:
    with pytest.raises(ValueError, match=r"in an address the \+ of a zone is written %2B"):
        utc("2027-01-31T00:00:00 01:00")


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_is_refused(text: str) -> None:
    try:
        time = utc(text)
    except ValueError:
        return
    assert utc(time) == time


@given(st.integers(1, 253402300799))
def test_seconds_survive_as_text(seconds: int) -> None:
    assert seconds_of(text_of(seconds)) == seconds
    assert utc(text_of(seconds)) == text_of(seconds)


@pytest.mark.parametrize("text", ["2027-02-29", "27-01-31", "2027-1-31", "20270131", "", "x"])
def test_other_texts_are_no_dates(text: str) -> None:
    with pytest.raises(ValueError, match="a date that exists"):
        day(text)


def test_a_retention_ends_at_the_date_or_with_the_consent() -> None:
    withdrawn = {**CONSENT, "withdrawn_at": "2026-12-01T00:00:00Z"}
    assert end_of({}) == end_of({"expires_at": None, "legal_basis": CONSENT}) == math.inf
    assert text_of(end_of({"expires_at": "2027-01-31T00:00:00Z"})) == "2027-01-31T00:00:00Z"
    both = {"expires_at": "2027-01-31T00:00:00Z", "legal_basis": withdrawn}
    assert text_of(end_of(both)) == "2026-12-01T00:00:00Z"
    earlier = {"expires_at": "2026-11-30T00:00:00Z", "legal_basis": withdrawn}
    assert text_of(end_of(earlier)) == "2026-11-30T00:00:00Z"


def test_a_merged_record_ends_with_the_first_that_ends() -> None:
    withdrawn = {**CONSENT, "withdrawn_at": "2026-12-01T00:00:00Z"}
    assert merged([{"name": "Ada"}, {"name": "Eve", "metadata": {"a": 1}}]) == {
        "name": "Ada",
        "metadata": {"a": 1},
    }
    later, sooner = {"expires_at": "2028-01-01T00:00:00Z"}, {"expires_at": "2027-01-01T00:00:00Z"}
    assert merged([later, sooner, {}]) == sooner
    assert merged([{"name": "Ada", "expires_at": None}, later]) == {"name": "Ada", **later}
    of_withdrawn = merged([{"legal_basis": CONSENT, **later}, {"legal_basis": withdrawn}])
    assert of_withdrawn == {"legal_basis": CONSENT, "expires_at": "2026-12-01T00:00:00Z"}


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"expires_at": None, "legal_basis": None},
        {"expires_at": "2020-01-31T00:00:00Z"},  # over: stored and imported records may be
        {"legal_basis": CONSENT},
        {"legal_basis": {"kind": "contract"}},
        {"legal_basis": {**CONSENT, "withdrawn_at": "2026-12-01T00:00:00Z"}},
    ],
)
def test_what_can_be_stored(details: dict[str, Any]) -> None:
    assert retention_problem(details) is None


@pytest.mark.parametrize(
    ("details", "sentence"),
    [
        ({"expires_at": 5}, "expires_at should be"),
        ({"expires_at": "2027-01-31T00:00:00+00:00"}, "expires_at should be"),
        ({"legal_basis": "consent"}, "legal_basis is an object"),
        ({"legal_basis": {}}, "The kind of a legal_basis is one of consent, contract"),
        ({"legal_basis": {"kind": ["consent"]}}, "The kind"),
        ({"legal_basis": {"kind": "consent", "by": "Eve"}}, "legal_basis is an object"),
        ({"legal_basis": {"kind": "consent", "reference": 5}}, "reference: is text."),
        ({"legal_basis": {"kind": "consent", "reference": "x" * 201}}, "reference: has 1 to"),
        ({"legal_basis": {"kind": "consent", "text_version": "a\x00"}}, "text_version: has no"),
        ({"legal_basis": {"kind": "consent", "date": 5}}, "The date of a legal_basis should"),
        ({"legal_basis": {"kind": "consent", "date": "2027-02-29"}}, "The date of"),
        ({"legal_basis": {"kind": "consent", "withdrawn_at": True}}, "withdrawn_at should be"),
        (
            {"legal_basis": {"kind": "contract", "withdrawn_at": "2026-12-01T00:00:00Z"}},
            "Only a consent can be withdrawn.",
        ),
    ],
)
def test_what_cannot_be_stored(details: dict[str, Any], sentence: str) -> None:
    assert str(retention_problem(details)).startswith(sentence)


def test_what_nobody_can_mean_now() -> None:
    def problem(**details: Any) -> str:
        return str(moment_problem(details, NOW))

    assert moment_problem({"expires_at": None, "legal_basis": None}, NOW) is None
    assert moment_problem({"expires_at": "2026-11-29T12:00:01Z"}, NOW) is None
    assert moment_problem({"legal_basis": {"kind": "consent", "date": "2026-11-30"}}, NOW) is None
    assert "is over: it is 2026-11-29T12:00:00Z" in problem(expires_at="2026-11-29T12:00:00Z")
    assert "more than 100 years" in problem(expires_at="2226-11-29T12:00:00Z")
    assert "it is not ahead" in problem(legal_basis={"kind": "consent", "date": "2026-12-01"})
