"""JSON and base64 of bodies: what they may cost, and what is refused."""

from __future__ import annotations

import base64
import json
import tracemalloc

import pytest
from pydantic import ValidationError

from serving.api.parsing import JSON_VALUES, from_base64
from serving.api.request_schemas import EmbeddingsRequest
from tests.support.api import Api, detail_of

PHOTO = b"\xff\xd8 bytes that only the decoder looks into \x00\xff"
B64 = base64.b64encode(PHOTO).decode()
JSON = {"content-type": "application/json"}
JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def api() -> Api:
    return Api()


class TestJsonThatIsManyTimesLargerOnceItIsRead:
    """Two bytes of `[1,1,1…` become more than a thousand where each is an error of its own."""

    @pytest.mark.parametrize(
        ("method", "path", "start"),
        [
            ("POST", "/infer", b'{"image": ['),
            ("POST", "/detect", b'{"image": "QUJD", "x": ['),
            ("POST", "/verify", b'{"image_a": "QUJD", "image_b": ['),
            ("POST", "/generate", b'{"id": 7, "images": ['),
            ("PATCH", "/identities/7", b'{"metadata": ['),
            ("POST", "/identities/7/merge", b'{"from": ['),
            ("POST", "/v2/models/face-identification/infer", b'{"inputs": ['),
        ],
    )
    def test_it_is_refused_before_it_is_read(
        self, api: Api, method: str, path: str, start: bytes
    ) -> None:
        body = start + b"1," * JSON_VALUES + b"1]}"
        answer = api.request(method, path, content=body, headers=JSON)
        assert answer.status_code == 413, answer.text
        assert "values" in answer.text
        assert not api.pipeline.asked

    def test_of_embeddings_that_are_none_the_first_is_told(self) -> None:
        body = json.dumps({"model": "x", "embeddings": [["a"] * 1000] * 1000}).encode()
        with pytest.raises(ValidationError) as caught:
            EmbeddingsRequest.model_validate_json(body)
        assert caught.value.error_count() == 1

    def test_as_many_photos_as_are_taken_are_read(self) -> None:
        images = [{"image": f"data:image/jpeg;base64,{B64}"}] * 100
        api = Api()
        assert api.post("/generate", json={"id": 7, "images": images}).status_code == 200

    def test_base64_in_short_lines_takes_no_more_than_in_long_ones(self) -> None:
        text = "QUJD " * 1_000_000
        tracemalloc.start()
        try:
            assert from_base64(text) == b"ABC" * 1_000_000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 5 * len(text)


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", "/identities/7"), ("POST", "/identities/7/merge")],
)
class TestBodiesOfIdentities:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"[" * 100_000,
            b'{"metadata": {"x": NaN}, "from": [NaN]}',
            b'{"metadata": {"x": "\\ud800"}, "from": ["\\ud800"]}',
            b'{"name": "\\ud800"}',
        ],
        ids=lambda body: str(body)[:40],
    )
    def test_what_cannot_be_told_again_is_refused(
        self, api: Api, method: str, path: str, body: bytes
    ) -> None:
        detail_of(api.request(method, path, content=body, headers=JSON), 400)

    @pytest.mark.parametrize("headers", [{}, {"content-type": "text/plain"}, JPEG])
    def test_only_json_is_read(
        self, api: Api, method: str, path: str, headers: dict[str, str]
    ) -> None:
        answer = api.request(method, path, content=b'{"name": "Ada"}', headers=headers)
        assert "Content-Type" in detail_of(answer, 400)

    def test_one_that_is_too_long_is_told_so(self, method: str, path: str) -> None:
        api = Api(max_body_bytes=100)
        detail_of(api.request(method, path, content=b" " * 101, headers=JSON), 413)
