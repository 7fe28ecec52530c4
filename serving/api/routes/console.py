"""The console: a page for people, made of the files in ``api/console/``.

The page holds no data. What it shows it asks the API for, with the key that its reader types in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

_FOLDER = Path(__file__).parents[1] / "console"
_INDEX = "index.html"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing inline, nothing from another host, in nobody's frame. Names of people are hostile input:
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
    # Asked anew each time, mostly answered with 304: all files are always of one version.
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
class _File:
    content: bytes
    type: str
    etag: str


def router() -> APIRouter:
    """``GET /`` and the files below ``/console/`` that it loads."""
    files = _read(_FOLDER)
    index = files.pop(_INDEX)
    api = APIRouter(include_in_schema=False)

    @api.get("/")
    async def page(request: Request) -> Response:
        return _answer(request, index)

    @api.get("/console/{name}")
    async def part(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return _answer(request, files[name])

    return api


def _read(folder: Path) -> dict[str, _File]:
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.name] = _File(content, _TYPES[path.suffix], etag)
    return found


def _answer(request: Request, file: _File) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    # A proxy that compresses turns the tag into a weak one.
    known = request.headers.get("if-none-match", "").replace("W/", "").split(",")
    if file.etag in (tag.strip() for tag in known):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.type)
