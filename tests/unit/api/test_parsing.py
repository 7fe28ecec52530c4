"""JSON and base64 of bodies: what they may cost, and what is refused."""

from __future__ import annotations

import base64
import gzip
import json
import random
import tracemalloc

import pytest
from pydantic import ValidationError

from serving.api.parsing import JSON_VALUES, from_base64
from serving.api.request_schemas import EmbeddingsRequest
from serving.errors import BadRequest
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
        text = "QUJD\n" * 1_000_000
        tracemalloc.start()
        try:
            assert from_base64(text) == b"ABC" * 1_000_000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 5 * len(text)


class TestBase64:
    """What is unambiguous is taken, and of the rest the sentence says what became of it."""

    PHOTO = bytes(range(256)) * 5 + b"x"  # both letters in which the alphabets differ

    @pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 1281])
    def test_every_spelling(self, length: int) -> None:
        photo = self.PHOTO[-length:] if length else b""
        text = base64.b64encode(photo).decode()
        lines = "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76))
        for spelled in (
            text,
            text.rstrip("="),
            base64.urlsafe_b64encode(photo).decode(),
            base64.urlsafe_b64encode(photo).decode().rstrip("="),
            lines,
            f"\n {lines} \t\n",
            "\n".join(text),
            f"data:image/jpeg;base64,{text}",
            f"data:;base64,\n{lines}\n",
            f" DATA:IMAGE/JPEG;charset=utf-8;BASE64,{text.rstrip('=')}",
        ):
            assert from_base64(spelled) == photo

    def test_a_long_one_is_decoded_in_pieces(self) -> None:
        photo = random.Random(1).randbytes(1_000_001)
        text = base64.b64encode(photo).decode()
        assert from_base64(text) == photo
        for width in (1, 76, 1000):
            lines = "\r\n".join(text[i : i + width] for i in range(0, len(text), width))
            assert from_base64(lines) == photo

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("QU JD", "blanks in the base64"),
            ("QUJD QUJD", "blanks in the base64"),
            ("QUJD\tQUJD", "blanks in the base64"),
            ("QUJD\n QUJD", "blanks in the base64"),
            ("QUJDQ", "not base64"),
            ("QUJDQQ=", "not base64"),
            ("QUJDQUI==", "not base64"),
            ("QUJD=", "not base64"),
            ("QUJD====", "not base64"),
            ("QQ==QQ==", "not base64"),
            ("QU%zz", "not base64"),
            ("QU%2B", "percent-encoded"),
            ("QUJD%0aQUJD", "percent-encoded"),
            ("QQ%3d%3d", "percent-encoded"),
            ("%2F9j%2F4AAQ", "percent-encoded"),
            ("QUJD\\nQUJD", "backslashes"),
            ("b'QUJD'", "Python prints bytes"),
            ('"QUJD"', "quotes around"),
            ("'QUJD'", "quotes around"),
            ("/home/ada/photo.jpg", "the path of a file"),
            ("C:\\photos\\new.jpeg", "the path of a file"),
            ("C:\\ada.png", "the path of a file"),
            ("photos/Ada 1.HEIC", "the path of a file"),
            ("~/a.webp", "the path of a file"),
            ("https://faces/a.jpg", "an address"),
            ("ffd8ffe000104a464946", "is hexadecimal"),
            ("FFD8FFE1", "is hexadecimal"),
            ("0x89504E470D0A1A0A", "is hexadecimal"),
            ("\\xffd8ffe0", "is hexadecimal"),
            ("QUJ\u00e9", "not base64"),
            ("\uff11\uff11\uff11\uff11", "not base64"),
            ("data:image/png,QUJD", "must be base64"),
            ("data:image/png;base64", "not base64"),
            ("data:base64,QUJD", "must be base64"),
        ],
    )
    def test_what_is_none(self, text: str, sentence: str) -> None:
        with pytest.raises(BadRequest, match=sentence):
            from_base64(text)


class TestWholeBodies:
    @pytest.mark.parametrize(("method", "path"), [("POST", "/infer"), ("PATCH", "/identities/7")])
    def test_one_that_is_shorter_than_it_says(self, api: Api, method: str, path: str) -> None:
        headers = {**JSON, "content-length": "1000"}
        answer = api.request(method, path, content=b'{"image": "QUJD"}', headers=headers)
        sentence = "The body ended after 17 bytes; Content-Length says 1000."
        assert detail_of(answer, 400) == sentence
        assert not api.pipeline.asked

    @pytest.mark.parametrize("kind", ["application/json", "image/jpeg", "multipart/form-data"])
    @pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, identity", " GZIP "])
    def test_one_that_is_compressed(self, api: Api, kind: str, encoding: str) -> None:
        headers = {"content-type": f"{kind}; boundary=FORM", "content-encoding": encoding}
        answer = api.post("/infer", content=gzip.compress(b"{}"), headers=headers)
        assert detail_of(answer, 415) == "Send the body without a Content-Encoding."
        assert answer.headers["accept-encoding"] == "identity"
        assert answer.json()["type"] == "urn:faces:problem:unsupported-encoding"

    def test_identity_is_no_encoding(self, api: Api) -> None:
        headers = {**JPEG, "content-encoding": "identity"}
        assert api.post("/infer", content=PHOTO, headers=headers).status_code == 200

    @pytest.mark.parametrize(
        ("name", "first", "second"),
        [
            ("content-type", "image/jpeg", "application/json"),
            ("content-type", "application/json", "image/jpeg"),
            ("content-encoding", "identity", "gzip"),
            ("inference-header-content-length", "5", "6"),
        ],
    )
    def test_what_says_how_it_is_read_comes_once(
        self, api: Api, name: str, first: str, second: str
    ) -> None:
        headers = [("content-type", "image/jpeg")] if name != "content-type" else []
        both = [*headers, (name, first), (name, second)]
        answer = api.post("/infer", content=PHOTO, headers=both)
        assert "is given twice, as" in detail_of(answer, 400)
        assert not api.pipeline.asked
        same = [*headers, (name, first), (name, first)]
        answer = api.post("/infer", content=PHOTO, headers=same)
        assert "given twice" not in answer.text

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            (b"\xff\xd8\xff\xe0 photo", "no JSON, but a JPEG"),
            (b"\x89PNG\r\n\x1a\n photo", "no JSON, but a PNG"),
            (b"GIF89a", "no JSON, but a GIF"),
            (b"--FORM\r\nContent-Disposition: form-data\r\n\r\n\xff", "looks like a form"),
        ],
    )
    def test_what_is_sent_as_json_and_is_none_is_named(
        self, api: Api, body: bytes, named: str
    ) -> None:
        assert named in detail_of(api.post("/infer", content=body, headers=JSON), 400)
        answer = api.post("/v2/models/face-identification/infer", content=body, headers=JSON)
        assert named in answer.json()["error"]

    @pytest.mark.parametrize(
        "path", ["/infer", "/generate", "/verify", "/v2/models/face-identification/infer"]
    )
    def test_without_bytes_it_is_empty(self, api: Api, path: str) -> None:
        answer = api.post(path, headers=JSON)
        assert answer.status_code == 400
        assert "The body is empty; send JSON." in answer.text
        blank = api.post(path, headers=JSON, content=b" \r\n\t")
        assert "The body is empty; send JSON." in blank.text

    def test_json_may_begin_with_a_byte_order_mark(self, api: Api) -> None:
        body = b"\xef\xbb\xbf" + json.dumps({"image": B64}).encode()
        assert api.post("/infer", content=body, headers=JSON).status_code == 200
        assert api.asked["data"] == PHOTO

    @pytest.mark.parametrize("encoding", ["cp1251", "utf-16", "utf-32-le", "latin-1"])
    def test_json_that_is_not_utf8(self, api: Api, encoding: str) -> None:
        text = json.dumps({"name": "é" if encoding == "latin-1" else "Имя"}, ensure_ascii=False)
        body = text.encode(encoding)
        headers = {"content-type": f"application/json; charset={encoding}"}
        answer = api.request("PATCH", "/identities/7", content=body, headers=headers)
        assert detail_of(answer, 400) == "The body is not UTF-8; send JSON as UTF-8."

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    def test_json_of_ascii_in_wide_characters(self, api: Api, encoding: str) -> None:
        body = json.dumps({"image": B64}).encode(encoding)
        answer = api.post("/infer", content=body, headers=JSON)
        assert detail_of(answer, 400) == "The body is not UTF-8; send JSON as UTF-8."


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


@pytest.mark.parametrize("kind", ["text/plain", "application/json-patch+json", ""])
def test_a_body_that_is_no_json_is_refused_with_what_it_is(kind: str) -> None:
    answer = Api().request("PATCH", "/identities/7", content=b"{}", headers={"content-type": kind})
    named = f"The Content-Type is {kind}." if kind else "There is no Content-Type."
    assert detail_of(answer, 400).startswith(named)


def test_a_merge_patch_is_what_a_patch_means() -> None:
    headers = {"content-type": "application/merge-patch+json"}
    answer = Api().request("PATCH", "/identities/7", content=b"{}", headers=headers)
    assert "Give a name" in detail_of(answer, 400)
    answer = Api().post("/identities/7/merge", content=b'{"from": [8]}', headers=headers)
    assert "merge-patch" in detail_of(answer, 400)
