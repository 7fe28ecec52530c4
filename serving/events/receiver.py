"""The receiver of events: one POST for each, signed, and what the answer means."""

from __future__ import annotations

import asyncio
import email.utils
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from serving import __version__
from serving.errors import InvalidInput
from serving.events.event import Event
from serving.events.signature import KeyFile, headers_of
from serving.settings import EventSettings

_CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
# These speak of the event. All others speak of the receiver: then the next event would fare alike.
_OF_THE_EVENT = frozenset({400, 409, 410, 413, 415, 422, 500})


@dataclass(frozen=True)
class Outcome:
    """What became of one delivery.

    Attributes:
        result: ``refused``: the receiver does not take this event, and perhaps others; ``away``:
            it takes none.
        problem: of one that failed.
        retry_after: seconds that the receiver wants to be left alone for; None: it does not say.
    """

    result: Literal["delivered", "refused", "away"]
    problem: str = ""
    retry_after: float | None = None


class Receiver:
    """For one thread, in which no event loop runs.

    No redirect is followed, no proxy of the environment is used, and no body is read: the address
    of the settings is the only one that an event reaches.

    Raises:
        InvalidInput: the file of authorities cannot be read.
    """

    def __init__(self, settings: EventSettings, clock: Callable[[], float] = time.time) -> None:
        assert settings.url is not None
        assert settings.key_file is not None
        self._url = settings.url
        self._timeout_s = settings.timeout_s
        self._keys = KeyFile(settings.key_file)
        self._clock = clock
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise InvalidInput(f"events.ca_file cannot be read: {error}.") from None
        # Here: it loads rich and pygments for a command of its own, and few services send events.
        import httpx

        self._loop = asyncio.new_event_loop()
        self._client = httpx.AsyncClient(
            verify=context, follow_redirects=False, trust_env=False, timeout=settings.timeout_s
        )

    def send(self, event: Event) -> Outcome:
        """Deliver one event. Takes no longer than the settings allow, whatever drips in."""
        import httpx  # see above

        body = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
        now = self._clock()
        try:
            headers = {
                "Content-Type": _CONTENT_TYPE,
                "User-Agent": f"facenet-serving/{__version__}",
                **headers_of(self._keys.keys(), event["id"], int(now), body),
            }
        except InvalidInput as error:
            return Outcome("away", str(error))
        work = asyncio.wait_for(self._post(body, headers), self._timeout_s)
        try:
            status, retry_after = self._loop.run_until_complete(work)
        except (asyncio.TimeoutError, httpx.TimeoutException):
            return Outcome("away", f"no answer within {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Outcome("away", str(error) or type(error).__name__)
        if 200 <= status < 300:
            return Outcome("delivered")
        result: Literal["refused", "away"] = "refused" if status in _OF_THE_EVENT else "away"
        return Outcome(result, f"status {status}", seconds_of(retry_after, now))

    async def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
        async with self._client.stream(
            "POST", self._url, content=body, headers=headers
        ) as response:
            return response.status_code, response.headers.get("Retry-After")

    def close(self) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """The seconds of a header ``Retry-After``, a number or a date; None: it says nothing."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        date = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(date.timestamp() - now, 0.0)
