"""The console: a page for people, made of the files in ``api/console/``.

The page holds no data. It requests what it shows from the API, with the key that the user types
in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from serving.api import pages
from serving.api.pages import File
from serving.api.scopes import anybody

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parents[1] / "console"
_INDEX = "index.html"
# Names of people are hostile input: no text can become markup or script.
_NO_MARKUP = ("require-trusted-types-for 'script'", "trusted-types 'none'")


def read_files() -> Mapping[str, File]:
    """The page's files by name, for ``app.state.console``."""
    return pages.read_files(_FOLDER.iterdir())


async def _files(request: Request) -> Mapping[str, File]:
    files: Mapping[str, File] = request.app.state.console
    return files


FilesDep = Annotated[Mapping[str, File], Depends(_files)]


@router.get("/")
@anybody
async def page(request: Request, files: FilesDep) -> Response:
    """The page itself; it loads the files below ``/console/``."""
    return pages.answer(request, files[_INDEX], *_NO_MARKUP)


@router.get("/console/{name}")
@anybody
async def part(request: Request, name: str, files: FilesDep) -> Response:
    if name not in files or name == _INDEX:
        raise HTTPException(404)
    return pages.answer(request, files[name], *_NO_MARKUP)
