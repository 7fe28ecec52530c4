"""A client of the HTTP API."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx


class ClientError(Exception):
    """The service refused, or does not answer; the text is a sentence for people.

    ``status`` is that of the refusal, None when nobody answered.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Client:
    """Talks to one service; answers are the JSON bodies of the API.

    Every method raises `ClientError`.

    Args:
        key: an API key; None: the environment's FACES_KEY, if there is one.
    """

    def __init__(self, url: str, timeout_s: float = 120.0, key: str | None = None) -> None:
        self._url = url
        key = os.environ.get("FACES_KEY") if key is None else key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, timeout=timeout_s, headers=headers)

    def infer(self, photo: Path, **options: Any) -> dict[str, Any]:
        """Identify the faces of a photo; options as those of ``POST /infer``."""
        given = {name: value for name, value in options.items() if value is not None}
        return self._answer("POST", "/infer", params=given, files=[_part("image", photo)])

    def generate(
        self, person: int, photos: Sequence[Path], *, name: str | None = None, append: bool = False
    ) -> dict[str, Any]:
        """Enrol a person from photos."""
        fields = {"id": str(person), "mode": "append" if append else "replace"}
        if name is not None:
            fields["name"] = name
        files = [_part("images", photo) for photo in photos]
        return self._answer("POST", "/generate", data=fields, files=files)

    def ready(self) -> dict[str, Any]:
        """What /readyz says, ready or not."""
        return self._answer("GET", "/readyz", also=(503,))

    def _answer(
        self, method: str, path: str, also: Sequence[int] = (), **request: Any
    ) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **request)
        except httpx.TimeoutException:
            raise ClientError(f"The service at {self._url} took too long to answer.") from None
        except httpx.TransportError as error:
            raise ClientError(f"No service answers at {self._url} ({error}).") from None
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ClientError(
                f"What answers at {self._url} is not this service (status {answer.status_code})."
            )
        if answer.is_success or answer.status_code in also:
            return body
        reasons = {i["reason"] for i in body.get("images") or () if i.get("reason")}
        sentences = [str(body.get("detail", "Refused.")), *sorted(reasons)]
        raise ClientError(" ".join(sentences), answer.status_code)


def _part(field: str, photo: Path) -> tuple[str, tuple[str, bytes, str]]:
    try:
        data = photo.read_bytes()
    except OSError as error:
        raise ClientError(f"{photo} cannot be read: {error.strerror}.") from None
    kind = mimetypes.guess_type(photo.name)[0] or "application/octet-stream"
    return field, (photo.name, data, kind)
