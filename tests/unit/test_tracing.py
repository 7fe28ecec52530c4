"""Spans, their parents, and what a collector gets; against a real one on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from serving import tracing
from serving.errors import Unavailable
from serving.pipeline.timings import Timings
from serving.settings import TracingSettings
from serving.stages import calls
from serving.stages.calls import call
from tests.support.api import Api
from tests.support.otlp import Collector, collector
from tests.support.stages import Method

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def collecting() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture
def flush(collecting: Collector) -> Iterator[Any]:
    """Traces whoever wants it, and nobody else; called, it sends what there is and ends."""
    stop = tracing.start("test", TracingSettings(endpoint=collecting.url, sample_ratio=0))
    yield stop
    stop()


@calls.stage
class Stage:
    """Notes the arguments that it gets, and asks the store."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def work(self, *args: Any) -> str:
        self.asked.append(args)
        tracing.ended("s3 get", 0.5, failed=True, outcome="error")
        return "done"

    async def fail(self) -> None:
        raise Unavailable("The store is away.")


async def ask(stage: Stage, headers: Mapping[str, str] | None) -> str:
    """A request that waits for the stage."""
    timings = Timings()
    with tracing.request(headers):
        done: str = await timings.of("detect", call(Method("detect", stage.work), 7))
    return done


def test_without_an_endpoint_nothing_is_traced() -> None:
    stop = tracing.start("test", TracingSettings())
    stage = Stage()
    with tracing.request(SAMPLED) as span:
        assert tracing.trace_id_of(span) is None
        assert tracing.carrier() == {}
    assert asyncio.run(ask(stage, SAMPLED)) == "done"
    assert stage.asked == [(7,)]
    stop()


def test_spans_of_a_request_hang_together(collecting: Collector, flush: Any) -> None:
    stage = Stage()
    assert asyncio.run(ask(stage, SAMPLED)) == "done"
    assert stage.asked == [(7,)]  # of the trace the method sees nothing
    flush()
    spans = {span.name: span for span in collecting.spans}
    assert spans.keys() == {"request", "detect", "Stage.work", "s3 get"}
    parents = ["request", "detect", "Stage.work", "s3 get"]
    assert [spans[name].parent for name in parents] == [
        PARENT,
        *(spans[name].id for name in parents[:-1]),
    ]
    assert {span.trace for span in spans.values()} == {TRACE}
    assert {span.service for span in spans.values()} == {"faces-test"}
    asked = spans["s3 get"]
    assert asked.failed
    assert asked.attributes == {"outcome": "error"}
    assert asked.end - asked.start == pytest.approx(0.5e9, rel=0.01)


@pytest.mark.parametrize(
    "headers", [None, {}, NOT_SAMPLED, {"traceparent": "no"}, {"traceparent": "00-" + "0" * 50}]
)
def test_who_is_not_sampled_leaves_nothing(
    collecting: Collector, flush: Any, headers: dict[str, str] | None
) -> None:
    assert asyncio.run(ask(Stage(), headers)) == "done"
    flush()
    assert collecting.spans == []


def test_a_share_is_sampled_of_those_who_do_not_say(collecting: Collector) -> None:
    stop = tracing.start("test", TracingSettings(endpoint=f"{collecting.url}/", sample_ratio=0.5))
    for _ in range(200):
        with tracing.request({}):
            pass
        with tracing.request(NOT_SAMPLED):
            pass
    stop()
    assert 50 < len(collecting.spans) < 150
    assert {span.parent for span in collecting.spans} == {""}


def test_what_a_stage_raises_is_in_its_span_and_arrives(collecting: Collector, flush: Any) -> None:
    async def run() -> None:
        with tracing.request(SAMPLED):
            await call(Method("match", Stage().fail))

    with pytest.raises(Unavailable):
        asyncio.run(run())
    flush()
    assert {span.name: span.failed for span in collecting.spans} == {
        "request": True,
        "Stage.fail": True,
    }


def test_an_http_request_is_a_span_and_its_line_has_the_trace(
    collecting: Collector, flush: Any, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api()
    with caplog.at_level("INFO"):
        assert api.post("/infer", content=b"x", headers={**JPEG, **SAMPLED}).status_code == 200
    (record,) = (r for r in caplog.records if r.name == "serving.access")
    assert vars(record)["trace_id"] == TRACE
    api.pipeline.failure = Unavailable("Triton is away.")
    api.post("/infer", content=b"x", headers={**JPEG, **SAMPLED})
    for probe in ("/healthz", "/readyz"):
        api.get(probe, headers=SAMPLED)
    flush()
    requests = [span for span in collecting.spans if span.parent == PARENT]
    assert [(span.name, span.failed) for span in requests] == [
        ("POST /infer", False),
        ("POST /infer", True),
    ]
    assert requests[1].attributes == {
        "http.request.method": "POST",
        "http.route": "/infer",
        "http.response.status_code": 503,
    }


def test_an_unreachable_collector_is_no_matter() -> None:
    unreachable = TracingSettings(endpoint="http://127.0.0.1:9", sample_ratio=1)
    stop = tracing.start("test", unreachable, export_seconds=0.2)
    for _ in range(5000):  # more than are kept for it
        with tracing.request({}) as span:
            assert tracing.trace_id_of(span) is not None
    stop()


def test_a_collector_that_refuses_is_no_matter(collecting: Collector, flush: Any) -> None:
    collecting.status = 400
    assert asyncio.run(ask(Stage(), SAMPLED)) == "done"
    flush()
