"""The error tree: every class travels through pickle and says how HTTP answers it."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import pytest

from serving import errors
from serving.errors import (
    AmbiguousName,
    BadRequest,
    CollectionFull,
    EnrolmentConflict,
    InvalidInput,
    NotConfirmed,
    NotReadBack,
    RetentionEnded,
    ServingError,
)


def _tree(cls: type[ServingError] = ServingError) -> Iterator[type[ServingError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _tree(child)


TREE = [cls for cls in _tree() if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", TREE)
def test_survives_pickle(cls: type[ServingError]) -> None:
    again = pickle.loads(pickle.dumps(cls("Send a smaller photo.")))
    assert type(again) is cls
    assert again.args == ("Send a smaller photo.",)
    assert str(again) == "Send a smaller photo."


@pytest.mark.parametrize("cls", TREE)
def test_says_how_it_is_answered(cls: type[ServingError]) -> None:
    assert cls.status in (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cls.type)
    assert cls.title
    assert not cls.title.endswith(".")


def test_types_are_distinct() -> None:
    types = [cls.type for cls in TREE if cls is not InvalidInput]
    assert len(set(types)) == len(types)


def test_invalid_input_is_answered_as_a_bad_request() -> None:
    for answer in ("status", "type", "title", "retry_after"):
        assert getattr(InvalidInput, answer) == getattr(BadRequest, answer)


# Sent again, these could be done twice, or would be refused again.
NEVER_BLINDLY = (
    *(NotConfirmed, NotReadBack, EnrolmentConflict),
    *(AmbiguousName, CollectionFull, RetentionEnded),
)


@pytest.mark.parametrize(
    "cls", [c for c in TREE if c.status in (409, 503) and c not in NEVER_BLINDLY]
)
def test_who_is_asked_to_come_again_is_told_when(cls: type[ServingError]) -> None:
    assert cls.retry_after is not None
    assert cls.retry_after >= 1
