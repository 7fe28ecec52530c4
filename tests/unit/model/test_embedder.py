"""The client of Triton: splitting into batches, and what each failure becomes.

That it agrees with a real tritonserver is tested with the one-machine stack.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from serving.errors import Unavailable
from serving.model import server
from serving.model.embedder import Embedder
from serving.settings import TritonSettings
from serving.vision.records import CROP_SIZE

MODELS = Path(__file__).resolve().parents[3] / "triton" / "models"
CARD = (MODELS / "facenet-casia-webface" / "model.json").read_text()
CONFIG = {
    "max_batch_size": 32,
    "input": [{"name": "INPUT__0"}],
    "output": [{"name": "OUTPUT__0"}],
    "parameters": {"card": {"string_value": CARD}},
}


WITHOUT_ID = json.dumps(json.loads(CARD) | {"id": None})


class Answer:
    def __init__(self, vectors: NDArray[np.float32] | None) -> None:
        self._vectors = vectors

    def as_numpy(self, name: str) -> NDArray[np.float32] | None:
        assert name == "OUTPUT__0"
        return self._vectors


class Triton:
    """A client of a Triton that answers a crop whose first pixel is v with v in every place."""

    def __init__(self, config: Any = CONFIG) -> None:
        self.config = config
        self.asked: list[str] = []
        self.batches: list[int] = []
        self.at_once = self.most_at_once = 0
        self.failures: list[Exception] = []
        self.answer: Callable[[NDArray[np.float32]], NDArray[np.float32] | None] = lambda v: v
        self.seconds = 0.0

    async def _reply(self, what: str) -> None:
        self.asked.append(what)
        await asyncio.sleep(self.seconds)
        if self.failures:
            raise self.failures.pop(0)

    async def is_model_ready(self, model: str) -> bool:
        await self._reply("ready")
        return True

    async def get_model_config(self, model: str) -> Any:
        await self._reply("config")
        return self.config

    async def infer(self, model: str, inputs: list[Any], outputs: list[Any]) -> Answer:
        count = inputs[0].shape()[0]
        self.batches.append(count)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._reply("infer")
        finally:
            self.at_once -= 1
        raw = np.frombuffer(inputs[0]._get_binary_data(), np.uint8).reshape(count, -1)
        return Answer(self.answer(np.repeat(raw[:, :1].astype(np.float32), 512, axis=1)))


def crops(count: int) -> NDArray[np.uint8]:
    made = np.zeros((count, 3, CROP_SIZE, CROP_SIZE), np.uint8)
    made[:, 0, 0, 0] = np.arange(count) % 256
    return made


Asked = list[tuple[str, str, int]]


def embedder(triton: Triton, **settings: Any) -> Embedder:
    return Embedder(TritonSettings(**settings), client=triton)


def observed(triton: Triton, asked: Asked, **settings: Any) -> Embedder:
    """One that notes in ``asked`` what it is told of its requests."""

    def note(call: str, outcome: str, seconds: float, batch: int) -> None:
        assert 0 <= seconds < 60
        asked.append((call, outcome, batch))

    return Embedder(TritonSettings(**settings), client=triton, observe=note)


def run(embedding: Awaitable[NDArray[np.float32]]) -> NDArray[np.float32]:
    async def wait() -> NDArray[np.float32]:
        return await embedding

    return asyncio.run(wait())


def fails(triton: Triton, match: str, **settings: Any) -> None:
    with pytest.raises(Unavailable, match=match):
        run(embedder(triton, **settings).embed(crops(1)))


class TestBatches:
    @pytest.mark.parametrize(
        ("count", "batches"), [(1, [1]), (8, [8]), (9, [8, 1]), (20, [8, 8, 4])]
    )
    def test_many_faces_are_sent_in_parts(self, count: int, batches: list[int]) -> None:
        triton = Triton()
        vectors = run(embedder(triton).embed(crops(count)))
        assert triton.batches == batches
        assert vectors.shape == (count, 512)
        assert vectors.dtype == np.float32
        assert vectors[:, 0].tolist() == [i % 256 for i in range(count)]

    def test_no_face(self) -> None:
        triton = Triton()
        assert run(embedder(triton).embed(crops(0))).shape == (0, 512)
        assert triton.batches == []

    def test_a_crowd_does_not_wait_for_itself(self) -> None:
        triton = Triton(CONFIG | {"max_batch_size": 2})
        triton.seconds = 0.05
        # All at once they would wait 0.5 s for each other, were Triton to take them in turn.
        assert run(embedder(triton, timeout_s=0.4).embed(crops(40))).shape == (40, 512)
        assert triton.most_at_once == server._PARTS_AT_ONCE

    def test_a_photo_with_few_faces_does_not_wait_for_crowds(self) -> None:
        triton = Triton()
        triton.seconds = 0.02
        ended: list[int] = []

        async def both() -> None:
            client = embedder(triton)
            await client.served()

            async def embedding(count: int) -> None:
                assert (await client.embed(crops(count))).shape == (count, 512)
                ended.append(count)

            crowds = [asyncio.ensure_future(embedding(80)) for _ in range(3)]
            await asyncio.sleep(0.01)
            await embedding(1)
            assert triton.most_at_once == server._PARTS_AT_ONCE + 1
            await asyncio.gather(*crowds)

        asyncio.run(both())
        assert ended == [1, 80, 80, 80]

    def test_a_model_without_batching_takes_one_at_a_time(self) -> None:
        triton = Triton(CONFIG | {"max_batch_size": 0})
        run(embedder(triton).embed(crops(3)))
        assert triton.batches == [1, 1, 1]


class TestCard:
    def test_it_is_kept_for_a_while(self) -> None:
        triton = Triton()
        client = embedder(triton)
        for _ in range(3):
            run(client.embed(crops(1)))
        assert triton.asked.count("config") == 1

    def test_it_is_asked_for_again_once_its_time_is_over(self) -> None:
        triton = Triton()
        client = Embedder(TritonSettings(), client=triton, card_seconds=0.0)
        for _ in range(3):
            run(client.embed(crops(1)))
        assert triton.asked.count("config") == 3

    def test_after_a_failure_it_is_asked_again(self) -> None:
        triton = Triton()
        client = embedder(triton)
        run(client.embed(crops(1)))
        triton.failures = [InferenceServerException("busy")]
        with pytest.raises(Unavailable):
            run(client.embed(crops(1)))
        run(client.embed(crops(1)))
        assert triton.asked.count("config") == 2

    @pytest.mark.parametrize(
        "config",
        [
            {},
            [],
            None,
            {k: v for k, v in CONFIG.items() if k != "parameters"},
            CONFIG | {"parameters": {"card": {"string_value": "{}"}}},
            CONFIG
            | {
                "parameters": {
                    "card": {"string_value": json.dumps(json.loads(CARD) | {"id": None})}
                }
            },
            CONFIG | {"input": []},
        ],
    )
    def test_a_model_without_a_usable_card_is_not_used(self, config: Any) -> None:
        fails(Triton(config), r"without a usable card; trace it anew")


class TestObserve:
    def test_every_request_is_told(self) -> None:
        asked: Asked = []
        run(observed(Triton(), asked).embed(crops(9)))
        assert asked[0] == ("config", "ok", 0)
        assert sorted(asked[1:]) == [("infer", "ok", 1), ("infer", "ok", 8)]

    def test_a_repetition_is_a_request_of_its_own(self) -> None:
        triton, asked = Triton(), Asked()
        triton.failures = [aiohttp.ServerDisconnectedError()]
        asyncio.run(observed(triton, asked).ready())
        assert asked == [("ready", "unreachable", 0), ("ready", "ok", 0)]

    @pytest.mark.parametrize(
        ("failure", "outcome"),
        [
            (InferenceServerException("no such model"), "refused"),
            (aiohttp.ClientPayloadError(), "unreachable"),
            (json.JSONDecodeError("no", "<html>", 0), "invalid"),
        ],
    )
    def test_a_failure_is_told_by_its_kind(self, failure: Exception, outcome: str) -> None:
        triton, asked = Triton(), Asked()
        triton.failures = [failure]
        assert asyncio.run(observed(triton, asked).ready()) is False
        assert asked == [("ready", outcome, 0)]

    def test_being_late_is_told(self) -> None:
        triton, asked = Triton(), Asked()
        triton.seconds = 5.0
        assert asyncio.run(observed(triton, asked, timeout_s=0.05).ready()) is False
        assert asked == [("ready", "timeout", 0)]


class TestFailures:
    def test_a_replica_that_goes_may_take_two_connections_with_it(self) -> None:
        triton = Triton()
        client = embedder(triton)
        run(client.embed(crops(1)))
        triton.failures = [aiohttp.ServerDisconnectedError()] * 2
        assert run(client.embed(crops(1))).shape == (1, 512)

    def test_triton_is_away(self) -> None:
        triton = Triton()
        triton.failures = [aiohttp.ServerDisconnectedError()] * 3
        fails(triton, "cannot be reached")

    def test_triton_is_late(self) -> None:
        triton = Triton()
        triton.seconds = 5.0
        fails(triton, r"did not answer within 0\.05 s", timeout_s=0.05)

    def test_a_refusal_is_told_in_one_line(self) -> None:
        triton = Triton()
        triton.failures = [InferenceServerException("no such model\nTraceback: /opt/x.py")]
        with pytest.raises(Unavailable, match="no such model") as caught:
            run(embedder(triton).embed(crops(1)))
        assert "/opt" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_answer_that_is_no_json(self) -> None:
        triton = Triton()
        triton.failures = [json.JSONDecodeError("no", "<html>", 0)]
        fails(triton, "no Triton")

    @pytest.mark.parametrize(
        "answer",
        [
            lambda v: None,
            lambda v: v[:, :100],
            lambda v: v[:0],
            lambda v: v[0],
            lambda v: v * np.nan,
        ],
    )
    def test_an_answer_that_is_no_embedding(self, answer: Any) -> None:
        triton = Triton()
        triton.answer = answer
        fails(triton, "no embedding")

    def test_ready(self) -> None:
        triton = Triton()
        client = embedder(triton)
        assert asyncio.run(client.ready())
        triton.failures = [aiohttp.ClientConnectionError()] * 3
        assert not asyncio.run(client.ready())


def test_the_path_of_a_socket_is_no_address() -> None:
    """A folder may be called so; a URL would end before the ? or the #."""
    path = "/run/100% it's? #1 [a]/triton.sock"

    async def connector() -> str:
        its_client = server.InferenceServer(TritonSettings(url=f"unix:{path}"), None, unobserved)
        try:
            return str(its_client.client._conn.path)
        finally:
            await its_client.client.close()

    assert asyncio.run(connector()) == path


def unobserved(what: str, outcome: str, seconds: float, faces: int) -> None:
    pass
