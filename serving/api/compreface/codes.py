"""Errors as CompreFace answers them: a message and a number of its own."""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request

from serving.errors import BadRequest, UnknownPhoto

PREFIX = "/api/v1"
_BELOW = re.compile(rf"(?:/collections/[^/]+)?{PREFIX}(?:/.*)?", re.DOTALL)


class SubjectExists(BadRequest):
    type = "subject-exists"
    title = "There is such a subject already"


class MissingParameter(BadRequest):
    type = "missing-parameter"
    title = "A parameter is missing"


class WrongArgument(BadRequest):
    type = "wrong-argument"
    title = "An argument is of the wrong kind"


class WrongCount(BadRequest):
    type = "wrong-prediction-count"
    title = "The number of predictions is wrong"


class NoPictures(UnknownPhoto):
    type = "no-pictures"
    title = "Pictures are not kept"


# By the type of the error: CompreFace's number, and its status where that is another one than ours.
# Types that CompreFace has nothing for keep their status.
_CODES: dict[str, tuple[int, int | None]] = {
    "no-pictures": (11, None),
    "wrong-prediction-count": (12, None),
    "unauthorized": (20, None),
    "unsupported-image": (21, 400),
    "bad-request": (26, None),
    "no-usable-face": (28, 400),
    "several-faces": (31, 400),
    "missing-parameter": (33, None),
    "wrong-argument": (36, None),
    "unknown-identity": (42, None),
    "subject-exists": (43, None),
    "unknown-photo": (44, None),
}
_UNDEFINED, _FAILED = 0, 41


def applies(request: Request) -> bool:
    """Whether the request is answered as CompreFace does."""
    app = request.scope.get("app")
    is_on = app is not None and getattr(app.state, "compreface", False)
    return is_on and _BELOW.fullmatch(request.scope["path"]) is not None


def body_of(type_: str, status: int, detail: str) -> tuple[dict[str, Any], int]:
    """The body of an error of ours, and its status."""
    default = (_FAILED if status >= 500 else _UNDEFINED, None)
    code, instead = _CODES.get(type_, default)
    return {"message": detail, "code": code}, instead or status
