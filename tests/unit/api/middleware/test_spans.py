"""Whose traceparent is obeyed, over a real collector on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from serving import tracing
from serving.keys import hash_of
from serving.settings import KeySettings, TracingSettings
from serving.valid_keys import Keys
from tests.support.api import Api
from tests.support.otlp import Collector, collector

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ASKED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture
def collecting() -> Iterator[Collector]:
    with collector() as found:
        yield found


def test_only_callers_that_were_let_in_decide_what_is_traced(collecting: Collector) -> None:
    stop = tracing.start("test", TracingSettings(endpoint=collecting.url, sample_ratio=0))
    entry = {"name": "k", "hash": hash_of("secret"), "scopes": ["identify"]}
    text = yaml.safe_dump({"keys": [entry]})
    api = Api(keys=Keys(KeySettings(required=True), {"FACES_KEYS": text}.get))
    bearer = {"Authorization": "Bearer secret"}
    try:
        for path, headers in (
            ("/v2/models/face-identification", {}),  # refused: no key
            ("/identities", bearer),  # refused: not the scope
            ("/v2", {}),  # needs no key
            ("/v2/models/face-identification", bearer),
        ):
            api.get(path, headers={**ASKED, **headers})
    finally:
        stop()
    (span,) = collecting.wait(lambda spans: bool(spans))
    assert span.name == "GET /v2/models/{name}"
