"""Large answers and hostile bodies: the event loop goes on beside them."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import random
import time
from typing import Any

import httpx
import numpy as np
import pytest

from serving import garbage
from serving.api.build import build_api
from serving.api.replies import reply
from serving.api.schemas import DetectAnswer, InferAnswer
from serving.matching.records import Candidate, Matches
from serving.pipeline.reports import Identified
from serving.settings import AppArgs
from serving.telemetry.metrics import ApiMetrics, LoopGauge
from serving.vision.records import Faces
from tests.support.api import Api
from tests.support.stages import CARD, faces

JPEG = {"content-type": "image/jpeg"}
# Without threads it is more than a second.
LATE_S = 0.3


def crowd(count: int, candidates: int) -> Identified:
    """A photo of so many faces, without their crops."""
    few = faces((1, 2, 30, 40))
    found = Faces(
        boxes=np.repeat(few.boxes, count, axis=0),
        scores=np.repeat(few.scores, count),
        landmarks=np.repeat(few.landmarks, count, axis=0),
        crops=np.broadcast_to(few.crops, (count, *few.crops.shape[1:])),
        quality=few.quality * count,
        turns=np.zeros(count, np.int64),
    )
    of_face = tuple(Candidate(n, "Ada", 0.7) for n in range(candidates))
    return Identified(found, Matches((of_face,) * count, 17, 1000), CARD, 0.5, ((),) * count)


def lag_during(api: Api, method: str, path: str, **request: Any) -> tuple[float, httpx.Response]:
    """The longest that the event loop was late while the request was answered.

    In seconds of this process's CPU time, since other processes of the machine make it late, too.
    """

    async def ask() -> tuple[float, httpx.Response]:
        transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://faces") as client:
            asking = asyncio.create_task(client.request(method, path, **request))
            late = 0.0
            while not asking.done():
                start = time.process_time()
                await asyncio.sleep(0.02)
                late = max(late, time.process_time() - start)
            return late, await asking

    garbage.begin()  # as a replica does
    try:
        return asyncio.run(ask())
    finally:
        gc.unfreeze()


def test_the_largest_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    api, found = Api(), crowd(1000, 100)

    async def identify(*args: Any, **options: Any) -> Identified:
        return found

    monkeypatch.setattr(api.pipeline, "identify", identify)
    late, answer = lag_during(api, "POST", "/infer?top_k=100", content=b"x", headers=JPEG)
    assert answer.status_code == 200, answer.text
    body = InferAnswer.model_validate_json(answer.content)
    assert [len(face.candidates) for face in body.faces] == [100] * 1000
    assert late < LATE_S


@pytest.mark.parametrize("form", ["json", "form", "embeddings", "base64 with blanks"])
def test_a_hostile_body(form: str) -> None:
    """Of 16 MiB."""
    api, size = Api(), 16 * 2**20
    path, headers = "/infer", {"content-type": "application/json"}
    text = base64.b64encode(random.Random(3).randbytes(size * 3 // 4)).decode()
    if form == "json":
        body = json.dumps({"image": text}).encode()
    elif form == "base64 with blanks":
        body = json.dumps({"image": text + "= ="}).encode()
    elif form == "form":
        headers = {"content-type": "multipart/form-data; boundary=x; charset=utf-8"}
        head = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
        body = head + b"\r\n--" * (size // 4) + b"\r\n--x--"
    else:
        path = "/identities/7/embeddings"
        body = b'{"model": "x", "embeddings": [[' + b"1," * 1_000_000 + b"1]]}"
    late, answer = lag_during(api, "POST", path, content=body, headers=headers)
    assert answer.status_code < 500 or form == "embeddings"  # no matcher is there
    assert late < LATE_S


def test_what_is_wrong_is_raised() -> None:
    def wrong() -> DetectAnswer:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(reply(wrong))


def test_the_lag_is_measured_for_as_long_as_the_application_runs() -> None:
    class Kept(LoopGauge):
        running = False

        async def keep(self, *, every_s: float = 0, step_s: float = 0) -> None:
            self.running = True
            try:
                await asyncio.sleep(60)
            finally:
                self.running = False

    api, gauge = Api(), Kept()
    app = build_api(
        api.pipeline, api.register, AppArgs(), metrics=ApiMetrics(), keys=None, lag=gauge
    )

    async def run() -> list[bool]:
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0)
            during = gauge.running
        await asyncio.sleep(0)
        return [during, gauge.running]

    assert asyncio.run(run()) == [True, False]
