"""Both clients against the real service: every method, and photos in every form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.client import AsyncClient, Client, ClientError
from serving.stack.config import StackSettings

Call = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, stack: StackSettings, api: httpx.Client) -> Call:
    """Calls one method of a client."""

    def waiting(method: str, *args: Any, **options: Any) -> Any:
        with Client(stack.url) as client:
            answer = getattr(client, method)(*args, **options)
            return list(answer) if method == "identities" else answer

    async def ask(method: str, *args: Any, **options: Any) -> Any:
        async with AsyncClient(stack.url) as client:
            answer = getattr(client, method)(*args, **options)
            if isinstance(answer, AsyncIterator):
                return [item async for item in answer]
            return await answer

    def running(method: str, *args: Any, **options: Any) -> Any:
        return asyncio.run(ask(method, *args, **options))

    return waiting if request.param == "sync" else running


@pytest.fixture
def sunak(data: Path) -> Path:
    return data / "people/103/sunak.jpg"


def test_the_life_of_a_person(call: Call, sunak: Path, new_id: int) -> None:
    enrolled = call("enrol", new_id, sunak, name="Rishi Sunak")
    assert (enrolled["id"], enrolled["photos"]) == (new_id, 1)
    assert [report["used"] for report in enrolled["images"]] == [True]
    assert call("enrol", new_id, [sunak], append=True)["photos"] == 2

    (face,) = call("infer", sunak)["faces"]
    assert (face["id"], face["name"]) == (new_id, "Rishi Sunak")

    changed = call("describe", new_id, name=None, metadata={"desk": "4ü"})
    assert (changed["name"], changed["metadata"]) == (None, {"desk": "4ü"})
    assert call("identity", new_id) == changed

    assert call("delete", new_id)["gallery_version"] > changed["gallery_version"]
    with pytest.raises(ClientError) as caught:
        call("identity", new_id)
    assert (caught.value.status, caught.value.type) == (404, "unknown-identity")
    assert call("erase", new_id)["embeddings"] == 2


def test_embeddings_records_and_everybody(call: Call) -> None:
    model = call("infer", np.zeros((64, 64, 3), np.uint8))["model"]
    rows = np.eye(4, 512, dtype=np.float32)
    call("delete_all")
    for person in range(3):
        added = call("add_embeddings", person, rows[person : person + 1], model=model)
        assert added["photos"] == 1
    assert call("add_embeddings", 0, rows[:1].tolist(), model=model, replace=True)["photos"] == 1
    assert [p["id"] for p in call("identities", page_size=2)] == [0, 1, 2]
    assert call("merge", 0, [1, 2])["photos"] == 3
    call("delete_all")
    assert call("identities") == []


def test_how_the_service_is(call: Call) -> None:
    assert call("health") == {"status": "ok"}
    assert call("ready")["ready"] is True


def test_an_array_is_recognised_as_its_file_is(call: Call, data: Path, new_id: int) -> None:
    photo = data / "id_is_2576.jpg"
    call("generate", new_id, photo)
    with Image.open(photo) as image:
        forms = [photo, photo.read_bytes(), image, np.asarray(image.convert("RGB"))]
        found = [call("infer", form, threshold=-1)["faces"][0] for form in forms]
    call("delete", new_id)
    assert {face["id"] for face in found} == {new_id}
    for face in found:
        assert face["box"] == pytest.approx(found[0]["box"], abs=3)
    # JPEG of quality 95 may cost no more than that.
    assert min(face["similarity"] for face in found) > 0.995


def test_faces_and_pairs_without_a_gallery(call: Call, data: Path, sunak: Path) -> None:
    found = call("detect", data / "group.jpg", max_faces=3)["faces"]
    assert [len(face["landmarks"]) for face in found] == [5, 5, 5]
    young, old = data / "people/101/macron_2014.jpg", data / "people/101/macron_2025.jpg"
    assert call("verify", young, old)["same"] is True
    assert call("verify", young, sunak)["same"] is False
    assert call("verify", young, old, threshold=0.99)["same"] is False


def test_photos_without_a_face(call: Call, new_id: int) -> None:
    with pytest.raises(ClientError) as caught:
        call("generate", new_id, [np.zeros((64, 64, 3), np.uint8), b"no image"])
    error = caught.value
    assert (error.status, error.type, error.not_confirmed) == (422, "no-usable-face", False)
    assert [report["used"] for report in error.images] == [False, False]
    assert "No face was found." in str(error)


def test_the_service_keeps_the_request_id_of_the_client(stack: StackSettings, new_id: int) -> None:
    sent, answered = [], []

    def note(answer: httpx.Response) -> None:
        answer.read()
        sent.append(answer.request.headers["x-request-id"])
        answered.append(answer.json()["request_id"])

    with httpx.Client(event_hooks={"response": [note]}) as http, pytest.raises(ClientError):
        Client(stack.url, http=http).identity(new_id)
    assert sent == answered
    assert len(sent) == 1
