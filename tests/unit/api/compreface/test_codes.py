"""CompreFace's error bodies: a message and its number, where its routes are served."""

from __future__ import annotations

import pytest

from serving import errors
from serving.api.compreface.codes import (
    MissingParameter,
    NoPictures,
    SubjectExists,
    WrongArgument,
    WrongCount,
    body_of,
)
from serving.errors import ServingError
from tests.support.api import Api, detail_of


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (NoPictures, 11, 404),
        (WrongCount, 12, 400),
        (errors.Unauthorized, 20, 401),
        (errors.UnsupportedImage, 21, 400),
        (errors.BadRequest, 26, 400),
        (errors.NoUsableFace, 28, 400),
        (errors.SeveralFaces, 31, 400),
        (MissingParameter, 33, 400),
        (WrongArgument, 36, 400),
        (errors.Unavailable, 41, 503),
        (errors.TimedOut, 41, 504),
        (errors.UnknownIdentity, 42, 404),
        (SubjectExists, 43, 400),
        (errors.UnknownPhoto, 44, 404),
        (errors.Forbidden, 0, 403),
        (errors.TooLarge, 0, 413),
        (errors.TooManyRequests, 0, 429),
        (errors.AmbiguousName, 0, 409),
    ],
)
def test_each_error_has_its_number(error: type[ServingError], code: int, status: int) -> None:
    told = body_of(error.type, error.status, "A sentence.")
    assert told == ({"message": "A sentence.", "code": code}, status)


@pytest.mark.parametrize(
    ("method", "path", "code", "status"),
    [
        ("GET", "/api/v1/recognition/nothing", 0, 404),
        ("PATCH", "/api/v1/recognition/subjects", 0, 405),
        ("GET", "/collections/shop/api/v1/recognition/faces?size=x", 36, 400),
        ("GET", "/api/v1/recognition/faces?color=red", 26, 400),
        ("GET", "/collections/-/api/v1/recognition/faces", 26, 400),
        ("GET", "/api/v1/static/a-key/images/x", 11, 404),
    ],
)
def test_below_its_path_all_errors_have_its_form(
    method: str, path: str, code: int, status: int
) -> None:
    answer = Api(compreface=True).request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert set(answer.json()) == {"message", "code"}
    assert answer.headers["content-type"] == "application/json"


def test_elsewhere_they_are_problems() -> None:
    detail_of(Api(compreface=True).get("/identities/-1"), 400)
    detail_of(Api(compreface=True).get("/api/v10"), 404)


def test_without_the_setting_there_are_no_such_paths() -> None:
    for path in ("/api/v1/recognition/subjects", "/collections/x/api/v1/recognition/faces"):
        detail_of(Api().get(path), 404)
    assert "/api/v1" not in Api(compreface=True).get("/openapi.json").text
