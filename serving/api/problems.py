"""Answers errors as RFC 9457 problems, and reads the id that every request carries."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from serving.api.answers import conflict_bodies, image_reports
from serving.api.compreface import codes
from serving.api.facts import CLIENT_LEFT, note
from serving.errors import BadRequest, ServingError, UnsupportedEncoding
from serving.pipeline.reports import PhotosReported
from serving.reading.spelling import sentence_of

log = logging.getLogger(__name__)

_COLLECTION = re.compile(r"/collections/[^/]+/?")
PROTOCOL = "/v2"  # below it, errors have the form of the Open Inference Protocol


def request_id_of(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def problem(
    request: Request, status: int, type_: str, title: str, detail: str, **more: Any
) -> JSONResponse:
    """An error's answer: RFC 9457; or its own form below `PROTOCOL`, and where CompreFace's routes
    are served, below theirs."""
    note(request, problem=type_)
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    if path == PROTOCOL or path.startswith(f"{PROTOCOL}/"):
        return JSONResponse({"error": detail}, status)
    if codes.applies(request):
        message, status = codes.body_of(type_, status, detail)
        return JSONResponse(message, status)
    body = {
        "type": f"urn:faces:problem:{type_}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id_of(request),
        **more,
    }
    return JSONResponse(body, status, media_type="application/problem+json")


def problem_of(request: Request, error: ServingError) -> JSONResponse:
    """The answer for one of our errors, with the reports on photos that it carries."""
    reports: dict[str, Any] = {}
    if isinstance(error, PhotosReported):
        reports["images"] = [body.model_dump() for body in image_reports(error.photos)]
        if error.conflicts is not None:
            conflicts = conflict_bodies(error.conflicts, error.photos)
            reports["conflicts"] = [body.model_dump() for body in conflicts]
    answer = problem(request, error.status, error.type, error.title, str(error), **reports)
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, UnsupportedEncoding):
        answer.headers["Accept-Encoding"] = "identity"
    return answer


def _methods(request: Request) -> list[str]:
    """The methods that the path takes; the router's own answer names those of one route only."""

    def served(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    methods = [m for m in ("GET", "POST", "PUT", "PATCH", "DELETE") if served(m)]
    return ["HEAD", *methods] if "GET" in methods else methods


def _is_served_without_slash(request: Request) -> bool:
    path = request.scope["path"]
    scope = {**request.scope, "path": path.rstrip("/")}
    return path.endswith("/") and any(
        route.matches(scope)[0] is not Match.NONE for route in request.app.routes
    )


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` as a problem: ours, the framework's, and bugs."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ServingError)
        if error.status >= 500:
            log.warning("request %s: %s: %s", request_id_of(request), error.type, error)
        return problem_of(request, error)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        # Their first part is the place: path or query.
        errors: list[Any] = [{**found, "loc": found["loc"][1:]} for found in error.errors()]
        return problem_of(request, BadRequest(sentence_of(errors, None)))

    async def framework(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        title = HTTPStatus(error.status_code).phrase
        type_ = title.lower().replace(" ", "-")
        detail, headers = f"{error.detail}.", dict(error.headers or {})
        if error.status_code == HTTPStatus.NOT_FOUND:
            detail = "Nothing is served under this path."
            if _is_served_without_slash(request):
                detail = "Nothing is served under this path; leave out the slash at its end."
            elif _COLLECTION.fullmatch(request.scope["path"]):
                detail = (
                    "Nothing is served under this path: a collection is there from its first "
                    "enrolment on, and goes when all of its people are removed."
                )
            elif "/v1/models" in request.url.path:
                detail = (
                    "Nothing is served under this path; the model is served by version 2 of the "
                    "Open Inference Protocol, under v2."
                )
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods(request))
            detail = f"This path takes {headers['Allow']}."
        answer = problem(request, error.status_code, type_, title, detail)
        answer.headers.update(headers)
        return answer

    async def left(request: Request, error: Exception) -> Response:
        # In the middle of its body; Serve cancels the request only a moment later.
        return Response(status_code=CLIENT_LEFT)

    async def bug(request: Request, error: Exception) -> JSONResponse:
        log.error("request %s failed", request_id_of(request), exc_info=error)
        detail = "This is a bug; the log has it under the request id."
        return problem(request, 500, ServingError.type, ServingError.title, detail)

    app.add_exception_handler(ServingError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(ClientDisconnect, left)
    app.add_exception_handler(Exception, bug)
