"""The three forms of a body, and what is refused before any stage is asked."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from tests.support.api import Api, detail_of
from tests.support.names import INVISIBLE, SCRIPTS

PHOTO = b"\xff\xd8 bytes that only the decoder looks into \x00\xff"
B64 = base64.b64encode(PHOTO).decode()
PAIR = ("image_a", "image_b")
JSON = {"content-type": "application/json"}
JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def api() -> Api:
    return Api()


class TestForms:
    @pytest.mark.parametrize(
        "image",
        [
            B64,
            f"data:image/jpeg;base64,{B64}",
            f"data:;base64,{B64}",
            "\r\n".join(B64[i : i + 10] for i in range(0, len(B64), 10)) + "\n",
        ],
        ids=["bare", "data URL", "data URL without a type", "in lines"],
    )
    def test_json(self, api: Api, image: str) -> None:
        answer = api.post("/infer", json={"image": image, "top_k": 3, "max_faces": 2})
        assert answer.status_code == 200, answer.text
        assert api.asked == {"data": PHOTO, "top_k": 3, "max_faces": 2}

    @pytest.mark.parametrize(
        "kind", ["image/jpeg", "IMAGE/PNG", "image/x-odd; q=1", "application/octet-stream"]
    )
    def test_a_raw_body_with_options_in_the_query(self, api: Api, kind: str) -> None:
        answer = api.post(
            "/infer?top_k=3&max_faces=2", content=PHOTO, headers={"content-type": kind}
        )
        assert answer.status_code == 200, answer.text
        assert api.asked == {"data": PHOTO, "top_k": 3, "max_faces": 2}

    @pytest.mark.parametrize("field", ["image", "images"])
    def test_a_form_with_options_in_fields_or_query(self, api: Api, field: str) -> None:
        answer = api.post(
            "/infer?max_faces=2",
            files={field: ("a.jpg", PHOTO, "image/jpeg")},
            data={"top_k": "3"},
        )
        assert answer.status_code == 200, answer.text
        assert api.asked == {"data": PHOTO, "top_k": 3, "max_faces": 2}

    def test_json_with_options_in_fields_or_query(self, api: Api) -> None:
        answer = api.post("/infer?max_faces=2", json={"image": B64, "top_k": 3})
        assert answer.status_code == 200, answer.text
        assert api.asked == {"data": PHOTO, "top_k": 3, "max_faces": 2}

    @pytest.mark.parametrize("path", ["/infer?treshold=1", "/detect?top_k=1", "/generate?mode=x"])
    def test_a_wrong_option_beside_json_is_refused(self, api: Api, path: str) -> None:
        body = {"image": B64} if "generate" not in path else {"id": 7, "images": [{"image": B64}]}
        assert path.partition("?")[2].partition("=")[0] in detail_of(api.post(path, json=body), 400)
        assert not api.pipeline.asked

    def test_enrolling_by_json(self, api: Api) -> None:
        body = {"id": 7, "name": "Ada", "mode": "append", "images": [{"image": B64}] * 2}
        answer = api.post("/generate", json=body)
        assert answer.status_code == 200, answer.text
        assert api.asked == {
            "images": [PHOTO] * 2,
            "person": 7,
            "name": "Ada",
            "append": True,
            "force": False,
        }

    def test_enrolling_by_a_form_keeps_the_order_of_photos(self, api: Api) -> None:
        files = [
            ("images", ("1.jpg", PHOTO)),
            ("image", ("2.jpg", b"two")),
            ("images", ("3.jpg", b"three")),
        ]
        answer = api.post("/generate", data={"id": "7"}, files=files)
        assert answer.status_code == 200, answer.text
        assert api.asked == {
            "images": [PHOTO, b"two", b"three"],
            "person": 7,
            "name": None,
            "append": False,
            "force": False,
        }

    def test_no_file_of_a_form_is_written_to_the_disk(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def rollover(file: Any) -> None:
            raise AssertionError("to the disk")

        monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", rollover)
        large = [PHOTO * (9 * 2**20 // len(PHOTO)), PHOTO * (2**21 // len(PHOTO))]
        answer = api.post(
            "/generate", data={"id": "7"}, files=[("images", ("a.jpg", photo)) for photo in large]
        )
        assert answer.status_code == 200, answer.text
        assert api.asked["images"] == large

    def test_enrolling_by_a_raw_body(self, api: Api) -> None:
        answer = api.post("/generate?id=7&name=Ada", content=PHOTO, headers=JPEG)
        assert answer.status_code == 200, answer.text
        assert api.asked == {
            "images": [PHOTO],
            "person": 7,
            "name": "Ada",
            "append": False,
            "force": False,
        }

    @pytest.mark.parametrize("name", ["1984", "true", "null", '"Ada"', "José"])
    def test_a_name_in_a_form_stays_text(self, api: Api, name: str) -> None:
        answer = api.post("/generate", data={"id": "7", "name": name}, files={"images": PHOTO})
        assert answer.status_code == 200, answer.text
        assert api.asked["name"] == name

    @pytest.mark.parametrize("name", SCRIPTS.values(), ids=list(SCRIPTS))
    def test_a_name_of_any_script_is_stored_as_given_by_every_way_in(self, name: str) -> None:
        def asked(**request: Any) -> Any:
            api = Api()
            assert api.post("/generate", **request).status_code == 200
            return api.asked["name"]

        body = {"id": 7, "name": name, "images": [{"image": B64}]}
        assert asked(json=body) == name
        assert asked(content=json.dumps(body, ensure_ascii=False), headers=JSON) == name
        assert asked(data={"id": "7", "name": name}, files={"images": PHOTO}) == name
        query = {"id": "7", "name": name}
        assert asked(params=query, content=PHOTO, headers=JPEG) == name

    @pytest.mark.parametrize("name", INVISIBLE.values(), ids=list(INVISIBLE))
    def test_a_name_that_nobody_sees_is_refused_by_every_way_in(self, api: Api, name: str) -> None:
        options = {"id": "7", "name": name}
        for request in (
            {"json": {"id": 7, "name": name, "images": [{"image": B64}]}},
            {"data": options, "files": {"images": PHOTO}},
            {"params": options, "content": PHOTO, "headers": JPEG},
        ):
            detail = detail_of(api.post("/generate", **request), 400)
            assert detail == "A name needs a character that can be seen."
        detail_of(api.request("PATCH", "/identities/7", json={"name": name}), 400)
        assert not api.pipeline.asked

    @pytest.mark.parametrize("name", ["Ada\nBob", "\x1b[2J", "a\x00", "\x9b1m", "\x7f"])
    def test_a_name_that_a_terminal_would_obey_is_refused(self, api: Api, name: str) -> None:
        files = {"images": PHOTO}
        detail = detail_of(api.post("/generate", data={"id": "7", "name": name}, files=files), 400)
        assert detail == "A name has no control characters."
        detail_of(api.request("PATCH", "/identities/7", json={"name": name}), 400)

    def test_the_largest_id(self, api: Api) -> None:
        largest = 2**63 - 1
        answer = api.post("/generate", json={"id": largest, "images": [{"image": B64}]})
        assert answer.json()["id"] == largest


class TestThreshold:
    def test_minus_one_always_names_the_nearest(self) -> None:
        assert self._id(Api(threshold=0.9), "?threshold=-1") == 7

    def test_the_requests_threshold_comes_before_the_settings(self) -> None:
        assert self._id(Api(threshold=0.1), "?threshold=0.9") is None
        assert self._id(Api(threshold=0.9), "") is None

    def test_zero_is_a_threshold_and_not_the_lack_of_one(self) -> None:
        assert self._id(Api(threshold=0.9), "?threshold=0") == 7
        assert self._id(Api(threshold=0.0), "") == 7

    def test_without_one_the_models_card_decides(self) -> None:
        assert self._id(Api(), "") == 7  # 0.75 against the card's 0.5

    @staticmethod
    def _id(api: Api, query: str) -> Any:
        answer = api.post(f"/infer{query}", content=PHOTO, headers=JPEG)
        assert answer.status_code == 200, answer.text
        return answer.json()["faces"][0]["id"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xff\xfe{}", "body"),
        (b"[]", "body"),
        (b"{}", "image"),
        (b'{"image": 7}', "image"),
        (b'{"image": null}', "image"),
        (b'{"image": "QUJD", "treshold": 0.5}', "treshold"),
        (b'{"image": "QUJD", "top_k": 0}', "top_k"),
        (b'{"image": "QUJD", "top_k": 101}', "top_k"),
        (b'{"image": "QUJD", "max_faces": 0}', "max_faces"),
        (b'{"image": "QUJD", "threshold": NaN}', "threshold"),
        (b'{"image": "QUJD", "threshold": 1.01}', "threshold"),
        (b'{"image": ' + b"[" * 100_000, "body"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_json_is_refused_and_the_field_named(api: Api, body: bytes, named: str) -> None:
    assert named in detail_of(api.post("/infer", content=body, headers=JSON), 400)
    assert not api.pipeline.asked


@pytest.mark.parametrize("image", ["***", B64[:-3], f"data:image/png,{B64}", "é" * 8])
def test_what_is_not_base64_is_refused_and_not_echoed(api: Api, image: str) -> None:
    detail = detail_of(api.post("/infer", json={"image": image}), 400)
    assert "base64" in detail
    assert image not in detail


def test_no_refusal_echoes_a_photo(api: Api) -> None:
    bodies: list[Any] = [
        {"image": [B64]},
        {"picture": B64},
        {"image": "QUJD", "top_k": B64},
        {"image": "QUJD", "threshold": B64},
        B64,
        [B64],
    ]
    for body in bodies:
        assert B64[:20] not in detail_of(api.post("/infer", json=body), 400)


def test_a_field_with_a_photo_for_a_name_is_not_echoed_at_length(api: Api) -> None:
    answer = api.post("/infer", json={"image": "QUJD", "x" * 100_000: 1})
    assert len(detail_of(answer, 400)) < 500


@pytest.mark.parametrize(
    "change",
    [
        {"id": -1},
        {"id": "7"},
        {"id": "seven"},
        {"id": 7.0},
        {"id": 7.5},
        {"id": True},
        {"id": None},
        {"id": 2**63},
        {"id": 10**400},
        {"images": []},
        {"images": None},
        {"images": [B64]},
        {"images": [{"image": B64, "photo": 1}]},
        {"images": [{}]},
        {"name": ""},
        {"name": "x" * 201},
        {"name": 7},
        {"mode": "upsert"},
    ],
    ids=lambda change: str(change)[:30],
)
def test_a_wrong_enrolment_is_refused_and_the_field_named(api: Api, change: dict[str, Any]) -> None:
    body = {"id": 7, "images": [{"image": B64}], **change}
    (field,) = change
    assert field in detail_of(api.post("/generate", json=body), 400)
    assert not api.pipeline.asked


@pytest.mark.parametrize(
    "id_", ["", "-1", "7.0", "7.5", "true", "seven", '"7"', "9" * 19, "9" * 5000]
)
def test_the_id_of_a_form_is_read_as_strictly_as_that_of_json(api: Api, id_: str) -> None:
    answer = api.post("/generate", data={"id": id_}, files={"images": PHOTO})
    assert "id" in detail_of(answer, 400)
    assert not api.pipeline.asked


@pytest.mark.parametrize(
    "query",
    [
        "top_k=0",
        "top_k=many",
        "top_k=1.5",
        "threshold=NaN",
        "threshold=nan",
        "threshold=Infinity",
        "threshold=-1.01",
        "max_faces=-1",
        "treshold=0.5",
        "threshold=" + "[" * 3000,
        "threshold=[[1]]",
        "top_k={}",
    ],
    ids=lambda query: str(query)[:20],
)
def test_wrong_options_in_the_query_are_refused(api: Api, query: str) -> None:
    detail = detail_of(api.post(f"/infer?{query}", content=PHOTO, headers=JPEG), 400)
    assert query.partition("=")[0] in detail
    assert not api.pipeline.asked


def test_a_raw_enrolment_without_an_id_is_refused(api: Api) -> None:
    assert "id" in detail_of(api.post("/generate", content=PHOTO, headers=JPEG), 400)


def form_of(*parts: tuple[str, str | bytes]) -> bytes:
    """A form with the boundary FORM, in which bytes are files."""
    lines = []
    for name, value in parts:
        head = f'Content-Disposition: form-data; name="{name}"'
        if isinstance(value, bytes):
            head += '; filename="a.jpg"\r\nContent-Type: image/jpeg'
        content = value if isinstance(value, bytes) else value.encode()
        lines.append(b"--FORM\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n")
    return b"".join(lines) + b"--FORM--\r\n"


V2 = "/v2/models/face-identification/infer"
FORM = {"content-type": "multipart/form-data; boundary=FORM"}
V2_JSON = {"name": "IMAGE", "datatype": "BYTES", "shape": [1]}
V2_HEAD = json.dumps({"inputs": [{**V2_JSON, "parameters": {"binary_data_size": 7}}]}).encode()
WHOLE: dict[str, tuple[str, str, dict[str, str], bytes]] = {
    "infer, fields first": ("POST", "/infer", FORM, form_of(("top_k", "3"), ("image", PHOTO))),
    "infer, fields last": ("POST", "/infer", FORM, form_of(("image", PHOTO), ("top_k", "3"))),
    "detect": ("POST", "/detect", FORM, form_of(("image", PHOTO), ("max_faces", "1"))),
    "verify": ("POST", "/verify", FORM, form_of(("image_a", PHOTO), ("image_b", b"two"))),
    "generate, fields first": (
        "POST",
        "/generate",
        FORM,
        form_of(("id", "7"), ("mode", "append"), ("images", PHOTO), ("images", b"two")),
    ),
    "generate, fields last": (
        "POST",
        "/generate",
        FORM,
        form_of(("images", PHOTO), ("images", b"two"), ("id", "7"), ("mode", "append")),
    ),
    "infer, json": ("POST", "/infer", JSON, json.dumps({"image": B64, "top_k": 3}).encode()),
    "detect, json": ("POST", "/detect", JSON, json.dumps({"image": B64}).encode()),
    "verify, json": ("POST", "/verify", JSON, json.dumps(dict.fromkeys(PAIR, B64)).encode()),
    "generate, json": (
        "POST",
        "/generate",
        JSON,
        json.dumps({"id": 7, "images": [{"image": B64}] * 2, "mode": "append"}).encode(),
    ),
    "describe": ("PATCH", "/identities/7", JSON, b'{"name": "Ada", "metadata": {"a": [1, 2]}}'),
    "merge": ("POST", "/identities/7/merge", JSON, b'{"from": [8, 9]}'),
    "embeddings": (
        "POST",
        "/identities/7/embeddings",
        JSON,
        b'{"model": "x", "embeddings": [[0.5, 1.25], [1e-2, 3]], "mode": "replace"}',
    ),
    "v2, json": ("POST", V2, JSON, json.dumps({"inputs": [{**V2_JSON, "data": [B64]}]}).encode()),
    "v2, binary": (
        "POST",
        V2,
        {
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(V2_HEAD)),
        },
        V2_HEAD + b"\x03\x00\x00\x00abc",
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_body_that_is_cut_at_any_byte_changes_nothing(name: str) -> None:
    method, path, headers, whole = WHOLE[name]
    api = Api()
    # Behind the end of a form there may be a line end.
    bodies = [whole[:length] for length in range(len(whole) - (2 if headers is FORM else 0))]
    assert {answer.status_code for answer in api.requests(method, path, headers, bodies)} == {400}
    assert not api.pipeline.asked
    # The whole one gets further: to the pipeline, or to a matcher, which expects no call here.
    (answer,) = api.requests(method, path, headers, [whole])
    assert (answer.status_code, len(api.pipeline.asked)) in [(200, 1), (200, 2), (500, 0), (422, 0)]


@pytest.mark.parametrize("name", WHOLE)
def test_a_body_with_something_behind_it_changes_nothing(name: str) -> None:
    method, path, headers, whole = WHOLE[name]
    api = Api()
    bodies = [whole + whole, whole + b"x", whole + b"\x00"]
    assert {answer.status_code for answer in api.requests(method, path, headers, bodies)} == {400}
    assert not api.pipeline.asked


@pytest.mark.parametrize("length", [0, 1, len(PHOTO) - 1, len(PHOTO) + 1])
def test_a_raw_body_has_the_length_that_it_says(api: Api, length: int) -> None:
    for path in ("/infer", "/detect", "/generate?id=7"):
        headers = {**JPEG, "content-length": str(len(PHOTO))}
        answer = api.post(path, content=(PHOTO + b"x")[:length], headers=headers)
        assert "Content-Length" in detail_of(answer, 400)
    assert not api.pipeline.asked


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        (
            "/detect",
            form_of(("image[]", PHOTO)),
            "There is no field image[]; send the file in image.",
        ),
        (
            "/generate",
            form_of(("id", "7"), ("images[]", PHOTO)),
            "There is no field images[]; send the file in images.",
        ),
        (
            "/verify",
            form_of(("image", PHOTO), ("image_b", PHOTO)),
            "There is no field image; send the file in image_a or image_b.",
        ),
        (
            "/detect",
            form_of(("image", PHOTO))[:-10],
            "The form has no end: it was cut, or its last line is missing.",
        ),
        ("/detect", form_of(("image", PHOTO)) + b"x", "Something follows the form's end."),
        (
            "/detect",
            form_of(("image", B64)),
            "image is a file: give its part a filename or a Content-Type.",
        ),
        (
            "/generate",
            form_of(("images", PHOTO), ("id", "7"), ("name", "@")).replace(b"@", b"\xc8\xec\xff"),
            "name is not UTF-8.",
        ),
    ],
)
def test_the_sentence_says_what_was_sent(api: Api, path: str, body: bytes, detail: str) -> None:
    assert detail_of(api.post(path, content=body, headers=FORM), 400) == detail
    assert not api.pipeline.asked


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=UTF-8", "text/x"])
def test_fields_may_be_written_as_json(api: Api, kind: str) -> None:
    """As Retrofit and Spring do for each part that is no file."""
    body = form_of(("id", "7"), ("mode", "append"), ("images", PHOTO))
    for name in ("id", "mode"):
        head = f'name="{name}"'.encode()
        body = body.replace(head, head + f"\r\nContent-Type: {kind}".encode())
    answer = api.post("/generate", content=body, headers=FORM)
    assert answer.status_code == 200, answer.text
    assert (api.asked["person"], api.asked["append"]) == (7, True)


@pytest.mark.parametrize(
    ("kind", "sent", "stored"),
    [
        ("application/json", '"Ada \\u00dc"', "Ada Ü"),
        ("application/json", "Ada", "Ada"),
        ("application/json", "7", "7"),
        ("application/json", '"7"', "7"),
        ("application/json", '"Ada', '"Ada'),
        ("text/plain", '"Ada"', '"Ada"'),
    ],
)
def test_a_name_that_is_written_as_json_has_no_quotes(
    api: Api, kind: str, sent: str, stored: str
) -> None:
    body = form_of(("id", "7"), ("mode", "append"), ("images", PHOTO), ("name", sent))
    head = b'name="name"'
    body = body.replace(head, head + f"\r\nContent-Type: {kind}".encode())
    answer = api.post("/generate", content=body, headers=FORM)
    assert answer.status_code == 200, answer.text
    assert api.asked["name"] == stored


def test_a_number_that_is_written_as_json_has_no_quotes_either(api: Api) -> None:
    head = b'name="id"'
    body = form_of(("id", '"7"'), ("images", PHOTO))
    body = body.replace(head, head + b"\r\nContent-Type: application/json")
    assert "whole number" in detail_of(api.post("/generate", content=body, headers=FORM), 400)


@pytest.mark.parametrize(
    ("path", "name"), [("/generate", "id"), ("/infer", "top_k"), ("/verify", "threshold")]
)
def test_an_option_that_comes_as_a_file_is_named(api: Api, path: str, name: str) -> None:
    files = form_of(("image", PHOTO)) if path != "/verify" else form_of(*((n, PHOTO) for n in PAIR))
    body = form_of((name, b"1")).removesuffix(b"--FORM--\r\n") + files
    expected = f"{name} is no file: send its part without a filename and a Content-Type."
    assert detail_of(api.post(path, content=body, headers=FORM), 400) == expected
    assert not api.pipeline.asked


@pytest.mark.parametrize("address", ["https://faces/a.jpg", "S3://a/b.jpg", "file:///tmp/a.jpg"])
def test_an_address_in_place_of_a_photo_is_not_fetched(api: Api, address: str) -> None:
    assert "none is fetched" in detail_of(api.post("/infer", json={"image": address}), 400)
    assert not api.pipeline.asked


def test_the_charset_of_a_form_is_not_the_callers_choice(api: Api) -> None:
    body = form_of(("max_faces", "b" * 5000 + "-" + "a" * 5000), ("image", PHOTO))
    kinds = [
        f"{FORM['content-type']}; charset={charset}"
        for charset in ("punycode", "undefined", "utf-7", "idna", "unicode_escape", "hex", "é")
    ]
    for kind in kinds:
        answer = api.post("/detect", content=body, headers={"content-type": kind.encode("latin-1")})
        assert "charset" in detail_of(answer, 400)


@pytest.mark.parametrize(
    "head",
    [
        'name="image"\r\nContent-Type: image/jpeg',
        "name=\"image\"; filename*=UTF-8''%C3%BC.jpg",
        'name="image"; filename=""',
    ],
)
def test_a_file_needs_no_filename(api: Api, head: str) -> None:
    body = f"--FORM\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode()
    answer = api.post("/infer", content=body + PHOTO + b"\r\n--FORM--", headers=FORM)
    assert answer.status_code == 200, answer.text
    assert api.asked["data"] == PHOTO


class TestWrongForms:
    @pytest.mark.parametrize(
        "form",
        [
            {"files": {"photo": PHOTO}},  # a file in another field
            {"data": {"image": B64}, "files": {"images": PHOTO}},  # text in an image's field
            {"files": [("image", PHOTO), ("image", PHOTO)]},  # two photos
        ],
    )
    def test_fields_that_do_not_fit(self, api: Api, form: dict[str, Any]) -> None:
        assert "image" in detail_of(api.post("/infer", **form), 400)
        assert not api.pipeline.asked

    def test_no_photo(self, api: Api) -> None:
        kind = "multipart/form-data; boundary=x"
        answer = api.post("/infer", content=b"--x--\r\n", headers={"content-type": kind})
        assert "image" in detail_of(answer, 400)

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("multipart/form-data", b"--x--\r\n"),
            ("multipart/form-data; boundary=x", b"no form at all"),
            ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a'),
        ],
        ids=["no boundary", "no form", "cut off"],
    )
    def test_a_damaged_form(self, api: Api, kind: str, body: bytes) -> None:
        detail_of(api.post("/infer", content=body, headers={"content-type": kind}), 400)
        assert not api.pipeline.asked

    def test_too_long_a_field(self, api: Api) -> None:
        data = {"id": "7", "name": "x" * 2**21}
        detail = detail_of(api.post("/generate", data=data, files={"images": PHOTO}), 400)
        assert detail == "name is text of more than 8192 bytes."


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused_with_the_right_ones(api: Api, kind: str) -> None:
    answer: httpx.Response = api.post("/infer", content=PHOTO, headers={"content-type": kind})
    detail = detail_of(answer, 415)
    assert "application/json" in detail
    assert "image/jpeg" in detail
    assert detail.startswith(f"The Content-Type is {kind}." if kind else "There is no Content-")


def test_two_photos_of_another_content_type_are_refused_with_what_it_is(api: Api) -> None:
    answer = api.post("/verify", content=PHOTO, headers=JPEG)
    assert detail_of(answer, 415).startswith("The Content-Type is image/jpeg.")


class TestLimits:
    def test_photos(self) -> None:
        api = Api(max_images=2)
        body: dict[str, Any] = {"id": 7, "images": [{"image": "QUJD"}] * 3}
        assert "2" in detail_of(api.post("/generate", json=body), 413)
        detail_of(api.post("/generate", data={"id": "7"}, files=[("images", PHOTO)] * 3), 413)
        assert not api.pipeline.asked
        body["images"].pop()
        assert api.post("/generate", json=body).status_code == 200

    def test_bytes_of_a_photo(self) -> None:
        api = Api(max_image_bytes=10)
        detail_of(api.post("/infer", content=bytes(11), headers=JPEG), 413)
        detail_of(api.post("/infer", files={"image": bytes(11)}), 413)
        encoded = base64.b64encode(bytes(11)).decode()
        detail_of(api.post("/infer", content=json.dumps({"image": encoded}), headers=JSON), 413)
        assert not api.pipeline.asked
        assert api.post("/infer", content=bytes(10), headers=JPEG).status_code == 200


def test_an_option_that_is_long_is_not_read_as_json(api: Api) -> None:
    fields = {"top_k": "[" + "1," * 100_000 + "1]"}
    answer = api.post("/infer", files={"image": PHOTO}, data=fields)
    assert "top_k" in detail_of(answer, 400)


@pytest.mark.parametrize("image", [[255, 216], {"type": "Buffer", "data": [255]}, None, 7])
def test_a_photo_that_is_no_text_is_refused_with_what_it_should_be(api: Api, image: Any) -> None:
    detail = detail_of(api.post("/infer", json={"image": image}), 400)
    assert detail == "image: should be text, the bytes of the image file as base64."
