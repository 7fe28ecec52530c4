"""Streams through the whole application, on a pipeline with set answers."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import Request
from starlette.types import Message

from serving.api.streams.answer import StreamedAnswer
from serving.api.streams.frames import Frame
from serving.api.streams.single import Single
from serving.errors import UnsupportedImage
from tests.support.api import Api, detail_of
from tests.support.streaming import Streaming, line

NDJSON = {"content-type": "application/x-ndjson"}
JSON = {"content-type": "application/json"}
SOON = 0.05


def infer(photo: bytes = b"photo", **more: Any) -> bytes:
    return json.dumps({"image": base64.b64encode(photo).decode(), **more}).encode()


def generate(person: int, **more: Any) -> bytes:
    body = {"id": person, "images": [{"image": "YWJj"}, {"image": "ZGVm"}], **more}
    return json.dumps(body).encode()


def lines_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


LINES = {
    "plain": infer(),
    "options": infer(top_k=3, max_faces=1),
    "no image": infer(b"none"),
    "no JSON": b'{"image": "YWJj"',
    "a list": b"[]",
    "twice": b'{"image": "YWJj", "image": "YWJj"}',
    "unknown": infer(treshold=0.5),
    "against the query": infer(threshold=0.75),
    "not UTF-8": b'{"image": "\xff"}',
    "UTF-16": '{"image": "YWJj"}'.encode("utf-16-le"),
    "no base64": b'{"image": "???"}',
    "BOM": b"\xef\xbb\xbf" + infer(),
    "blanks": b"  " + infer() + b" \t",
}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_each_line_is_the_answer_to_the_single_request(end: bytes) -> None:
    api = Api()
    api.pipeline.found = {b"none": UnsupportedImage("This is none.")}
    path = "/collections/shop/infer{}?threshold=0.5"
    # UTF-16 has line ends of two bytes, so without the CR it would be another line.
    whole = end.join(LINES.values())
    answers = lines_of(api.post(path.format("/stream"), content=whole, headers=NDJSON))
    assert answers.pop() == {"done": True, "lines": len(LINES), "errors": 9}
    for number, (sent, answer) in enumerate(zip(LINES.values(), answers, strict=True)):
        single = api.post(path.format(""), content=sent, headers=JSON).json()
        assert answer.pop("index") == number
        for one in (answer, single):
            one.pop("request_id", None)
        assert answer == single
    assert set(api.pipeline.collections) == {"shop"}


def test_people_are_enrolled_in_their_order() -> None:
    api = Api()
    body = b"\n".join([generate(1, ref="a"), generate(2, mode="append"), b"", generate(-1)])
    answers = lines_of(api.post("/generate/stream?force=true", content=body, headers=NDJSON))
    assert [(one.get("id"), one.get("status"), one.get("ref")) for one in answers[:-1]] == [
        (1, None, "a"),
        (2, None, None),
        (None, 400, None),
    ]
    assert answers[-1] == {"done": True, "lines": 3, "errors": 1}
    asked = api.pipeline.asked
    assert [(one["person"], one["append"], one["force"]) for one in asked] == [
        (1, False, True),
        (2, True, True),
    ]


def test_a_line_that_is_cut_is_never_obeyed() -> None:
    api, whole = Api(), generate(1, name="Ada")
    bodies = [whole[:at] for at in range(1, len(whole))]
    for streamed in api.requests("POST", "/generate/stream", NDJSON, bodies):
        (answer, last) = lines_of(streamed)
        assert (answer["status"], last) == (400, {"done": True, "lines": 1, "errors": 1})
    assert api.pipeline.asked == []


def test_a_name_comes_back_with_an_error_as_far_as_it_was_read() -> None:
    api = Api()
    api.pipeline.found = {b"none": UnsupportedImage("This is none.")}
    body = infer(b"none", ref="x") + b"\n" + infer(ref="") + b"\n" + infer(ref="x", top_k=0)
    *answers, _ = lines_of(api.post("/infer/stream", content=body, headers=NDJSON))
    assert [(one["status"], one.get("ref")) for one in answers] == [
        (415, "x"),
        (400, None),
        (400, None),
    ]
    assert "ref" in answers[1]["detail"]
    # A single request has no such option, as before.
    single = api.post("/infer", content=infer(ref="x"), headers=JSON)
    assert "ref is no option" in detail_of(single, 400)


def test_photos_of_a_form_are_named_by_their_files() -> None:
    files = [
        ("image", ("a.jpg", b"photo", "image/jpeg")),
        ("images", ("b.jpg", b"photo", "image/jpeg")),
        ("picture", ("c.jpg", b"photo", "image/jpeg")),
        ("top_k", (None, b"3")),
    ]
    answers = lines_of(Api().post("/infer/stream?top_k=2", files=files))
    assert [(one.get("ref"), one.get("status")) for one in answers[:-1]] == [
        ("a.jpg", None),
        ("b.jpg", None),
        ("c.jpg", 400),
        (None, 400),
    ]
    assert answers[-1]["done"]


def test_a_form_that_is_cut_ends_the_stream() -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nphoto\r\n'
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answers = lines_of(Api().post("/infer/stream", content=part + part, headers=kind))
    assert "faces" in answers[0]
    problem = answers[1].pop("problem")
    assert answers[1:] == [{"done": False, "lines": 1, "errors": 0}]
    assert (problem["status"], problem["type"]) == (400, "urn:faces:problem:bad-request")
    assert "has no end" in problem["detail"]


def test_a_line_that_is_too_long_is_an_error_and_the_next_one_is_taken() -> None:
    api = Api(max_image_bytes=1000, max_body_bytes=100_000)
    body = b"\n".join([infer(bytes(1001)), infer(bytes(70_000)), infer()])
    answers = lines_of(api.post("/infer/stream", content=body, headers=NDJSON))
    assert [one.get("status") for one in answers] == [413, 413, None, None]
    assert answers[-1] == {"done": True, "lines": 3, "errors": 2}


@pytest.mark.parametrize(
    ("path", "content", "headers", "status", "sentence"),
    [
        ("/infer/stream", b"", NDJSON, 400, "The body is empty"),
        ("/infer/stream", b"\r\n\n", NDJSON, 400, "The body is empty"),
        ("/infer/stream?treshold=1", infer(), NDJSON, 400, "did you mean threshold"),
        ("/infer/stream?top_k=a", infer(), NDJSON, 400, "top_k is a whole number"),
        ("/generate/stream?id=7", generate(7), NDJSON, 400, "id is no option"),
        ("/infer/stream", infer(), JSON, 415, "Send a JSON object in each line"),
        ("/infer/stream", b"photo", {"content-type": "image/jpeg"}, 415, "image/jpeg"),
        ("/infer", infer(), NDJSON, 415, "The Content-Type is application/x-ndjson"),
        (
            "/generate/stream",
            b"--x--",
            {"content-type": "multipart/form-data; boundary=x"},
            415,
            "Send a JSON object",
        ),
        ("/infer/stream", infer(), {**NDJSON, "content-encoding": "gzip"}, 415, "Encoding"),
        ("/generate/stream", generate(1), {**NDJSON, "if-match": "*"}, 400, "If-Match"),
        ("/infer/stream", infer(), {**NDJSON, "x-verified-by": "a b"}, 400, "X-Verified-By"),
    ],
)
def test_what_is_wrong_with_all_of_it_is_answered_before_it_begins(
    path: str, content: bytes, headers: dict[str, str], status: int, sentence: str
) -> None:
    api = Api()
    assert sentence in detail_of(api.post(path, content=content, headers=headers), status)
    assert api.pipeline.asked == []


def test_problems_have_the_id_of_their_line() -> None:
    headers = {**NDJSON, "x-request-id": "mine"}
    answers = lines_of(Api().post("/infer/stream", content=b"{}\n[]", headers=headers))
    assert [one["request_id"] for one in answers[:-1]] == ["mine.0", "mine.1"]


def test_where_there_is_one_place_photos_take_it_in_turns() -> None:
    api = Api(max_in_flight=1)
    api.pipeline.seconds = 0.01
    answers = lines_of(api.post("/infer/stream", content=infer() + b"\n" + infer(), headers=NDJSON))
    assert answers[-1] == {"done": True, "lines": 2, "errors": 0}


class Caller:
    """A stream whose messages a test sends, and whose answer it reads, without a server."""

    def __init__(self, api: Api, path: str = "/infer/stream") -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        self.blocked: asyncio.Event | None = None
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [
                (b"content-type", b"application/x-ndjson"),
                (b"transfer-encoding", b"chunked"),
                (b"x-request-disconnect-disabled", b"?1"),
            ],
        }
        self.task = asyncio.ensure_future(api.app(scope, self.messages.get, self._send))

    async def _send(self, message: Message) -> None:
        if self.blocked is not None:
            await self.blocked.wait()
        self.sent.append(message)

    def send(self, line: bytes, more: bool = True) -> None:
        message = {"type": "http.request", "body": line + b"\n", "more_body": more}
        self.messages.put_nowait(message)

    def leave(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})

    @property
    def lines(self) -> list[dict[str, Any]]:
        body = b"".join(message.get("body", b"") for message in self.sent)
        return [json.loads(line) for line in body.splitlines()]


async def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_a_client_that_leaves_ends_all_that_is_done_for_it() -> None:
    async def check() -> None:
        api = Api()
        caller = Caller(api)
        caller.send(infer())
        await until(lambda: len(caller.lines) == 1)
        api.pipeline.seconds = 60
        for _ in range(20):
            caller.send(infer())
        await until(lambda: len(api.pipeline.asked) == 5)
        caller.leave()
        await asyncio.wait_for(caller.task, 5)
        assert len(api.pipeline.asked) == 5
        assert len(asyncio.all_tasks()) == 1

    run(check)


def test_a_client_that_reads_no_answers_is_sent_no_more_and_read_no_further() -> None:
    async def check() -> None:
        api = Api()
        caller = Caller(api)
        caller.blocked = asyncio.Event()
        for _ in range(20):
            caller.send(infer())
        await asyncio.sleep(SOON)
        assert len(api.pipeline.asked) <= 5
        caller.blocked.set()
        caller.send(b"", more=False)
        await asyncio.wait_for(caller.task, 10)
        assert caller.lines[-1] == {"done": True, "lines": 20, "errors": 0}

    run(check)


def test_there_are_only_so_many_streams_at_once() -> None:
    async def check() -> None:
        api = Api(max_in_flight=8)  # a quarter of it
        callers = [Caller(api) for _ in range(3)]
        await until(lambda: bool(callers[2].sent))
        assert [caller.sent[0]["status"] if caller.sent else 0 for caller in callers] == [0, 0, 503]
        # Others are answered, also while streams are open.
        transport = httpx.ASGITransport(api.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://faces") as client:
            assert (await client.post("/infer", content=infer(), headers=JSON)).status_code == 200
        for caller in callers[:2]:
            caller.send(infer(), more=False)
            await asyncio.wait_for(caller.task, 10)
            assert caller.lines[-1]["done"]
        again = Caller(api)
        again.send(infer(), more=False)
        await asyncio.wait_for(again.task, 10)
        assert again.lines[-1]["done"]

    run(check)


def test_a_key_that_is_refused_meanwhile_ends_the_stream() -> None:
    class Source:
        async def next(self) -> Frame | None:
            return Frame(b"{}", "application/json", 2)

        async def left(self) -> None:
            await asyncio.Event().wait()

        async def drain(self, seconds: float) -> None: ...
        async def close(self) -> None: ...

    async def check() -> None:
        async def single(number: int, frame: Frame) -> Single:
            if number < 2:
                return Single(200, b'{"faces":[]}', None)
            return Single(401, b'{"status":401}', None)

        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope: dict[str, Any] = {"type": "http", "headers": [], "path": "/", "method": "POST"}
        answer = StreamedAnswer(Request(scope), single, 4)
        answer.begin(Source(), Frame(b"{}", "application/json", 2))  # type: ignore[arg-type]
        await asyncio.wait_for(answer(scope, None, send), 10)  # type: ignore[arg-type]
        lines = [json.loads(m["body"]) for m in sent if m.get("body")]
        assert [line.get("index") for line in lines] == [0, 1, 2, None]
        assert lines[-1] == {"done": False, "lines": 3, "errors": 1, "problem": {"status": 401}}
        assert not sent[-1]["more_body"]

    run(check)


MB = 2**20
# As HAProxy sends it for these paths.
UNREAD = {"X-Request-Disconnect-Disabled": "?1"}


@contextmanager
def served(api: Api) -> Iterator[str]:
    """The application on a real server, which is the one that Ray Serve uses."""
    config = uvicorn.Config(api.app, host="127.0.0.1", port=0, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_an_answer_comes_before_the_next_photo_is_sent() -> None:
    with served(Api()) as url, Streaming(url, "/infer/stream", headers=UNREAD) as stream:
        lines = stream.lines()
        for number in range(3):
            stream.send(line(b"photo"))
            assert next(lines)["index"] == number
        stream.end()
        assert list(lines) == [{"done": True, "lines": 3, "errors": 0}]


def test_a_client_that_sends_more_has_to_wait_and_may_leave() -> None:
    api = Api()
    api.pipeline.seconds = 6  # longer than it is looked at; the server waits for those under way
    data = line(bytes(3 * MB))
    with served(api) as url:
        with Streaming(url, "/infer/stream", headers=UNREAD) as stream:
            sent = stream.send_until_blocked(data, 2.0)
        # Four are under way, and a fifth is read; the rest fills the buffers of the sockets.
        assert 4 * len(data) < sent < 12 * len(data)
        assert len(api.pipeline.asked) == 4
        api.pipeline.seconds = 0
        time.sleep(1)
        assert len(api.pipeline.asked) == 4


def test_the_last_line_arrives_though_the_body_goes_on() -> None:
    kind = "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nphoto\r\n'
    with (
        served(Api()) as url,
        Streaming(url, "/infer/stream", kind, headers=UNREAD) as stream,
    ):
        stream.send(part + part + b"--xy\r\n")
        for _ in range(4):
            stream.send(bytes(1000))
        first, last = stream.lines()
        assert first["index"] == 0
        assert (last["done"], last["problem"]["status"]) == (False, 400)
