"""The Open Inference Protocol against the clients that people have: Triton's and KServe's."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from kserve import InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig
from tritonclient.utils import InferenceServerException

from serving.api.v2_codec import OUTPUTS
from serving.stack.config import StackSettings

T = TypeVar("T")

MODEL = "face-identification"
GROUP_FACES = 4


@pytest.fixture(scope="module")
def ardern(api: httpx.Client, data: Path) -> int:
    files = [("images", (data / f"2576/photo_0{n}.jpg").read_bytes()) for n in range(1, 6)]
    answer = api.post("/generate", data={"id": "2576", "name": "Jacinda Ardern"}, files=files)
    assert answer.status_code == 200, answer.text
    return 2576


@pytest.fixture(scope="module")
def photos(data: Path) -> list[bytes]:
    """One face that is known, one that is not, and four of which one is known."""
    paths = ("id_is_2576.jpg", "people/102/obama.jpg", "group.jpg")
    return [(data / path).read_bytes() for path in paths]


@pytest.fixture
def client(stack: StackSettings, api: httpx.Client) -> Iterator[Any]:
    client = triton.InferenceServerClient(stack.url.removeprefix("http://"), network_timeout=60)
    yield client
    client.close()


def tensor_of(photos: list[bytes], binary: bool) -> Any:
    data = photos if binary else [base64.b64encode(p) for p in photos]
    tensor = triton.InferInput("IMAGE", [len(photos)], "BYTES")
    tensor.set_data_from_numpy(np.array(data, np.object_), binary_data=binary)
    return tensor


class TestTritonsClient:
    def test_it_finds_the_server_and_the_model(self, client: Any) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL)
        assert client.is_model_ready(MODEL, "1")
        assert not client.is_model_ready("other")
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        metadata = client.get_model_metadata(MODEL, "1")
        assert metadata["inputs"] == [{"name": "IMAGE", "datatype": "BYTES", "shape": [-1]}]

    @pytest.mark.parametrize("binary", [True, False])
    def test_photos_in_faces_out(
        self, client: Any, ardern: int, photos: list[bytes], binary: bool
    ) -> None:
        outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in OUTPUTS]
        result = client.infer(MODEL, [tensor_of(photos, binary)], outputs=outputs, request_id="a-1")
        assert result.get_response()["id"] == "a-1"
        found = {name: result.as_numpy(name) for name in OUTPUTS}
        assert found["PHOTO"].tolist() == [0, 1] + [2] * GROUP_FACES
        ids = found["ID"].tolist()
        assert ids[:2] == [ardern, -1]
        assert sorted(ids[2:]) == [-1, -1, -1, ardern]
        names = [n.decode() if binary else n for n in found["NAME"]]
        assert names == ["Jacinda Ardern" if i == ardern else "" for i in ids]
        assert (found["CONFIDENCE"][found["ID"] == -1] < 0.5).all()
        assert (found["CONFIDENCE"][found["ID"] == ardern] > 0.6).all()
        assert (found["DETECTION_SCORE"] > 0.9).all()
        assert found["BOX"][0] == pytest.approx([222, 153, 502, 529], abs=4)

    def test_it_says_what_infer_says(
        self, client: Any, api: httpx.Client, ardern: int, photos: list[bytes]
    ) -> None:
        result = client.infer(MODEL, [tensor_of(photos[2:], True)], parameters={"threshold": -1.0})
        told = api.post("/infer", files={"image": photos[2]}, params={"threshold": -1}).json()
        assert result.as_numpy("ID").tolist() == [f["id"] for f in told["faces"]]
        assert result.as_numpy("SIMILARITY") == pytest.approx(
            [f["similarity"] for f in told["faces"]], abs=1e-3
        )
        assert result.as_numpy("BOX").round().tolist() == [f["box"] for f in told["faces"]]
        parameters = result.get_response()["parameters"]
        assert parameters["model"] == told["model"]
        assert parameters["gallery_version"] == told["gallery_version"]

    def test_only_what_was_asked_for(self, client: Any, ardern: int, photos: list[bytes]) -> None:
        outputs = [triton.InferRequestedOutput("ID")]
        result = client.infer(
            MODEL, [tensor_of(photos[2:], True)], outputs=outputs, parameters={"max_faces": 2}
        )
        assert [o["name"] for o in result.get_response()["outputs"]] == ["ID"]
        assert len(result.as_numpy("ID")) == 2

    def test_many_photos_at_once(self, client: Any, ardern: int, photos: list[bytes]) -> None:
        result = client.infer(MODEL, [tensor_of(photos[:1] * 32, True)])
        assert result.as_numpy("PHOTO").tolist() == list(range(32))
        assert set(result.as_numpy("ID").tolist()) == {ardern}

    def test_what_is_wrong_is_told(self, client: Any, photos: list[bytes]) -> None:
        cases: list[tuple[str, str, Callable[[], Any]]] = [
            ("415", "IMAGE[1]", lambda: client.infer(MODEL, [tensor_of([photos[0], b"x"], True)])),
            ("400", "1 to 32", lambda: client.infer(MODEL, [tensor_of([b"x"] * 33, True)])),
            ("404", MODEL, lambda: client.infer("other", [tensor_of(photos[:1], True)])),
            ("404", "path", lambda: client.get_model_config(MODEL)),
        ]
        for status, said, ask in cases:
            with pytest.raises(InferenceServerException) as error:
                ask()
            assert error.value.status() == status
            assert said in error.value.message()


class TestKServesClient:
    def ask(
        self, stack: StackSettings, question: Callable[[InferenceRESTClient], Awaitable[T]]
    ) -> T:
        async def ask() -> T:
            async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
                return await question(client)

        return asyncio.run(ask())

    def test_it_finds_the_server_and_the_model(
        self, stack: StackSettings, api: httpx.Client
    ) -> None:
        assert self.ask(stack, lambda c: c.is_server_live(stack.url))
        assert self.ask(stack, lambda c: c.is_server_ready(stack.url))
        assert self.ask(stack, lambda c: c.is_model_ready(stack.url, MODEL))
        assert not self.ask(stack, lambda c: c.is_model_ready(stack.url, "other"))

    @pytest.mark.parametrize("binary", [True, False])
    def test_photos_in_faces_out(
        self, stack: StackSettings, ardern: int, photos: list[bytes], binary: bool
    ) -> None:
        data = photos if binary else [base64.b64encode(p) for p in photos]
        tensor = InferInput("IMAGE", [len(photos)], "BYTES")
        tensor.set_data_from_numpy(np.array(data, np.object_), binary_data=binary)
        parameters = {"binary_data_output": binary}
        request = InferRequest(MODEL, [tensor], "k-1", parameters=parameters)
        response = self.ask(stack, lambda c: c.infer(stack.url, request, MODEL))
        assert isinstance(response, InferResponse)
        assert response.id == "k-1"
        found = {output.name: output.as_numpy() for output in response.outputs}
        assert found["PHOTO"].tolist() == [0, 1] + [2] * GROUP_FACES
        assert found["ID"].tolist()[:2] == [ardern, -1]
        assert found["NAME"].tolist()[:2] == ["Jacinda Ardern", ""]
        assert found["BOX"].shape == (2 + GROUP_FACES, 4)

    def test_what_is_wrong_is_told(self, stack: StackSettings, api: httpx.Client) -> None:
        tensor = InferInput("IMAGE", [1], "BYTES", ["***"])
        request = InferRequest(MODEL, [tensor])
        with pytest.raises(httpx.HTTPStatusError, match="base64"):
            self.ask(stack, lambda c: c.infer(stack.url, request, MODEL))


def test_photos_are_counted_against_the_same_limits(api: httpx.Client) -> None:
    answer = api.post(f"/v2/models/{MODEL}/infer", content=bytes(65 * 2**20))
    assert (answer.status_code, answer.json().keys()) == (413, {"error"})
