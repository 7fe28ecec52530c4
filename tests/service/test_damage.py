"""A damaged object in the bucket, under a service that runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.gallery import Gallery, Kind, Operation
from serving.gallery.location import Location
from serving.gallery.s3 import connect
from serving.gallery.store import Store
from serving.settings import GallerySettings
from serving.stack.config import BUCKET, StackSettings
from serving.stack.credentials import credentials
from serving.stack.serve import metrics_port
from tests.support.people import unit_rows


@pytest.fixture
def settings(stack: StackSettings, monkeypatch: pytest.MonkeyPatch) -> GallerySettings:
    for name, value in credentials(stack.folder).items():
        monkeypatch.setenv(name, value)
    return GallerySettings(bucket=BUCKET, endpoint=f"http://127.0.0.1:{stack.s3_port}")


@pytest.fixture
def damaged(api: httpx.Client, settings: GallerySettings) -> Iterator[str]:
    """The key of a segment that somebody else committed and that was damaged at once; whole again
    at the end."""
    model = api.get("/identities").json()["model"]
    store = connect(settings)
    gallery = Gallery(store, settings.prefix, Location(settings.collection, model, 512))
    key, good = "", b""

    class DamagingStore:
        """Damages a new segment before any manifest names it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def put(self, put_key: str, data: bytes, **condition: Any) -> str:
            nonlocal key, good
            if "/segments/" in put_key:
                key, good = put_key, data
                data = data[:-1] + bytes([data[-1] ^ 1])
            return store.put(put_key, data, **condition)

    damaging: Store = DamagingStore()  # type: ignore[assignment]
    writer = Gallery(damaging, settings.prefix, Location(settings.collection, model, 512))
    writer.commit([Operation(Kind.PUT, 5_000_001, time.time(), unit_rows(1, 512))])
    yield key
    store.put(key, good)
    assert 5_000_001 in gallery.refresh()


def test_the_people_from_before_are_served_and_the_damage_is_told(
    api: httpx.Client, stack: StackSettings, settings: GallerySettings, data: Path, request: Any
) -> None:
    photo = (data / "people/104/collins.jpg").read_bytes()
    enrolled = api.post("/generate", data={"id": "104"}, files={"images": photo})
    # Each matcher has read the gallery before the damage: so many at once are for both.
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.post("/infer", files={"image": photo}), range(24)))
    assert {answer.json()["faces"][0]["id"] for answer in answers} == {104}
    for _ in range(8):
        assert api.get("/readyz").json()["checks"]["gallery"]["problem"] is None
    key = request.getfixturevalue("damaged")

    for _ in range(8):
        answer = api.post("/infer", files={"image": photo})
        assert answer.status_code == 200, answer.text
        assert answer.json()["faces"][0]["id"] == 104
        assert answer.json()["gallery_version"] == enrolled.json()["gallery_version"]
    ready = api.get("/readyz")
    assert ready.status_code == 200
    assert f"{key} is damaged" in ready.json()["checks"]["gallery"]["problem"]
    assert problems(stack) == "1.0"


def test_what_is_mended_is_served_again(api: httpx.Client, stack: StackSettings) -> None:
    for _ in range(8):
        assert api.get("/readyz").json()["checks"]["gallery"]["problem"] is None
    assert api.get("/identities/5000001").status_code == 200
    assert problems(stack, "0.0") == "0.0"


def problems(stack: StackSettings, wanted: str = "1.0") -> str:
    """The metric's highest value, when it is the wanted one or after a minute."""
    deadline = time.monotonic() + 60
    while True:
        page = httpx.get(f"http://127.0.0.1:{metrics_port(stack.port)}/metrics", timeout=30).text
        lines = [x for x in page.splitlines() if x.startswith("ray_faces_gallery_problem{")]
        highest = max((line.rpartition(" ")[2] for line in lines), default="none")
        if highest == wanted or time.monotonic() > deadline:
            return highest
        time.sleep(1)
