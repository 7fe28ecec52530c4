"""What each method sends, and that both clients have the same."""

from __future__ import annotations

import asyncio
import inspect
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serving.client import AsyncClient, Client, ClientError
from tests.support.caller import Caller
from tests.support.service import FakeService, fake_service

VECTORS = np.eye(2, 4, dtype=np.float32)

# method, arguments, options -> request line, JSON body
PLAIN: list[tuple[str, tuple[Any, ...], dict[str, Any], str, Any]] = [
    ("identity", (7,), {}, "GET /identities/7", None),
    ("identity", (np.int64(7),), {}, "GET /identities/7", None),
    ("describe", (7,), {"name": "Ada"}, "PATCH /identities/7", {"name": "Ada"}),
    ("describe", (7,), {"name": None}, "PATCH /identities/7", {"name": None}),
    ("describe", (7,), {"metadata": {"a": 1}}, "PATCH /identities/7", {"metadata": {"a": 1}}),
    ("describe", (7,), {"metadata": None}, "PATCH /identities/7", {"metadata": None}),
    (
        "describe",
        (7,),
        {"expires_at": datetime(2099, 1, 31, tzinfo=timezone.utc)},
        "PATCH /identities/7",
        {"expires_at": "2099-01-31T00:00:00+00:00"},
    ),
    (
        "describe",
        (7,),
        {"expires_at": None, "legal_basis": {"kind": "contract"}},
        "PATCH /identities/7",
        {"expires_at": None, "legal_basis": {"kind": "contract"}},
    ),
    ("withdraw", (7,), {}, "POST /identities/7/withdraw", None),
    ("delete", (7,), {}, "DELETE /identities/7", None),
    ("delete_all", (), {}, "DELETE /identities?confirm=all", None),
    ("erase", (7,), {}, "DELETE /identities/7?erase=true", None),
    ("merge", (7, [8, np.int64(9)]), {}, "POST /identities/7/merge", {"from": [8, 9]}),
    ("distinct", (7, [np.int64(8)]), {}, "POST /identities/7/distinct", {"from": [8]}),
    (
        "distinct",
        (7, [8]),
        {"threshold": 0.9},
        "POST /identities/7/distinct",
        {"from": [8], "threshold": 0.9},
    ),
    ("same", (7, 8), {}, "DELETE /identities/7/distinct/8", None),
    ("unmerge", (7,), {}, "POST /identities/7/unmerge", {"from": []}),
    ("unmerge", (7, [np.int64(8)]), {}, "POST /identities/7/unmerge", {"from": [8]}),
    ("undo", (7,), {}, "POST /identities/7/undo", {}),
    ("undo", (7,), {"version": 5}, "POST /identities/7/undo", {"version": 5}),
    ("photos", (7,), {}, "GET /identities/7/photos", None),
    ("move", (7, ["a1"], 8), {}, "POST /identities/7/move", {"photos": ["a1"], "to": 8}),
    (
        "add_embeddings",
        (7, VECTORS),
        {"model": "m@1"},
        "POST /identities/7/embeddings",
        {"model": "m@1", "embeddings": VECTORS.tolist(), "mode": "append"},
    ),
    (
        "add_embeddings",
        (7, [[0.5, 0.25]]),
        {"model": "m@1", "replace": True},
        "POST /identities/7/embeddings",
        {"model": "m@1", "embeddings": [[0.5, 0.25]], "mode": "replace"},
    ),
    ("ready", (), {}, "GET /readyz", None),
    ("health", (), {}, "GET /healthz", None),
]


@pytest.mark.parametrize(("method", "args", "options", "asked", "body"), PLAIN)
def test_requests_without_photos(
    service: FakeService,
    call: Caller,
    method: str,
    args: tuple[Any, ...],
    options: dict[str, Any],
    asked: str,
    body: Any,
) -> None:
    service.body = {"answer": 1}
    assert call(method, *args, **options) == {"answer": 1}
    assert service.asked == [asked]
    if body is None:
        assert service.bodies == [b""]
    else:
        assert json.loads(service.bodies[0]) == body
        assert service.headers[0]["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "photos", "options", "asked", "fields"),
    [
        ("infer", 1, {}, "POST /infer", ["image"]),
        ("infer", 1, {"top_k": 3, "threshold": None}, "POST /infer?top_k=3", ["image"]),
        (
            "infer",
            1,
            {"threshold": -1, "max_faces": 2},
            "POST /infer?threshold=-1&max_faces=2",
            ["image"],
        ),
        ("detect", 1, {}, "POST /detect", ["image"]),
        ("detect", 1, {"max_faces": 2}, "POST /detect?max_faces=2", ["image"]),
        ("verify", 2, {}, "POST /verify", ["image_a", "image_b"]),
        ("verify", 2, {"threshold": 0.5}, "POST /verify?threshold=0.5", ["image_a", "image_b"]),
    ],
)
def test_photos_are_sent_with_their_types_and_only_the_given_options(
    service: FakeService,
    call: Caller,
    photo: Path,
    method: str,
    photos: int,
    options: dict[str, Any],
    asked: str,
    fields: list[str],
) -> None:
    service.body = {"faces": [], "same": True}
    assert call(method, *[photo] * photos, **options) == service.body
    assert service.asked == [asked]
    for field in fields:
        part = f'name="{field}"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\nphoto\r\n'
        assert part.encode() in service.bodies[0]


@pytest.mark.parametrize("method", ["generate", "enrol"])
@pytest.mark.parametrize(("append", "mode"), [(False, b"replace"), (True, b"append")])
def test_an_enrolment(
    service: FakeService, call: Caller, photo: Path, method: str, append: bool, mode: bytes
) -> None:
    call(method, np.int64(7), [photo, b"bytes"], name="José", append=append)
    (body,) = service.bodies
    assert service.asked == ["POST /generate"]
    assert body.count(b'name="images"') == 2
    assert b'name="id"\r\n\r\n7\r\n' in body
    assert b'name="mode"\r\n\r\n' + mode in body
    assert 'name="name"\r\n\r\nJosé'.encode() in body


def test_an_enrolment_is_forced(service: FakeService, call: Caller, photo: Path) -> None:
    call("generate", 7, [photo], force=True)
    assert b'name="force"\r\n\r\ntrue\r\n' in service.bodies[0]


def test_an_enrolment_with_a_retention(service: FakeService, call: Caller, photo: Path) -> None:
    basis = {"kind": "consent", "reference": "Nr. é"}
    call("generate", 7, [photo], expires_at="2099-01-31T00:00:00Z", legal_basis=basis)
    (body,) = service.bodies
    assert b'name="expires_at"\r\n\r\n2099-01-31T00:00:00Z\r\n' in body
    written = body.partition(b'name="legal_basis"\r\n\r\n')[2].partition(b"\r\n")[0]
    assert json.loads(written) == basis
    call("generate", 7, [photo])
    assert b"expires_at" not in service.bodies[1]
    assert b"legal_basis" not in service.bodies[1]


def test_a_time_without_a_zone_is_not_sent(service: FakeService, call: Caller) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        call("describe", 7, expires_at=datetime(2099, 1, 31))
    with pytest.raises(TypeError, match="a datetime or RFC 3339 text, not int"):
        call("describe", 7, expires_at=4073500800)
    assert service.asked == []


def test_people_whose_retention_ends_are_listed(service: FakeService, call: Caller) -> None:
    service.body = {"identities": [], "next": None}
    call("identities", expires_before=datetime(2099, 1, 31, tzinfo=timezone.utc))
    expected = "GET /identities?limit=1000&expires_before=2099-01-31T00%3A00%3A00%2B00%3A00"
    assert service.asked == [expected]


def test_duplicates_are_asked_for_page_by_page(service: FakeService, call: Caller) -> None:
    service.answers = [
        (200, {"duplicates": ["first", "second"], "next": 9}),
        (200, {"duplicates": [], "next": 12}),
        (200, {"duplicates": ["third"], "next": None}),
    ]
    assert call("duplicates", threshold=0.7) == ["first", "second", "third"]
    assert service.asked == [
        "GET /duplicates?limit=1000&threshold=0.7",
        "GET /duplicates?limit=1000&cursor=9&threshold=0.7",
        "GET /duplicates?limit=1000&cursor=12&threshold=0.7",
    ]


def test_the_audit_is_asked_for_page_by_page(service: FakeService, call: Caller) -> None:
    service.answers = [
        (200, {"records": [{"n": 1}], "next": "2026-11-29.1.1.a.0"}),
        (200, {"records": [], "next": "2026-11-28.1.1.a.0"}),
        (200, {"records": [{"n": 2}], "next": None}),
    ]
    found = call("audit", person=np.int64(7), since="2026-11-01T00:00:00Z", page_size=10)
    assert found == [{"n": 1}, {"n": 2}]
    asked = "since=2026-11-01T00%3A00%3A00Z&person=7"
    assert service.asked == [
        f"GET /audit?limit=10&{asked}",
        f"GET /audit?limit=10&cursor=2026-11-29.1.1.a.0&{asked}",
        f"GET /audit?limit=10&cursor=2026-11-28.1.1.a.0&{asked}",
    ]


def test_the_chains_of_the_audit_are_asked_for_page_by_page(
    service: FakeService, call: Caller
) -> None:
    service.answers = [
        (200, {"chains": ["a"], "next": "a"}),
        (200, {"chains": ["b"], "next": None}),
    ]
    assert call("audit_chains", days=2) == ["a", "b"]
    assert service.asked == ["GET /audit/chains?days=2", "GET /audit/chains?days=2&cursor=a"]


def test_a_person_without_a_name_is_sent_without_one(
    service: FakeService, call: Caller, photo: Path
) -> None:
    call("generate", 7, [photo])
    assert b'name="name"' not in service.bodies[0]


@pytest.mark.parametrize("given", ["path", "text", "bytes"])
def test_one_photo_needs_no_list(
    service: FakeService, call: Caller, photo: Path, given: str
) -> None:
    call("generate", 7, {"path": photo, "text": str(photo), "bytes": b"photo"}[given])
    assert service.bodies[0].count(b'name="images"') == 1


def test_no_photo_is_none_to_enrol(service: FakeService, call: Caller) -> None:
    with pytest.raises(ValueError, match="at least one photo"):
        call("generate", 7, [])
    assert service.asked == []


def test_everybody_is_listed_page_by_page(service: FakeService, call: Caller) -> None:
    service.answers = [
        (200, {"identities": [{"id": 1}, {"id": 2}], "next": 2}),
        (200, {"identities": [{"id": 5}], "next": None}),
    ]
    assert call("identities", page_size=2) == [{"id": 1}, {"id": 2}, {"id": 5}]
    assert service.asked == ["GET /identities?limit=2", "GET /identities?limit=2&cursor=2"]


def test_nobody_is_listed(service: FakeService, call: Caller) -> None:
    service.body = {"identities": [], "next": None}
    assert call("identities") == []


def test_pages_are_asked_for_as_they_are_needed(service: FakeService) -> None:
    service.body = {"identities": [{"id": 1}], "next": 1}
    with Client(service.url) as client:
        people = client.identities()
        assert service.asked == []
        next(people)
        assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("method", "args", "options"), [(m, a, o) for m, a, o, _, _ in PLAIN] + [("infer", (b"",), {})]
)
def test_a_collection(
    service: FakeService, call: Caller, method: str, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    call(method, *args, **options)
    call.options["collection"] = "night-shift"
    call(method, *args, **options)
    plain, named = service.asked
    verb, _, path = plain.partition(" ")
    of_the_service = method in ("ready", "health")
    assert named == (plain if of_the_service else f"{verb} /collections/night-shift{path}")


@pytest.mark.parametrize(
    ("method", "photos", "asked"),
    [
        ("infer", 1, "POST /collections/shop/infer"),
        ("detect", 1, "POST /detect"),  # these two use no gallery
        ("verify", 2, "POST /verify"),
    ],
)
def test_a_collection_and_photos(
    service: FakeService, call: Caller, photo: Path, method: str, photos: int, asked: str
) -> None:
    call.options["collection"] = "shop"
    call(method, *[photo] * photos)
    assert service.asked == [asked]


@pytest.mark.parametrize(
    ("method", "args", "options"),
    [
        ("enrol", (True, b"photo"), {}),
        ("enrol", ("7", b"photo"), {}),
        ("enrol", (7.0, b"photo"), {}),
        ("enrol", (7, b"photo"), {"name": 5}),
        ("identity", (True,), {}),
        ("delete", (False,), {}),
        ("merge", (7, [True]), {}),
    ],
)
def test_arguments_of_another_type(
    service: FakeService,
    call: Caller,
    method: str,
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> None:
    with pytest.raises(TypeError):
        call(method, *args, **options)
    assert service.asked == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "a" * 64, "-a", "a\n"])
def test_a_collection_that_is_none(call: Caller, name: str) -> None:
    call.options["collection"] = name
    with pytest.raises(ValueError, match="collection's name"):
        call("health")


def test_an_address_below_another(service: FakeService, call: Caller) -> None:
    call.url = f"{service.url}/faces/"
    call("identity", 7)
    assert service.asked == ["GET /faces/identities/7"]


def test_the_address_of_the_environment(
    service: FakeService, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACES_URL", service.url)
    call.url = None
    call("health")
    assert service.asked == ["GET /healthz"]


@pytest.mark.parametrize("given", ["argument", "environment"])
def test_a_key_is_sent_as_a_bearer_token(
    service: FakeService, call: Caller, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given == "environment":
        monkeypatch.setenv("FACES_KEY", "faces_k\n")  # as files of secrets end
    else:
        call.options["key"] = "faces_k"
    call("ready")
    assert service.headers[0]["authorization"] == "Bearer faces_k"


def test_without_a_key_none_is_sent(
    service: FakeService, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACES_KEY", raising=False)
    call("ready")
    assert "authorization" not in service.headers[0]


@pytest.mark.parametrize("key", ["faces_ключ", "faces\r\nX-Api-Key: other"])
def test_a_key_that_is_none(call: Caller, key: str) -> None:
    call.options["key"] = key
    with pytest.raises(ClientError, match="holds characters") as caught:
        call("ready")
    assert key not in str(caught.value)


def test_a_timeout_of_one_call(service: FakeService, call: Caller) -> None:
    service.seconds.clear()
    with pytest.raises(ClientError, match="took too long"):
        call("identity", 7, timeout_s=0.05)


def test_a_timeout_of_the_client(service: FakeService, call: Caller) -> None:
    service.seconds.clear()
    call.options["timeout_s"] = 0.05
    with pytest.raises(ClientError, match="took too long"):
        call("identity", 7)


@pytest.mark.parametrize(
    ("method", "args", "options"),
    [
        ("identity", ("7",), {}),
        ("identity", (7.0,), {}),
        ("merge", (7, ["8"]), {}),
        ("generate", ("7", b""), {}),
        ("describe", (7,), {"metadata": {"a": object()}}),
    ],
)
def test_arguments_that_are_none(
    service: FakeService, call: Caller, method: str, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(TypeError):
        call(method, *args, **options)
    assert service.asked == []


def test_embeddings_that_are_not_finite(service: FakeService, call: Caller) -> None:
    with pytest.raises(ValueError, match="JSON"):
        call("add_embeddings", 7, np.full((1, 4), np.nan), model="m@1")
    assert service.asked == []


def test_a_name_that_is_no_text(service: FakeService, call: Caller) -> None:
    with pytest.raises(ClientError, match="no text that can be sent"):
        call("generate", 7, b"photo", name="\ud800")
    assert service.asked == []


def test_both_clients_have_the_same_methods() -> None:
    def methods(of: type) -> dict[str, Any]:
        public = {n: m for n, m in vars(of).items() if n == "__init__" or not n.startswith("_")}
        return {
            name: [(p.name, p.kind, p.default) for p in inspect.signature(m).parameters.values()]
            for name, m in public.items()
        }

    here, there = methods(Client), methods(AsyncClient)
    waits = {"sleep"}  # how to wait is what they differ in
    here["__init__"] = [p for p in here["__init__"] if p[0] not in waits]
    there["__init__"] = [p for p in there["__init__"] if p[0] not in waits]
    assert here == there
    assert len(here) >= 16


def test_a_client_of_ones_own_stays_open() -> None:
    with fake_service() as service, httpx.Client(headers={"X-Own": "1"}) as http:
        with Client(service.url, http=http) as client:
            client.health()
        assert service.headers[0]["x-own"] == "1"
        assert not http.is_closed


def test_an_async_client_of_ones_own_stays_open() -> None:
    async def ask(url: str) -> None:
        async with httpx.AsyncClient(headers={"X-Own": "1"}) as http:
            async with AsyncClient(url, http=http) as client:
                await client.health()
            assert not http.is_closed

    with fake_service() as service:
        asyncio.run(ask(service.url))
        assert service.headers[0]["x-own"] == "1"


def test_a_photo_is_read_beside_the_event_loop(service: FakeService) -> None:
    ticks = 0

    class Slow:
        def read(self) -> bytes:
            # Ends only when the loop goes on meanwhile.
            while ticks < 3:
                pass
            return b"photo"

    async def tick() -> None:
        nonlocal ticks
        while ticks < 3:
            ticks += 1
            await asyncio.sleep(0)

    async def both() -> None:
        async with AsyncClient(service.url) as client:
            await asyncio.wait_for(asyncio.gather(client.infer(Slow()), tick()), 10)

    asyncio.run(both())
    assert service.asked == ["POST /infer"]


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("wrong", [{"http": object()}, {"retry": 5}])
def test_parts_of_another_kind(client: type[Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(wrong))} is a"):
        client("http://localhost:9", **wrong)


def streamed(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


NO_IMAGE = {"type": "urn:faces:problem:unsupported-image", "status": 415, "detail": "It is none."}
DONE = {"done": True, "lines": 2, "errors": 1}


def test_a_stream_answers_in_the_order_of_the_photos(
    service: FakeService, call: Caller, photo: Path
) -> None:
    first_line = {"index": 0, "ref": "a.jpg", "faces": []}
    service.answers = [(200, streamed(first_line, {"index": 1, **NO_IMAGE}, DONE))]
    photos = iter([photo, photo.parent / "missing.jpg", b"none"])
    first, second, third = call("infer_stream", photos, top_k=3)
    assert first == {"faces": []}
    assert isinstance(second, ClientError)
    assert "missing.jpg cannot be read" in str(second)
    assert isinstance(third, ClientError)
    assert (third.status, third.type) == (415, "unsupported-image")
    assert service.asked == ["POST /infer/stream?top_k=3"]
    assert service.bodies[0].count(b'name="image"') == 2


def test_photos_of_a_stream_go_in_requests_of_a_few(service: FakeService, call: Caller) -> None:
    def lines(count: int) -> bytes:
        answers: list[dict[str, Any]] = [{"index": n, "faces": []} for n in range(count)]
        return streamed(*answers, {"done": True, "lines": count, "errors": 0})

    service.answers = [(200, lines(16)), (200, lines(16)), (200, lines(3))]
    assert call("infer_stream", (b"photo" for _ in range(35))) == [{"faces": []}] * 35
    large = bytes(9 * 2**20)
    service.answers = [(200, lines(2)), (200, lines(1))]
    assert len(call("infer_stream", [large] * 3)) == 3
    assert call("infer_stream", []) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        streamed({"index": 0, "faces": []}),
        streamed({"index": 0, "faces": []}, {"done": True, "lines": 1})[:-10],
        streamed({"done": True, "lines": 0, "errors": 0}),
        b"<html>",
        b"[]\n[]",
    ],
)
def test_an_answer_that_is_cut_is_asked_for_again(
    service: FakeService, call: Caller, answer: bytes
) -> None:
    whole = streamed({"index": 0, "faces": []}, {"done": True, "lines": 1, "errors": 0})
    service.answers = [(200, answer), (200, whole)]
    assert call("infer_stream", [b"photo"]) == [{"faces": []}]
    service.answers = [(200, answer)] * 4
    with pytest.raises(ClientError, match="is cut"):
        call("infer_stream", [b"photo"])


def test_a_stream_that_is_stopped_raises_why(service: FakeService, call: Caller) -> None:
    problem = {"type": "urn:faces:problem:unauthorized", "status": 401, "detail": "No key."}
    last = {"done": False, "lines": 0, "errors": 0, "problem": problem}
    service.answers = [(200, streamed(last))]
    with pytest.raises(ClientError, match="No key") as raised:
        call("infer_stream", [b"photo"])
    assert (raised.value.status, raised.value.type) == (401, "unauthorized")
