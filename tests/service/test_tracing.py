"""A request's trace through the real stages, as a collector gets it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import httpx
import pytest

from serving.stack.config import StackSettings
from tests.service import logs
from tests.support import images
from tests.support.otlp import Collector, Span, collector
from tests.support.stacks import COLLECTOR_PORT

JPEG = {"content-type": "image/jpeg"}
CALLER = "b7ad6b7169203331"
PATH = {  # of the spans below the request: their parents
    "identify": {
        "read": "POST /infer",
        "decode": "POST /infer",
        "Decoder.decode": "decode",
        "detect": "POST /infer",
        "Detector.detect": "detect",
        "embed": "POST /infer",
        "triton infer": "embed",
        "gallery": "POST /infer",
        "match": "POST /infer",
        "Matcher.identify": "match",
    },
    "enrol": {
        "decode": "POST /generate",
        "embed": "POST /generate",
        "triton infer": "embed",
        "match": "POST /generate",
        "Matcher.enrol": "match",
        "s3 put": "Matcher.enrol",
    },
}
SERVICES = {"Decoder": "faces-decode", "Detector": "faces-detect", "Matcher": "faces-match"}


@pytest.fixture
def collecting() -> Iterator[Collector]:
    with collector(COLLECTOR_PORT) as found:
        yield found


@pytest.fixture
def trace() -> str:
    return uuid.uuid4().hex


def traceparent(trace: str, sampled: bool = True) -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{CALLER}-{sampled:02d}"}


def spans_of(collecting: Collector, trace: str, *names: str) -> dict[str, list[Span]]:
    """The spans of the trace by name, once all that are named have come."""

    def mine(spans: list[Span]) -> list[Span]:
        return [span for span in spans if span.trace == trace]

    all_spans = collecting.wait(lambda spans: {*names} <= {span.name for span in mine(spans)})
    found: dict[str, list[Span]] = {}
    for span in mine(all_spans):
        found.setdefault(span.name, []).append(span)
    return found


@pytest.mark.parametrize("what", ["identify", "enrol"])
def test_a_request_is_one_trace_through_all_stages(
    api: httpx.Client, stack: StackSettings, collecting: Collector, trace: str, what: str
) -> None:
    route = {"identify": "/infer", "enrol": "/generate"}[what]
    answer = api.post(
        route,
        params={"id": 7} if what == "enrol" else {},
        content=images.PORTRAIT.read_bytes(),
        headers={**JPEG, **traceparent(trace), "x-request-id": trace},
    )
    answer.raise_for_status()
    spans = spans_of(collecting, trace, f"POST {route}", *PATH[what])
    (request,) = spans[f"POST {route}"]
    assert request.parent == CALLER
    assert request.service == "faces-ingress"
    assert request.attributes["http.response.status_code"] == 200
    for child, parent in PATH[what].items():
        for span in spans[child]:
            assert span.parent in {s.id for s in spans[parent]}, child
            assert span.service == SERVICES.get(child.partition(".")[0], span.service)
            assert request.start <= span.start <= span.end <= request.end
            assert not span.failed
    (batch,) = spans["triton infer"]
    assert int(batch.attributes["faces"]) == 1
    (line,) = logs.wait_for(stack.folder, trace)
    assert line["trace_id"] == trace


def test_a_failure_is_seen_where_it_happened(
    api: httpx.Client, collecting: Collector, trace: str
) -> None:
    answer = api.post("/infer", content=b"no photo", headers={**JPEG, **traceparent(trace)})
    assert answer.status_code == 415
    spans = spans_of(collecting, trace, "POST /infer", "decode", "Decoder.decode")
    failed = {name for name, found in spans.items() if found[0].failed}
    assert failed == {"decode", "Decoder.decode"}  # of the service it is no failure
    assert "detect" not in spans


def test_who_does_not_ask_is_not_traced(
    api: httpx.Client, collecting: Collector, trace: str
) -> None:
    photo, began = images.PORTRAIT.read_bytes(), time.time_ns()
    api.post("/infer", content=photo, headers={**JPEG, **traceparent(trace, sampled=False)})
    api.post("/infer", content=photo, headers=JPEG)
    last = uuid.uuid4().hex
    api.post("/infer", content=photo, headers={**JPEG, **traceparent(last)})
    spans_of(collecting, last, "POST /infer", *PATH["identify"])
    # Of requests before, some may still come.
    assert {span.trace for span in collecting.spans if span.start >= began} == {last}
