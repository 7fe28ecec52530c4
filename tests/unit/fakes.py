"""Stand-ins for what the modules under test talk to: stages, Triton, the service."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import httpx
import numpy as np
from numpy.typing import NDArray
from ray.exceptions import OufOfBandObjectRefSerializationException, RayTaskError

from serving.embed import Embedder, ServedModel
from serving.freshness import Versions
from serving.ingress import build_api
from serving.keys import Keys
from serving.metrics import ApiMetrics
from serving.model import Calibration, ModelCard
from serving.pipeline import (
    ConflictsRefused,
    EnrolmentReport,
    Identified,
    PhotoReport,
    Pipeline,
)
from serving.records import (
    CROP_SIZE,
    Candidate,
    Conflict,
    Enrolled,
    Faces,
    GalleryStatus,
    Matches,
)
from serving.refs import Ref
from serving.register import Register
from serving.settings import GallerySettings, LimitSettings, MatchSettings, TritonSettings
from serving.timings import Timings
from tests.unit.gallery.people import DIMENSION, MODEL, unit_rows

CARD = ModelCard(
    name="facenet-test",
    id=MODEL,
    source="made up",
    licence="none",
    dimension=DIMENSION,
    preprocessing={},
    threshold=0.5,
    calibration=Calibration(slope=10, intercept=-5, measured_on="nobody"),
)


def faces(*boxes: tuple[float, float, float, float]) -> Faces:
    """Faces at these boxes; every pixel of the n-th one's crop is n."""
    count = len(boxes)
    crops = np.zeros((count, 3, CROP_SIZE, CROP_SIZE), np.uint8)
    crops += np.arange(count, dtype=np.uint8)[:, None, None, None]
    return Faces(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.99, 0.95, count, dtype=np.float32),
        landmarks=np.array([_landmarks(*box) for box in boxes], np.float32).reshape(-1, 5, 2),
        crops=crops,
    )


def _landmarks(x1: float, y1: float, x2: float, y2: float) -> list[tuple[float, float]]:
    """Those of a face that looks into the camera."""
    places = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    return [(x1 + x * (x2 - x1), y1 + y * (y2 - y1)) for x, y in places]


class Handle:
    """A deployment's handle: ``handle.method.remote(...)`` awaits the stage's own method."""

    def __init__(self, name: str, stage: Any) -> None:
        self._name = name
        self._stage = stage

    def __getattr__(self, method: str) -> Method:
        return Method(self._name, getattr(self._stage, method))


class Method:
    """By value, as Ray is set here, neither arguments nor answer may hold a reference.

    Attributes:
        by_reference: of each call that was made.
        cancelled: how many calls by reference were given up, and Ray was told so.
    """

    def __init__(self, deployment_name: str, work: Callable[..., Awaitable[Any]]) -> None:
        self.deployment_name = deployment_name
        self.by_reference: list[bool] = []
        self.cancelled = 0
        self._work = work

    def options(self, *, _by_reference: bool) -> ByReference:
        assert _by_reference
        return ByReference(self)

    def remote(self, *args: Any, **beside: Any) -> Awaitable[Any]:
        return self.called(False, args, beside)

    async def called(
        self, by_reference: bool, args: tuple[Any, ...], beside: dict[str, Any]
    ) -> Any:
        self.by_reference.append(by_reference)
        # What goes beside the arguments is for stages, as `serving.handles.stage` makes them.
        is_stage = hasattr(self._work, "__wrapped__")
        answer = await self._work(*args, **(beside if is_stage else {}))
        if not by_reference and any(isinstance(v, Ref) and not v.small for v in (*args, answer)):
            raise OufOfBandObjectRefSerializationException("It is not allowed to serialize.")
        return answer


class ByReference:
    def __init__(self, method: Method) -> None:
        self._method = method

    def remote(self, *args: Any, **beside: Any) -> Response:
        return Response(self._method, self._method.called(True, args, beside))


class Response:
    def __init__(self, method: Method, work: Awaitable[Any]) -> None:
        self._method = method
        self._work = work

    def __await__(self) -> Generator[Any, None, Any]:
        return self._work.__await__()

    def cancel(self) -> None:
        self._method.cancelled += 1


def wrapped(cause: Exception) -> Exception:
    """What the caller of a stage gets when the stage raises ``cause``."""
    error = RayTaskError("detect", "Traceback: /srv/x.py", cause, "serve", 1, "127.0.0.1")
    dual: Exception = error.as_instanceof_cause()
    return dual


class Held:
    """A value that can be awaited any number of times, as an ObjectRef can; or an error."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Any]:
        yield from asyncio.sleep(0).__await__()
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


def row_of(*numbers: int) -> NDArray[np.float32]:
    """The embeddings of crops that are full of these numbers."""
    return np.stack([unit_rows(1, DIMENSION, seed=n)[0] for n in numbers])


class FakeEmbedder(Embedder):
    """Embeds the crops of `faces`: those full of n become `row_of(n)`."""

    def __init__(self) -> None:
        super().__init__(TritonSettings())
        self.failure: Exception | None = None
        self.is_ready = True

    async def served(self) -> ServedModel:
        if self.failure is not None:
            raise self.failure
        return ServedModel(CARD, 32, "INPUT__0", "OUTPUT__0", 0.0)

    async def ready(self) -> bool:
        return self.is_ready

    async def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.failure is not None:
            raise self.failure
        if not len(crops):
            return np.empty((0, DIMENSION), np.float32)
        return row_of(*crops[:, 0, 0, 0].tolist())


class FakePipeline(Pipeline):
    """Notes what it is asked, and always finds one face, which is 7 by a cosine of 0.75.

    ``found`` has other faces for single photos, and what is not face but failure is raised.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.collections: list[str] = []
        self.failure: BaseException | None = None
        self.seconds = 0.0
        self.found: dict[bytes, Faces | Exception] = {}
        self.conflicts: list[Conflict] = []
        self.refused = False
        self.embedder = FakeEmbedder()
        self.state: dict[str, str | GalleryStatus] = {
            "stages": "ok",
            "triton": "ok",
            "gallery": GalleryStatus(True, 17, 2, 5, None),
        }

    async def identify(
        self,
        data: bytes,
        *,
        collection: str,
        top_k: int,
        max_faces: int | None,
        timings: Timings,
    ) -> Identified:
        self.collections.append(collection)
        await self._work({"data": data, "top_k": top_k, "max_faces": max_faces}, timings)
        found = self._found(data)
        candidates = ((Candidate(7, "Ada", 0.75),),) * len(found)
        return Identified(found, Matches(candidates, 17, 1000), CARD)

    async def enrol(
        self,
        images: Sequence[bytes],
        *,
        collection: str,
        person: int,
        name: str | None,
        append: bool,
        force: bool,
        timings: Timings,
    ) -> EnrolmentReport:
        self.collections.append(collection)
        asked = {"images": list(images), "person": person, "name": name, "append": append}
        await self._work({**asked, "force": force}, timings)
        photos = [PhotoReport(faces((1, 2, 30, 40)), 1, None) for _ in images]
        if self.refused and not force:
            error = ConflictsRefused("The photos contradict who is enrolled.")
            error.photos, error.conflicts = photos, self.conflicts
            raise error
        enrolled = Enrolled(name, len(images), 18, tuple(self.conflicts))
        return EnrolmentReport(photos, enrolled, CARD)

    async def faces(self, data: bytes, timings: Timings) -> Faces:
        await self._work({"data": data}, timings)
        return self._found(data)

    async def card(self) -> ModelCard:
        return (await self.embedder.served()).card

    async def embed(self, crops: NDArray[np.uint8], timings: Timings) -> NDArray[np.float32]:
        return await timings.of("embed", self.embedder.embed(crops))

    async def ready(self) -> dict[str, str | GalleryStatus]:
        await asyncio.sleep(self.seconds)
        return self.state

    def _found(self, data: bytes) -> Faces:
        found = self.found.get(data, faces((1, 2, 30, 40)))
        if isinstance(found, Exception):
            raise found
        return found

    async def _work(self, asked: dict[str, Any], timings: Timings) -> None:
        self.asked.append(asked)
        await timings.of("detect", asyncio.sleep(self.seconds))
        if self.failure is not None:
            raise self.failure


class Api:
    """Requests to the HTTP API over a `FakePipeline`, without a server."""

    def __init__(
        self,
        threshold: float | Literal["auto"] | None = None,
        verify_threshold: float | None = None,
        keys: Keys | None = None,
        console: bool = True,
        hosts: Sequence[str] | None = None,
        **limits: Any,
    ) -> None:
        self.pipeline = FakePipeline()
        self.register = Register(None, FakeEmbedder(), Versions(GallerySettings()))
        matching = MatchSettings(threshold=threshold, verify_threshold=verify_threshold)
        self.app = build_api(
            self.pipeline,
            self.register,
            LimitSettings(**limits),
            matching,
            ApiMetrics(),
            keys,
            console=console,
            hosts=hosts,
        )

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://faces") as client:
                return await client.request(method, path, **request)

        return asyncio.run(ask())

    @property
    def asked(self) -> dict[str, Any]:
        """What the pipeline was asked; once, and nothing else."""
        (asked,) = self.pipeline.asked
        return asked

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.request("GET", path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.request("POST", path, **request)


class FakeService:
    """A server on loopback that gives one answer to everything, and notes what it was asked.

    ``answers`` are given first, each once: status, body and perhaps headers. Status `NO_ANSWER`
    breaks the connection off.
    """

    def __init__(self) -> None:
        self.status = 200
        self.body: Any = {}
        self.seconds = threading.Event()  # set: answers come at once
        self.seconds.set()
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[tuple[Any, ...]] = []
        self.url = ""


NO_ANSWER = 0


@contextmanager
def fake_service() -> Iterator[FakeService]:
    service = FakeService()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.asked.append(f"{self.command} {self.path}")
            service.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
            service.headers.append({k.lower(): v for k, v in self.headers.items()})
            service.seconds.wait(10)
            status, body, *headers = (
                service.answers.pop(0) if service.answers else (service.status, service.body)
            )
            if status == NO_ANSWER:
                self.close_connection = True
                return
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in dict(*headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PATCH = do_DELETE = do_GET

        def handle(self) -> None:
            with suppress(ConnectionError):  # a client that waits no longer
                super().handle()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        service.seconds.set()
        server.shutdown()
        server.server_close()
        thread.join()


def detail_of(answer: httpx.Response, status: int) -> str:
    """The sentence of a problem, which has to be one in every respect."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "request_id"} <= body.keys()
    assert body["status"] == status
    assert body["type"].startswith("urn:faces:problem:")
    assert body["request_id"]
    assert "Traceback" not in answer.text
    return str(body["detail"])
