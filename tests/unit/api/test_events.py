"""Events of look-ups: who was identified, and that somebody unknown was seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.errors import Unavailable
from serving.events.outbox import Outbox
from serving.events.queue import Queue
from serving.model.liveness import Liveness
from tests.support.api import Api
from tests.support.events import settings
from tests.support.memory_store import MemoryStore
from tests.support.trails import wait_until
from tests.support.webhooks import Watched

JPEG = {"content-type": "image/jpeg"}


class Seen:
    """The API with an outbox."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.watched = Watched()
        self.outboxes: list[Outbox] = []

    def api(self, **more: Any) -> Api:
        own = {"kinds": ["identified", "unknown"], "flush_s": 0.0, **more}
        outbox = Outbox(
            settings(self.folder, **own), lambda: Queue(self.store, "events"), self.watched
        )
        self.outboxes.append(outbox)
        return Api(threshold=0.5, outbox=outbox)

    def events(self) -> list[dict[str, Any]]:
        queue = Queue(self.store, "events")
        found = [queue.read(key) for key in queue.listed()]
        return [event for batch in found if batch is not None for event in batch.events]

    def one(self) -> dict[str, Any]:
        wait_until(lambda: self.events())
        (event,) = self.events()
        return event


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    made = Seen(tmp_path)
    yield made
    for outbox in made.outboxes:
        outbox.close(10)


def infer(api: Api, path: str = "/infer", **params: Any) -> Any:
    headers = {**JPEG, "X-Request-ID": "r-1"}
    return api.request("POST", path, content=b"photo", headers=headers, params=params)


def test_an_attack_is_no_event(seen: Seen) -> None:
    api = seen.api()
    api.pipeline.verdict = Liveness(False, 0.1)
    assert infer(api).json()["faces"][0]["id"] is None
    api.pipeline.verdict = None
    infer(api)
    assert seen.one()["type"] == "faces.face.identified"


def test_a_face_with_a_name_is_an_event(seen: Seen) -> None:
    answer = infer(seen.api()).json()
    face = answer["faces"][0]
    event = seen.one()
    assert event["type"] == "faces.face.identified"
    assert event["data"] == {
        "collection": "default",
        "id": face["id"],
        "gallery_version": answer["gallery_version"],
        "model": answer["model"],
        "threshold": 0.5,
        "photo": 0,
        "key": "anonymous",
        "request_id": "r-1",
        "face": 0,
        "similarity": round(face["similarity"], 4),
    }


def test_strangers_of_a_photo_are_one_event(seen: Seen) -> None:
    answer = infer(seen.api(), threshold=0.999).json()
    assert [face["id"] for face in answer["faces"]] == [None] * len(answer["faces"])
    event = seen.one()
    assert event["type"] == "faces.face.unknown"
    assert event["data"]["faces"] == list(range(len(answer["faces"])))
    assert "id" not in event["data"]


def test_only_what_the_settings_want(seen: Seen) -> None:
    infer(seen.api(kinds=["unknown"]))
    infer(seen.api(collections=["shop"]))
    infer(seen.api(collections=["shop"]), "/collections/shop/infer")
    assert seen.one()["source"] == "/collections/shop"


def test_an_answer_can_wait_for_its_event(seen: Seen) -> None:
    assert infer(seen.api(before_answer=True)).status_code == 200
    assert len(seen.events()) == 1


def test_an_answer_that_cannot_wait_is_refused(seen: Seen) -> None:
    def away(request: str, key: str) -> None:
        raise Unavailable("The store is away.")

    seen.store.before = away
    api = seen.api(before_answer=True, buffer_events=1)
    seen.outboxes[0].add([{}])
    assert infer(api).status_code == 503
    assert seen.watched.counts["lost"] == 1
    seen.store.before = lambda request, key: None


def test_without_it_the_store_may_be_away(seen: Seen) -> None:
    def away(request: str, key: str) -> None:
        raise Unavailable("The store is away.")

    seen.store.before = away
    assert infer(seen.api()).status_code == 200
    seen.store.before = lambda request, key: None
    seen.one()
