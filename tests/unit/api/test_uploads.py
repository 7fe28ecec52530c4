"""The least rate of uploads."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator

import pytest

from serving.api.uploads import Upload
from tests.support.api import Api, detail_of

JPEG = {"Content-Type": "image/jpeg"}


def test_patience_ends_when_the_average_is_too_low() -> None:
    upload = Upload(least=100, grace_s=5)
    assert upload.patience_s() == 5
    upload.received(1000, waited_s=3)
    assert upload.patience_s() == pytest.approx(12)
    upload.received(1, waited_s=13)
    assert upload.patience_s() == 0


def test_no_rate_no_end() -> None:
    assert Upload(least=0, grace_s=0).patience_s() == math.inf


async def bytes_of(every_s: float, each: bytes, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield each
        await asyncio.sleep(every_s)


def test_a_body_that_drips_is_ended_long_before_the_time_of_a_request() -> None:
    api = Api(min_upload_rate=1000, upload_grace_s=0.2)
    start = time.monotonic()
    answer = api.post("/infer", content=bytes_of(0.05, b"x", 1000), headers=JPEG)
    assert "too slowly: it needs 1000 bytes a second" in detail_of(answer, 408)
    assert time.monotonic() - start < 5
    # The rest of it must not hold the connection.
    assert answer.headers["connection"] == "close"
    assert api.pipeline.asked == []


def test_a_slow_body_of_the_right_rate_is_taken() -> None:
    api = Api(min_upload_rate=1000, upload_grace_s=0.2)
    answer = api.post("/infer", content=bytes_of(0.02, b"x" * 500, 30), headers=JPEG)
    assert answer.status_code == 200
    assert "connection" not in answer.headers


def test_the_time_that_the_service_takes_is_not_the_caller_s() -> None:
    api = Api(min_upload_rate=1e6, upload_grace_s=0.1)
    api.pipeline.seconds = 0.3
    assert api.post("/infer", content=b"x", headers=JPEG).status_code == 200
