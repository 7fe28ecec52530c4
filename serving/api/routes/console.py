"""The console: a page for people, made of the files in ``api/console/``.

The page holds no data. It requests what it shows from the API, with the key that the user types
in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from serving.api.scopes import anybody

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parents[1] / "console"
_INDEX = "index.html"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing inline, nothing from another host, no frame around it. Names of people are hostile input:
# no text can become markup or script.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    # Revalidated each time, mostly answered with 304: all files are always of one version.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class File:
    content: bytes
    type: str
    etag: str


def read_files() -> Mapping[str, File]:
    """The page's files by name, for ``app.state.console``."""
    files = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            files[path.name] = File(content, _TYPES[path.suffix], etag)
    return files


async def _files(request: Request) -> Mapping[str, File]:
    files: Mapping[str, File] = request.app.state.console
    return files


FilesDep = Annotated[Mapping[str, File], Depends(_files)]


@router.get("/")
@anybody
async def page(request: Request, files: FilesDep) -> Response:
    """The page itself; it loads the files below ``/console/``."""
    return _answer(request, files[_INDEX])


@router.get("/console/{name}")
@anybody
async def part(request: Request, name: str, files: FilesDep) -> Response:
    if name not in files or name == _INDEX:
        raise HTTPException(404)
    return _answer(request, files[name])


def _answer(request: Request, file: File) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    # A proxy that compresses turns the tag into a weak one.
    known = request.headers.get("if-none-match", "").replace("W/", "").split(",")
    if file.etag in (tag.strip() for tag in known):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.type)
