"""Pages for people: files that are served as they are, with headers that let a page load nothing
from another host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request, Response

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing inline, nothing from another host, no frame around it.
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "connect-src 'self'",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
)
_HEADERS = {
    # Revalidated each time, mostly answered with 304: all files are always of one version.
    "Cache-Control": "no-cache",
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


def read_files(paths: Iterable[Path]) -> Mapping[str, File]:
    """The files by name; those of no type that a page has are left out."""
    files = {}
    for path in sorted(paths):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            files[path.name] = File(content, _TYPES[path.suffix], etag)
    return files


def answer(request: Request, file: File, *more_policy: str) -> Response:
    """The file, or that the browser has it already.

    Args:
        more_policy: directives of the Content-Security-Policy, behind those of every page.
    """
    policy = "; ".join((*_POLICY, *more_policy))
    headers = {**_HEADERS, "Content-Security-Policy": policy, "ETag": file.etag}
    # A proxy that compresses turns the tag into a weak one.
    known = request.headers.get("if-none-match", "").replace("W/", "").split(",")
    if {file.etag, "*"} & {tag.strip() for tag in known}:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.type)
