"""One attempt of a call: builds the request, and interprets the answer or the lack of one."""

from __future__ import annotations

import email.utils
import ipaddress
import json
import math
import numbers
import os
import re
import time
import warnings
from typing import Any, cast

import httpx

from serving import __version__
from serving.client import address
from serving.client.answers import ConflictBody, ImageReport
from serving.client.calls import Call
from serving.client.errors import ClientError
from serving.errors import LASTING, EnrolmentConflict, NotReadBack

URL = "http://127.0.0.1:8000"
_TYPE_PREFIX = "urn:faces:problem:"
# As in the service's settings. Checked here, because a name with ".." would change the path, and so
# mean another collection.
_COLLECTION = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")

# What a proxy means by them: its own pages say it to people with a browser only.
_OF_A_PROXY = {
    401: "it wants a login",
    403: "it refuses the request",
    407: "it wants a login",
    413: "what was sent is larger than it takes",
    502: "it gets no answer from the service",
    503: "it finds no service that is ready",
    504: "it has waited for the service in vain",
}
# Temporary answers of a service or of the proxy in front of it.
_PASSING = (429, 502, 503, 504)
# Errors before a connection: nothing was sent.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_NEVER_SENT = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
_BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout, httpx.ProxyError)


class Failed(Exception):
    """An attempt that failed: the error to raise, unless another attempt is made.

    ``again``: a retry is safe and may help.
    """

    def __init__(self, error: ClientError, again: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.again = again


class Exchange:
    """Builds HTTP requests and interprets answers; both clients share it, and do the sending.

    Args:
        url: None: the environment's FACES_URL, or else the port of ``make run`` on this machine.
        collection: None: the default collection of the service.
        key: an API key; None: the environment's FACES_KEY, if there is one.
        timeout_s: for calls without one of their own.
        plain_http: whether a key may go over http:// to another machine without a warning.
        proxied: whether requests go through the proxies of the environment.

    Raises:
        ClientError: the address or the key is malformed.
        ValueError: the name of the collection is malformed, or the timeout is none.
    """

    def __init__(
        self,
        url: str | None,
        collection: str | None,
        key: str | None,
        timeout_s: float,
        *,
        plain_http: bool,
        proxied: bool,
    ) -> None:
        # Variables of an environment end in a line end where a file was read into them.
        url = (url or os.environ.get("FACES_URL") or "").strip() or URL
        parsed = address.checked(url)
        proxy = address.proxy_to(parsed) if proxied else None
        # For sentences.
        self._at = url if proxy is None else f"{url} through the environment's proxy {proxy}"
        self._base = url.rstrip("/")
        self._below = ""
        if collection is not None:
            if not _COLLECTION.fullmatch(collection):
                raise ValueError(
                    "A collection's name is up to 63 of a-z, 0-9 and -, not - at the ends; not "
                    f"{collection!r}."
                )
            self._below = f"/collections/{collection}"
        self._headers = {"User-Agent": f"facenet-serving/{__version__}"}
        if not isinstance(key, str | None):
            raise TypeError(f"An API key is text, not {type(key).__name__}.")
        key = (os.environ.get("FACES_KEY", "") if key is None else key).strip()
        if not (key.isascii() and key.isprintable()):
            raise ClientError("The API key holds characters that no key has.")
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
            if parsed.scheme == "http" and not plain_http and not _is_loopback(parsed.host):
                warnings.warn(
                    f"The API key goes to {parsed.host} over http://, where others on the way can "
                    "read it: use https://, or plain_http=True in a network that you trust.",
                    stacklevel=3,
                )
        self._timeout_s = _checked(timeout_s)

    def request(self, call: Call[Any]) -> dict[str, Any]:
        """The arguments of httpx's ``request``."""
        headers = {**self._headers, "X-Request-ID": call.request_id}
        body: dict[str, Any] = {}
        if call.json is not None:
            headers["Content-Type"] = "application/json"
            body = {"content": call.json}
        elif call.files:
            body = {"data": call.fields, "files": call.files}
        return {
            "method": call.method,
            "url": f"{self._base}{'' if call.shared else self._below}{call.path}",
            "params": call.params,
            "headers": headers,
            "timeout": self._timeout_s if call.timeout_s is None else _checked(call.timeout_s),
            **body,
        }

    def read(self, call: Call[Any], answer: httpx.Response) -> Any:
        """The body of an answer; of a stream its lines, each an answer or its error. Raises
        Failed."""
        if call.lines and answer.is_success:
            return self._lines(call, answer)
        try:
            body = answer.json()
        except (ValueError, RecursionError):  # the latter: thousands of brackets
            body = None
        status = answer.status_code
        if isinstance(body, dict) and (answer.is_success or status in call.also):
            if not call.member or call.member in body:
                return body
            body = None  # something else's
        error = self._refusal(call, answer, body)
        lasting = error.type in LASTING
        again = (status in _PASSING and not lasting) if not call.writes else _rejected(call, error)
        raise Failed(error, again and not call.once)

    def _lines(self, call: Call[Any], answer: httpx.Response) -> list[Any]:
        try:
            *lines, last = [json.loads(text) for text in answer.content.splitlines()]
        except (ValueError, RecursionError):
            lines, last = [], None
        if not all(isinstance(line, dict) for line in (*lines, last)):
            lines, last = [], {}
        if last.get("done") is True and len(lines) == call.lines:
            return [self._line(call, line) for line in lines]
        # It was not read to its end, or the answer is cut; only what asks is streamed.
        if isinstance(problem := last.get("problem"), dict):
            error = self._refusal(call, _answer_of(problem), problem)
            raise Failed(error, error.status in _PASSING and error.type not in LASTING)
        text = f"The answer of the service at {self._at} is cut."
        raise Failed(ClientError(text, answer.status_code, request_id=call.request_id), True)

    def _line(self, call: Call[Any], line: dict[str, Any]) -> Any:
        place = ("index", "ref")
        body = {name: value for name, value in line.items() if name not in place}
        return self._refusal(call, _answer_of(body), body) if "status" in body else body

    def broken(self, call: Call[Any], error: httpx.RequestError) -> Failed:
        """The failure for a request that got no answer."""
        sent = not isinstance(error, (*_NOT_SENT, *_NEVER_SENT))
        if isinstance(error, httpx.TimeoutException):
            text = f"The service at {self._at} took too long to answer."
        elif isinstance(error, httpx.TransportError):
            text = f"No service answers at {self._at} ({error})."
            if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
                text = f"The connection to {self._at} broke before its whole answer came ({error})."
        else:
            text = f"What answers at {self._at} is not this service ({error})."
        unconfirmed = call.writes and sent
        failure = ClientError(
            text + (_LOOK_FIRST if unconfirmed else ""),
            detail=text,
            request_id=call.request_id,
            not_confirmed=unconfirmed,
        )
        again = isinstance(error, _BROKEN) and not unconfirmed
        return Failed(failure, again and not call.once)

    def _refusal(self, call: Call[Any], answer: httpx.Response, body: Any) -> ClientError:
        status = answer.status_code
        images: list[ImageReport] = []
        conflicts: list[ConflictBody] = []
        type_ = request_id = None
        if isinstance(body, dict):
            if isinstance(body.get("type"), str):
                type_ = body["type"].removeprefix(_TYPE_PREFIX)
            if isinstance(body.get("images"), list):
                images = [cast(ImageReport, i) for i in body["images"] if isinstance(i, dict)]
            if isinstance(body.get("conflicts"), list):
                conflicts = [
                    cast(ConflictBody, c) for c in body["conflicts"] if isinstance(c, dict)
                ]
            detail = str(body.get("detail", "Refused."))
            if isinstance(body.get("request_id"), str):
                request_id = body["request_id"]
        else:
            detail = f"What answers at {self._at} is not this service (status {status})."
            if hint := _OF_A_PROXY.get(status):
                detail += f" A proxy before the service may have answered: {hint}."
            if answer.has_redirect_location:
                detail += f" It redirects to {answer.headers['location']}."
        reasons = {str(i["reason"]) for i in images if i.get("reason")}
        error = ClientError(
            " ".join([detail, *sorted(reasons)]),
            status,
            type=type_,
            detail=detail,
            request_id=request_id or answer.headers.get("x-request-id") or call.request_id,
            retry_after=_seconds(answer.headers.get("retry-after")),
            images=images,
            conflicts=conflicts,
        )
        # A refusal below 500 comes before anything is written, but a lost race may end a write of
        # several commits after its first ones.
        # Nor is an answer of success that cannot be read one that nothing was done.
        may_be_done = (
            status >= 500
            or answer.is_success
            or (status == 409 and error.type != EnrolmentConflict.type)
        )
        known = _rejected(call, error) or error.type == NotReadBack.type
        error.not_confirmed = call.writes and may_be_done and not known
        return error


def _answer_of(problem: dict[str, Any]) -> httpx.Response:
    """The answer that a problem in a line would have been alone."""
    status = problem.get("status")
    return httpx.Response(status if isinstance(status, int) else 500)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False


_LOOK_FIRST = " It may have been carried out: look before you send it again."


def _rejected(call: Call[Any], error: ClientError) -> bool:
    return error.status == 429 or error.type in call.rejections


def _seconds(retry_after: str | None) -> float | None:
    """The seconds in a Retry-After header, which holds seconds or a date."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        at = email.utils.parsedate_to_datetime(retry_after).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, at - time.time())


def _checked(timeout_s: float | None) -> float | None:
    """Raises TypeError or ValueError: it is no time limit. None: there is none."""
    if timeout_s is None:
        return None
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, numbers.Real):
        raise TypeError(f"timeout_s is a number of seconds, not {type(timeout_s).__name__}.")
    if not 0 < timeout_s < math.inf:
        raise ValueError("timeout_s is more than 0 seconds, or None, for no limit.")
    return float(timeout_s)
