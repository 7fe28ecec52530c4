"""A client of CompreFace's API, for imports: of CompreFace itself, and of this service."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from serving.errors import InvalidInput, Unavailable
from serving.events.receiver import seconds_of

PAGE = 500
_TRIES = 5
# Of `Retry-After`.
_LONGEST_S = 300.0
# CompreFace takes 5 MB; whatever is far beyond it is no picture.
_PICTURE_BYTES = 64 * 2**20
_IMAGE = re.compile(r"[0-9a-fA-F-]{1,64}")
_ADDRESS = re.compile(r"https?://[^/?#\s@]+(/[^?#\s]*)?")


@dataclass(frozen=True)
class Example:
    """A saved face, as a list of them has it."""

    image: str
    subject: str


class Refused(Exception):
    """A photo that the service does not take; ``code`` is CompreFace's number."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


class CompreFaceApi:
    """The recognition service behind one API key.

    Args:
        url: of the server, without /api/v1.
        what: what sentences call it.
        sleep: waits for a number of seconds, before a request is sent again.

    Raises:
        InvalidInput: the URL is none, or the key.
    """

    def __init__(
        self,
        url: str,
        key: str,
        what: str,
        *,
        timeout_s: float = 60,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        # Variables of an environment end in a line end where a file was read into them.
        url, key = url.strip(), key.strip()
        if not (key.isascii() and key.isprintable()):
            raise InvalidInput(f"The API key of {what} holds characters that no key has.")
        if _ADDRESS.fullmatch(url) is None:
            raise InvalidInput(f"The address of {what} is http://host:port, without an @.")
        base = url.rstrip("/")
        self.url = base
        self._what = what
        self._key = key
        self._sleep = sleep
        headers = {"x-api-key": key} if key else {}
        self._http = httpx.Client(base_url=f"{base}/api/v1", headers=headers, timeout=timeout_s)

    def __enter__(self) -> CompreFaceApi:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def subjects(self) -> list[str]:
        """All subjects."""
        listed = self._json("GET", "/recognition/subjects").get("subjects")
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise self._strange("a list of subjects")
        return listed

    def examples(self, subject: str | None = None) -> Iterator[Example]:
        """The saved faces, page by page. CompreFace does not say in which order they come."""
        page = 0
        while True:
            query: dict[str, str | int] = {"page": page, "size": PAGE}
            if subject is not None:
                query["subject"] = subject
            body = self._json("GET", "/recognition/faces", params=query)
            faces, pages = body.get("faces"), body.get("total_pages")
            if not isinstance(faces, list) or not isinstance(pages, int):
                raise self._strange("a page of faces")
            for face in faces:
                yield self._example(face)
            page += 1
            if page >= pages or not faces:
                return

    def picture(self, image: str) -> bytes | None:
        """The saved picture of a face; None: there is none."""
        path = f"/static/{quote(self._key, safe='')}/images/{image}"

        def fetch() -> tuple[httpx.Response, bytes]:
            with self._http.stream("GET", path) as response:
                data = bytearray()
                for part in response.iter_bytes():
                    data += part
                    if len(data) > _PICTURE_BYTES:
                        raise self._strange(f"a picture of less than {_PICTURE_BYTES} bytes")
                return response, bytes(data)

        response, data = self._sent(fetch)
        if response.status_code == 404:
            return None
        self._check(response, data)
        return data or None

    def add(self, subject: str, picture: bytes) -> str:
        """Add a face to a subject; returns its id.

        Raises:
            Refused: the photo or the subject is not taken.
            Unavailable: whether it was written is not known, or the service is away.
        """

        def send() -> tuple[httpx.Response, bytes]:
            response = self._http.post(
                "/recognition/faces",
                params={"subject": subject},
                files={"file": ("picture", picture)},
            )
            return response, response.content

        response, data = self._sent(send, write=True)
        body = _body(data)
        if response.status_code in (400, 409, 413, 415, 422) and not _asks_again(response):
            code = body.get("code")
            raise Refused(_sentence(body, response), code if isinstance(code, int) else 0)
        self._check(response, data)
        image = body.get("image_id")
        if not isinstance(image, str) or _IMAGE.fullmatch(image) is None:
            raise self._strange("an image_id")
        return image

    def remove(self, image: str) -> bool:
        """Remove a face; False: the key may not."""

        def send() -> tuple[httpx.Response, bytes]:
            response = self._http.delete(f"/recognition/faces/{image}")
            return response, response.content

        response, data = self._sent(send, write=True)
        if response.status_code == 403:
            return False
        self._check(response, data)
        return True

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        def send() -> tuple[httpx.Response, bytes]:
            response = self._http.request(method, path, **request)
            return response, response.content

        response, data = self._sent(send)
        self._check(response, data)
        return _body(data)

    def _sent(
        self, send: Callable[[], tuple[httpx.Response, bytes]], *, write: bool = False
    ) -> tuple[httpx.Response, bytes]:
        """Send, and send again where that can help. A write is sent again only where the answer
        says that it was not made."""
        for attempt in range(_TRIES):
            last, asked = attempt == _TRIES - 1, None
            try:
                response, data = send()
            except httpx.ConnectError as error:
                if last:
                    raise self._away(error) from None
            except httpx.HTTPError as error:
                if last or write:
                    raise self._away(error) from None
            else:
                again = _asks_again(response) or (not write and response.status_code >= 500)
                if last or not again:
                    return response, data
                asked = seconds_of(response.headers.get("retry-after"), time.time())
            self._sleep(max(min(asked or 0.0, _LONGEST_S), min(30.0, 2.0**attempt)))
        raise AssertionError("the last attempt returns or raises")

    def _check(self, response: httpx.Response, data: bytes) -> None:
        if response.status_code < 300:
            return
        sentence = _sentence(_body(data), response)
        if response.status_code >= 500 or _asks_again(response):
            raise Unavailable(f"{self._what} at {self.url}: {sentence}")
        raise InvalidInput(f"{self._what} at {self.url}: {sentence}")

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(f"{self._what} at {self.url} does not answer: {error}")

    def _strange(self, expected: str) -> InvalidInput:
        return InvalidInput(
            f"{self._what} at {self.url} does not answer as CompreFace: {expected}."
        )

    def _example(self, face: Any) -> Example:
        image, subject = (
            (face.get("image_id"), face.get("subject")) if isinstance(face, dict) else (None, None)
        )
        if isinstance(image, str) and _IMAGE.fullmatch(image) and isinstance(subject, str):
            return Example(image, subject)
        raise self._strange("faces with an image_id and a subject")


def _asks_again(response: httpx.Response) -> bool:
    """Whether nothing was done, and it can be sent again."""
    return response.status_code == 429 or (
        response.status_code in (409, 502, 503) and "retry-after" in response.headers
    )


def _body(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _sentence(body: dict[str, Any], response: httpx.Response) -> str:
    told = body.get("message") or body.get("detail") or response.reason_phrase
    return f"{response.status_code} {str(told)[:300]}"
