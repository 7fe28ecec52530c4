"""The Open Inference Protocol: what clients of it send and get, and what is refused."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st
from kserve import InferInput, InferRequest, InferResponse
from numpy.typing import NDArray

from serving.api import v2_codec
from serving.api.v2_codec import OUTPUTS, Inference
from serving.api.v2_schemas import InferParameters
from serving.errors import Overloaded, ServingError, TooLarge, Unavailable, UnsupportedImage
from serving.matching.records import Candidate, GalleryStatus, Matches
from serving.model.liveness import Liveness
from serving.pipeline.reports import Identified
from serving.settings import LookupSettings, MatchSettings
from serving.vision.quality import faults
from tests.support.api import Api
from tests.support.images import DATA
from tests.support.stages import CARD, GOOD, faces

PHOTO, OTHER, EMPTY = b"\xff\xd8 one \x00", b"\x89PNG two", b"nobody"
INFER = "/v2/models/face-identification/infer"
LENGTH = "Inference-Header-Content-Length"


@pytest.fixture
def api() -> Api:
    api = Api()
    api.pipeline.found = {OTHER: faces((0, 0, 9.5, 9), (1, 1, 5, 5)), EMPTY: faces()}
    return api


def error_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"error"}
    return str(body["error"])


def b64(photo: bytes) -> str:
    return base64.b64encode(photo).decode()


def body_of(*photos: bytes, **more: Any) -> dict[str, Any]:
    data = [b64(p) for p in photos]
    tensor = {"name": "IMAGE", "shape": [len(photos)], "datatype": "BYTES", "data": data}
    return {"inputs": [tensor], **more}


def packed(*photos: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(p)) + p for p in photos)


def post_binary(
    api: Api, binary: bytes, length: str | None = None, **tensor: Any
) -> httpx.Response:
    """A request with one photo as binary data, but for what ``tensor`` says."""
    parameters = {"binary_data_size": len(binary)}
    whole = {"name": "IMAGE", "shape": [1], "datatype": "BYTES", "parameters": parameters, **tensor}
    header = json.dumps({"inputs": [whole]}).encode()
    headers = {LENGTH: str(len(header)) if length is None else length}
    return api.post(INFER, content=header + binary, headers=headers)


class Triton:
    """What Triton's own client sends and reads, without its connection."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def infer(
        self, *photos: bytes, binary: bool = True, outputs: Any = None, **options: Any
    ) -> Any:
        given = photos if binary else [b64(p) for p in photos]
        tensor = triton.InferInput("IMAGE", [len(photos)], "BYTES")
        tensor.set_data_from_numpy(np.array(given, np.object_), binary_data=binary)
        client = triton.InferenceServerClient
        body, length = client.generate_request_body([tensor], outputs=outputs, **options)
        headers = {} if length is None else {LENGTH: str(length)}
        answer = self._api.post(INFER, content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        length = answer.headers.get(LENGTH)
        return client.parse_response_body(
            answer.content, header_length=None if length is None else int(length)
        )


def rows(result: Any) -> dict[str, NDArray[Any]]:
    return {name: result.as_numpy(name) for name in OUTPUTS}


@pytest.mark.parametrize("binary", [True, False])
def test_a_row_is_a_face(api: Api, binary: bool) -> None:
    result = Triton(api).infer(PHOTO, EMPTY, OTHER, binary=binary)
    found = rows(result)
    assert found["PHOTO"].tolist() == [0, 2, 2]
    assert found["ID"].tolist() == [7] * 3
    assert found["NAME"].tolist() == [b"Ada"] * 3
    assert found["SIMILARITY"].tolist() == [0.75] * 3
    assert found["CONFIDENCE"] == pytest.approx([CARD.confidence(0.75)] * 3)
    assert found["BOX"].tolist() == [[1, 2, 30, 40], [0, 0, 9.5, 9], [1, 1, 5, 5]]
    assert found["DETECTION_SCORE"] == pytest.approx([0.99, 0.99, 0.95])
    assert found["QUALITY"].tolist() == [b""] * 3
    assert found["TURN"].tolist() == [0] * 3
    assert found["AMBIGUOUS"].tolist() == [b""] * 3
    assert found["LIVE"].tolist() == [-1] * 3
    for name, array in found.items():
        assert (
            array.dtype
            == {"INT64": np.int64, "FP32": np.float32, "BYTES": np.object_}[OUTPUTS[name][0]]
        )
    parameters = result.get_response()["parameters"]
    assert parameters == {"model": CARD.id, "gallery_version": 17, "more_faces": False}
    assert sorted(a["data"] for a in api.pipeline.asked) == sorted([PHOTO, EMPTY, OTHER])


def test_a_face_that_is_too_poor_to_say_names_its_gates() -> None:
    poor = faults(replace(GOOD, evenness=0.5, tones=1.0), LookupSettings())
    found = replace(faces((1, 2, 30, 40)), turns=np.array([180]))
    photo = Identified(found, Matches(((),), 17, 1000), CARD, -1.0, (poor,))
    inference = Inference("1", [PHOTO], InferParameters(), dict.fromkeys(OUTPUTS, False))
    body, _ = v2_codec.answer(inference, [photo], "1")
    assert isinstance(body, dict)
    told = {output["name"]: output["data"] for output in body["outputs"]}
    assert told["QUALITY"] == ["pixelated,too-few-tones"]
    assert (told["ID"], told["SIMILARITY"], told["CONFIDENCE"]) == ([-1], [-1.0], [0.0])
    assert told["TURN"] == [180]


def test_an_ambiguous_face_has_the_ids_of_both(api: Api) -> None:
    api.pipeline.ambiguous = {0: (Candidate(7, "Ada", 0.75), Candidate(8, None, 0.74))}
    found = rows(Triton(api).infer(PHOTO))
    assert found["AMBIGUOUS"].tolist() == [b"7,8"]
    assert (found["ID"].tolist(), found["NAME"].tolist()) == ([-1], [b""])
    assert found["SIMILARITY"].tolist() == [0.75]
    api.pipeline.matching = MatchSettings(ambiguous="nearest")
    found = rows(Triton(api).infer(PHOTO))
    assert (found["AMBIGUOUS"].tolist(), found["ID"].tolist()) == ([b"7,8"], [7])


@pytest.mark.parametrize("binary", [True, False])
def test_no_face_is_an_answer(api: Api, binary: bool) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in OUTPUTS]
    found = rows(Triton(api).infer(EMPTY, outputs=outputs))
    assert [len(found[name]) for name in OUTPUTS] == [0] * len(OUTPUTS)
    assert found["BOX"].shape == (0, 4)


def test_a_stranger_has_no_id(api: Api) -> None:
    found = rows(Triton(api).infer(PHOTO, parameters={"threshold": 0.76}))
    assert (found["ID"].tolist(), found["NAME"].tolist()) == ([-1], [b""])
    assert found["SIMILARITY"].tolist() == [0.75]  # of the nearest, whoever it is


def test_the_requests_threshold_comes_before_the_settings() -> None:
    strict = Triton(Api(threshold=0.9))
    assert strict.infer(PHOTO).as_numpy("ID").tolist() == [-1]
    assert strict.infer(PHOTO, parameters={"threshold": 0.0}).as_numpy("ID").tolist() == [7]
    assert Triton(Api()).infer(PHOTO).as_numpy("ID").tolist() == [7]  # the card's is 0.5


def test_options_reach_the_pipeline(api: Api) -> None:
    Triton(api).infer(PHOTO, parameters={"max_faces": 3})
    assert api.asked == {"data": PHOTO, "top_k": 1, "max_faces": 3}


def test_only_the_outputs_that_were_asked_for_come_and_as_they_were_asked_for(api: Api) -> None:
    outputs = [
        triton.InferRequestedOutput("ID", binary_data=False),
        triton.InferRequestedOutput("BOX", binary_data=True),
    ]
    response = Triton(api).infer(PHOTO, outputs=outputs).get_response()
    assert [o["name"] for o in response["outputs"]] == ["ID", "BOX"]
    assert response["outputs"][0]["data"] == [7]
    assert response["outputs"][1]["parameters"] == {"binary_data_size": 16}


def test_json_is_answered_with_json(api: Api) -> None:
    answer = api.post(INFER, json=body_of(OTHER, outputs=[{"name": "BOX"}, {"name": "NAME"}]))
    assert LENGTH not in answer.headers
    assert answer.json()["outputs"] == [
        {"name": "BOX", "shape": [2, 4], "datatype": "FP32", "data": [0, 0, 9.5, 9, 1, 1, 5, 5]},
        {"name": "NAME", "shape": [2], "datatype": "BYTES", "data": ["Ada", "Ada"]},
    ]


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("photos", [[PHOTO], [PHOTO, b"other"]])
def test_data_of_a_batch_may_be_nested(api: Api, photos: list[bytes], nested: bool) -> None:
    body = body_of(*photos)
    tensor = body["inputs"][0]
    tensor["shape"] = [len(photos), 1]
    if nested:
        tensor["data"] = [[text] for text in tensor["data"]]
    answer = api.post(INFER, json=body)
    assert answer.status_code == 200, answer.text
    assert len(api.pipeline.asked) == len(photos)


def test_nested_data_have_the_shape_that_they_say(api: Api) -> None:
    one = b64(PHOTO)
    for shape, data in (
        ([1], [[one]]),
        ([2, 1], [[one]]),
        ([2, 1], [[one, one]]),
        ([2, 1], [[one], one]),
        ([1, 1], [[[one]]]),
        ([1, 1], [[]]),
    ):
        body = body_of(PHOTO)
        body["inputs"][0] |= {"shape": shape, "data": data}
        error_of(api.post(INFER, json=body), 400)
    assert not api.pipeline.asked


def test_an_output_may_be_in_json_though_the_default_is_binary(api: Api) -> None:
    outputs = [{"name": "ID", "parameters": {"binary_data": False}}, {"name": "PHOTO"}]
    body = body_of(PHOTO, outputs=outputs, parameters={"binary_data_output": True})
    answer = api.post(INFER, json=body)
    told = json.loads(answer.content[: int(answer.headers[LENGTH])])["outputs"]
    assert [o.get("data") for o in told] == [[7], None]
    assert answer.content[int(answer.headers[LENGTH]) :] == bytes(8)


class TestRequestId:
    def test_it_is_echoed(self, api: Api) -> None:
        assert api.post(INFER, json=body_of(PHOTO, id="job 7 ü")).json()["id"] == "job 7 ü"
        assert Triton(api).infer(PHOTO, request_id="8").get_response()["id"] == "8"

    def test_without_one_it_is_that_of_the_http_request(self, api: Api) -> None:
        headers = {"x-request-id": "abc-1"}
        assert api.post(INFER, json=body_of(PHOTO), headers=headers).json()["id"] == "abc-1"


class TestKServe:
    @pytest.mark.parametrize("binary", [True, False])
    def test_its_types_are_understood(self, api: Api, binary: bool) -> None:
        given = [PHOTO, OTHER] if binary else [b64(PHOTO), b64(OTHER)]
        tensor = InferInput("IMAGE", [2], "BYTES")
        tensor.set_data_from_numpy(np.array(given, np.object_), binary_data=binary)
        parameters = {"binary_data_output": True}
        request = InferRequest("face-identification", [tensor], "9", parameters=parameters)
        body, length = request.to_rest()
        if isinstance(body, dict):
            answer = api.post(INFER, json=body)
        else:
            answer = api.post(INFER, content=body, headers={LENGTH: str(length)})
        assert answer.status_code == 200, answer.text
        response = InferResponse.from_bytes(answer.content, int(answer.headers[LENGTH]))
        assert response.id == "9"
        outputs = {o.name: o.as_numpy() for o in response.outputs}
        assert outputs["PHOTO"].tolist() == [0, 1, 1]
        assert outputs["BOX"].shape == (3, 4)


class TestPhotos:
    def test_they_are_worked_on_side_by_side_but_not_all_at_once(self, api: Api) -> None:
        api.pipeline.seconds = 0.05
        running = most = 0
        identify = api.pipeline.identify

        async def counted(*args: Any, **options: Any) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                return await identify(*args, **options)
            finally:
                running -= 1

        api.pipeline.identify = counted  # type: ignore[method-assign]
        photos = [bytes([n]) for n in range(12)]
        result = Triton(api).infer(*photos)
        assert result.as_numpy("PHOTO").tolist() == list(range(12))
        assert most == 4

    @pytest.mark.parametrize("error", [UnsupportedImage("It is damaged."), TooLarge("Too big.")])
    def test_one_that_cannot_be_read_is_named(self, api: Api, error: ServingError) -> None:
        api.pipeline.found[OTHER] = error
        answer = api.post(INFER, json=body_of(PHOTO, OTHER))
        assert error_of(answer, error.status) == f"IMAGE[1]: {error}"

    def test_one_that_is_too_large_is_named(self) -> None:
        answer = post_binary(Api(max_image_bytes=5), packed(b"12345", b"123456"), shape=[2])
        assert "IMAGE[1]" in error_of(answer, 413)

    def test_the_limit_itself_is_allowed(self) -> None:
        api = Api(max_photos=2)
        assert api.post(INFER, json=body_of(PHOTO, PHOTO)).status_code == 200
        assert "1 to 2" in error_of(api.post(INFER, json=body_of(PHOTO, PHOTO, PHOTO)), 400)


class TestErrors:
    @pytest.mark.parametrize(
        ("failure", "retry_after"), [(Unavailable("Away."), "2"), (Overloaded("Busy."), "1")]
    )
    def test_a_dependency_that_is_away(
        self, api: Api, failure: ServingError, retry_after: str
    ) -> None:
        api.pipeline.failure = failure
        answer = api.post(INFER, json=body_of(PHOTO))
        assert error_of(answer, 503) == str(failure)
        assert answer.headers["retry-after"] == retry_after

    def test_a_bug(self, api: Api) -> None:
        api.pipeline.failure = ZeroDivisionError("at /srv/secret.py")
        assert "secret" not in error_of(api.post(INFER, json=body_of(PHOTO)), 500)

    def test_what_takes_too_long(self) -> None:
        api = Api(timeout_s=0.05)
        api.pipeline.seconds = 10.0
        assert "0.05 s" in error_of(api.post(INFER, json=body_of(PHOTO)), 504)

    def test_a_body_that_is_too_long(self) -> None:
        error_of(Api(max_body_bytes=100).post(INFER, content=bytes(101)), 413)

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v2/nowhere", 404),
            ("GET", "/v2/models/other", 404),
            ("GET", "/v2/models/face-identification/versions/2", 404),
            ("GET", "/v2/models/face-identification/versions/2/ready", 404),
            ("GET", "/v2/models/face-identification/config", 404),
            ("POST", "/v2/models/other/infer", 404),
            ("POST", "/v2/models/face-identification/versions/2/infer", 404),
            ("GET", INFER, 405),
            ("POST", "/v2", 405),
        ],
    )
    def test_what_does_not_exist(self, api: Api, method: str, path: str, status: int) -> None:
        error_of(api.request(method, path), status)

    def test_other_paths_that_begin_alike_are_not_of_the_protocol(self, api: Api) -> None:
        assert api.get("/v2x").headers["content-type"] == "application/problem+json"


class TestMetadata:
    def test_the_server(self, api: Api) -> None:
        told = api.get("/v2").json()
        assert told["name"] == "facenet-serving"
        assert told["extensions"] == ["binary_tensor_data"]

    @pytest.mark.parametrize("version", ["", "/versions/1"])
    def test_the_model(self, api: Api, version: str) -> None:
        told = api.get(f"/v2/models/face-identification{version}").json()
        assert told["inputs"] == [{"name": "IMAGE", "datatype": "BYTES", "shape": [-1]}]
        assert {o["name"]: (o["datatype"], o["shape"]) for o in told["outputs"]} == OUTPUTS
        answer = api.post(f"/v2/models/face-identification{version}/infer", json=body_of(PHOTO))
        assert answer.json()["model_name"] == told["name"]
        assert [answer.json()["model_version"]] == told["versions"]

    @pytest.mark.parametrize(
        "path",
        [
            "/v2/health/ready",
            "/v2/models/face-identification/ready",
            "/v2/models/face-identification/versions/1/ready",
        ],
    )
    def test_readiness(self, api: Api, path: str) -> None:
        assert api.get(path).json()["ready"] is True
        api.pipeline.state["triton"] = "Triton cannot be reached."
        assert error_of(api.get(path), 503) == "Triton cannot be reached."
        api.pipeline.state |= {"triton": "ok", "gallery": GalleryStatus(False, 0, 0, 0, None)}
        assert "gallery" in error_of(api.get(path), 503)

    def test_alive_asks_nobody(self, api: Api) -> None:
        api.pipeline.state = {}
        assert api.get("/v2/health/live").json() == {"live": True}


class TestHostile:
    @pytest.mark.parametrize(
        "length",
        ["-1", "", "x", "1.5", "1e3", "0", "5", "999", "9" * 18, "9" * 5000, "\u0661", " "],
        ids=lambda text: str(text)[:20].encode().hex() or "empty",
    )
    def test_a_length_of_the_header_that_lies(self, api: Api, length: str) -> None:
        headers = {LENGTH: length.encode("utf-8")}
        answer = api.post(INFER, content=json.dumps(body_of(PHOTO)), headers=headers)
        error_of(answer, 400)
        assert not api.pipeline.asked

    @pytest.mark.parametrize(
        "binary",
        [
            b"",
            b"\x01",
            b"\x01\x00\x00",
            struct.pack("<I", 1),
            struct.pack("<I", 2**32 - 1),
            struct.pack("<I", 10) + b"123",
            packed(b"1") + b"\x00",
            packed(b"1", b"2"),
            packed(b"1") + b"\xff" * 4,
        ],
        ids=lambda binary: binary.hex() or "empty",
    )
    def test_binary_data_that_does_not_hold_what_it_says(self, api: Api, binary: bytes) -> None:
        error_of(post_binary(api, binary), 400)
        assert not api.pipeline.asked

    def test_the_header_that_is_missing_is_named(self, api: Api) -> None:
        whole = post_binary(api, packed(PHOTO)).request.content
        for headers in ({}, {"Content-Type": "application/json"}):
            error = error_of(api.post(INFER, content=whole, headers=headers), 400)
            assert LENGTH in error
            assert "UTF-8" not in error

    @pytest.mark.parametrize("length", ["0", "20"])
    def test_a_length_that_cuts_the_json_is_named(self, api: Api, length: str) -> None:
        whole = post_binary(api, packed(PHOTO)).request.content
        error = error_of(api.post(INFER, content=whole, headers={LENGTH: length}), 400)
        assert error.startswith(f"By {LENGTH} the first {length} bytes are the JSON")

    def test_photos_without_their_lengths_say_what_is_missing(self, api: Api) -> None:
        jpeg = (DATA / "id_is_2576.jpg").read_bytes()
        assert "4 bytes, its length, little-endian" in error_of(post_binary(api, jpeg), 400)

    @pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream"])
    def test_a_photo_as_the_body_belongs_into_the_input(self, api: Api, kind: str) -> None:
        jpeg = (DATA / "id_is_2576.jpg").read_bytes()
        error = error_of(api.post(INFER, content=jpeg, headers={"Content-Type": kind}), 400)
        assert error.startswith("The body is no JSON, but a JPEG: send it in the input IMAGE")

    @pytest.mark.parametrize("size", [-1, 0, 4, 6, 2**31, 2**64, 10**30, 5.0, "5", None, True, []])
    def test_a_size_that_lies(self, api: Api, size: Any) -> None:
        answer = post_binary(api, packed(b"1"), parameters={"binary_data_size": size})
        error_of(answer, 400)
        assert not api.pipeline.asked

    @pytest.mark.parametrize(
        "shape",
        [
            [],
            [0],
            [-1],
            [2],
            [33],
            [2**63],
            [10**30],
            [1, 2],
            [1, 1, 1],
            [1] * 1000,
            [1.0],
            ["1"],
            [True],
            [None],
            [[1]],
            1,
            None,
        ],
        ids=lambda shape: str(shape)[:20],
    )
    def test_a_shape_that_lies(self, api: Api, shape: Any) -> None:
        error_of(post_binary(api, packed(b"1"), shape=shape), 400)
        body = body_of(PHOTO)
        body["inputs"][0]["shape"] = shape
        error_of(api.post(INFER, json=body), 400)
        assert not api.pipeline.asked

    @pytest.mark.parametrize(
        "change",
        [
            {"datatype": "FP32"},
            {"datatype": "bytes"},
            {"datatype": None},
            {"name": "image"},
            {"name": None},
            {"data": None},
            {"data": []},
            {"data": ["QUJD", "QUJD"]},
            {"data": [["QUJD"]]},
            {"data": [65]},
            {"data": ["***"]},
            {"data": [None]},
            {"data": "QUJD"},
            {"parameters": {"binary_data_size": 3}},
            {"parameters": {"content_type": "base64"}},
            {"parameters": []},
        ],
        ids=str,
    )
    def test_a_tensor_that_does_not_fit(self, api: Api, change: dict[str, Any]) -> None:
        body = body_of(PHOTO)
        body["inputs"][0] |= change
        error_of(api.post(INFER, json=body), 400)
        assert not api.pipeline.asked

    @pytest.mark.parametrize("datatype", ["UINT8", "FP32", "uint8", "INT8"])
    @pytest.mark.parametrize("binary", [True, False])
    def test_pixels_are_refused_with_what_to_send(
        self, api: Api, datatype: str, binary: bool
    ) -> None:
        shape = [1, 4, 4, 3]
        if binary:
            answer = post_binary(api, bytes(48), shape=shape, datatype=datatype)
        else:
            body = body_of(PHOTO)
            body["inputs"][0] |= {"shape": shape, "datatype": datatype, "data": [0] * 48}
            answer = api.post(INFER, json=body)
        said = f"IMAGE has the datatype BYTES, not {datatype}: send image files as they are"
        assert error_of(answer, 400).startswith(said)

    def test_pixels_in_place_of_texts_are_named(self, api: Api) -> None:
        body = body_of(PHOTO)
        pixels: tuple[Any, ...] = ([0, 1, 2], [[0.5]], [[["QUJD"]]], [[]])
        for data in pixels:
            body["inputs"][0] |= {"data": data}
            assert "base64 of an image file; not pixels" in error_of(
                api.post(INFER, json=body), 400
            )
        body["inputs"][0] |= {"datatype": "UINT8", "data": [0] * 20_000}
        assert "Send image files (IMAGE, BYTES), not pixels" in error_of(
            api.post(INFER, json=body), 413
        )

    @pytest.mark.parametrize(
        "change",
        [
            {"inputs": []},
            {"inputs": None},
            {"inputs": {}},
            {"inputs": body_of(PHOTO)["inputs"] * 2},
            {"outputs": [{"name": "LABEL"}]},
            {"outputs": [{"name": "ID", "parameters": {"classification": 3}}]},
            {"outputs": [{"name": "ID", "parameters": {"binary_data": 1}}]},
            {"outputs": "ID"},
            {"parameters": {"treshold": 0.5}},
            {"parameters": {"threshold": 1.5}},
            {"parameters": {"threshold": "0.5"}},
            {"parameters": {"max_faces": 0}},
            {"parameters": {"max_faces": 2.5}},
            {"parameters": {"binary_data_output": "yes"}},
            {"id": 7},
        ],
        ids=lambda change: str(change)[:40],
    )
    def test_a_request_that_does_not_fit(self, api: Api, change: dict[str, Any]) -> None:
        error_of(api.post(INFER, json=body_of(PHOTO) | change), 400)
        assert not api.pipeline.asked

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"inputs": NaN}'],
        ids=lambda content: content[:10].hex() or "empty",
    )
    def test_no_json(self, api: Api, content: bytes) -> None:
        error_of(api.post(INFER, content=content), 400)

    def test_a_compressed_body_is_told_apart(self, api: Api) -> None:
        answer = api.post(INFER, content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
        assert "Content-Encoding" in error_of(answer, 415)

    def test_a_photo_is_not_echoed(self, api: Api) -> None:
        body = body_of(PHOTO * 100)
        body["inputs"][0]["data"] = [body["inputs"][0]["data"]]
        assert b64(PHOTO)[:20] not in error_of(api.post(INFER, json=body), 400)

    @given(
        binary=st.binary(max_size=40),
        shape=st.lists(st.integers(-2, 5), max_size=2),
        length=st.one_of(st.none(), st.integers(-5, 300).map(str)),
    )
    def test_whatever_it_is_it_is_answered_or_refused(
        self, binary: bytes, shape: list[int], length: str | None
    ) -> None:
        answer = post_binary(Api(), binary, length, shape=shape)
        if answer.status_code != 200:
            error_of(answer, 400)


@pytest.mark.parametrize("second", [{}, {"parameters": {"binary_data": True}}])
def test_an_output_comes_once(api: Api, second: dict[str, Any]) -> None:
    outputs = [{"name": "ID"}, {"name": "BOX"}, {"name": "ID", **second}]
    answer = api.post(INFER, json=body_of(PHOTO, outputs=outputs))
    assert error_of(answer, 400) == "The output ID is given twice."
    assert not api.pipeline.asked


def test_an_attack_is_nobody(api: Api) -> None:
    api.pipeline.verdict = Liveness(False, 0.1)
    found = rows(Triton(api).infer(PHOTO, binary=True))
    assert [found[name].tolist() for name in ("LIVE", "ID", "NAME")] == [[0], [-1], [b""]]
    api.pipeline.verdict = Liveness(True, 0.9)
    found = rows(Triton(api).infer(PHOTO, binary=True))
    assert [found[name].tolist() for name in ("LIVE", "ID")] == [[1], [7]]
