"""The API's description to try in a browser, at `/docs`: Swagger UI, out of a package of the lock.

FastAPI's own page loads it from a public CDN into this origin, where people type keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from serving.api import pages
from serving.api.pages import File
from serving.api.scopes import anybody

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parents[1] / "docs"
_INDEX = "index.html"
_SWAGGER_UI = ("swagger-ui-bundle.js", "swagger-ui.css")


def read_files() -> Mapping[str, File]:
    """The page's files by name, for ``app.state.docs``."""
    # Only files of the package are needed, and none of its code.
    package = find_spec("fastapi_offline")
    assert package is not None
    assert package.origin is not None
    theirs = Path(package.origin).parent / "static"
    return pages.read_files([*_FOLDER.iterdir(), *(theirs / name for name in _SWAGGER_UI)])


async def _files(request: Request) -> Mapping[str, File]:
    files: Mapping[str, File] = request.app.state.docs
    return files


FilesDep = Annotated[Mapping[str, File], Depends(_files)]


@router.get("/docs")
@anybody
async def page(request: Request, files: FilesDep) -> Response:
    """The page itself; it loads the files below ``/docs/`` and ``/openapi.json``."""
    return pages.answer(request, files[_INDEX])


@router.get("/docs/{name}")
@anybody
async def part(request: Request, name: str, files: FilesDep) -> Response:
    if name not in files or name == _INDEX:
        raise HTTPException(404)
    return pages.answer(request, files[name])
