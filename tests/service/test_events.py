"""Events of a real service, at a receiver that comes and goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.settings import AppArgs
from serving.stack.config import StackSettings
from serving.stack.serve import metrics_port
from tests.support.stacks import WEBHOOK_PORT, Stack
from tests.support.webhooks import receiving


@pytest.fixture(scope="module")
def api(tuned_stack: Stack) -> Iterator[httpx.Client]:
    # Of its own: in the default one, other tests may have enrolled the person of the photo.
    url = f"{tuned_stack.settings.url}/collections/events"
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def photo(data: Path) -> bytes:
    return (data / "people/103/sunak.jpg").read_bytes()


@pytest.fixture(scope="module")
def settings(tuned_stack: Stack) -> StackSettings:
    return tuned_stack.settings


def enrol(api: httpx.Client, person: int, photo: bytes) -> int:
    data = {"id": str(person), "force": "true"}
    answer = api.post("/generate", data=data, files={"images": photo})
    answer.raise_for_status()
    return int(answer.json()["gallery_version"])


def test_the_settings_are_those_of_a_service(settings: StackSettings) -> None:
    assert settings.document is not None
    (application,) = settings.document["applications"]
    assert AppArgs.model_validate(application["args"]).events.url is not None


def test_an_enrolment_a_look_up_and_an_erasure_arrive_signed(
    api: httpx.Client, photo: bytes, new_id: int
) -> None:
    with receiving(WEBHOOK_PORT) as webhook:
        version = enrol(api, new_id, photo)
        enrolled = webhook.wait("faces.person.enrolled", new_id)
        assert enrolled["data"]["gallery_version"] == version
        assert enrolled["data"]["photos"] == 1

        headers = {"Content-Type": "image/jpeg", "X-Request-ID": "an-event"}
        answer = api.post("/infer", content=photo, headers=headers).json()
        (face,) = answer["faces"]
        assert face["id"] == new_id
        identified = webhook.wait("faces.face.identified", new_id)
        assert identified["data"]["request_id"] == "an-event"
        assert identified["data"]["similarity"] == pytest.approx(face["similarity"], abs=1e-3)

        api.delete(f"/identities/{new_id}", params={"erase": True}).raise_for_status()
        deleted = webhook.wait("faces.person.deleted", new_id)
        erased = webhook.wait("faces.person.erased", new_id)
        assert enrolled["sequence"] < deleted["sequence"] < erased["sequence"]
        api.post("/infer", content=photo, headers=headers).raise_for_status()
        webhook.wait("faces.face.unknown")
    assert webhook.unsigned == 0


def test_what_happened_while_the_receiver_was_away_arrives_when_it_is_back(
    api: httpx.Client, photo: bytes, new_id: int
) -> None:
    enrol(api, new_id, photo)
    api.patch(f"/identities/{new_id}", json={"name": "Ada"}).raise_for_status()
    time.sleep(2)  # deliveries fail meanwhile
    with receiving(WEBHOOK_PORT) as webhook:
        changed = webhook.wait("faces.person.changed", new_id)
        enrolled = webhook.wait("faces.person.enrolled", new_id)
    assert changed["data"]["change"] == "details"
    assert enrolled["sequence"] < changed["sequence"]
    assert "Ada" not in str(webhook.events)
    api.delete(f"/identities/{new_id}", params={"erase": True}).raise_for_status()


def test_gauges_tell_that_all_is_delivered(settings: StackSettings) -> None:
    url, deadline = f"http://127.0.0.1:{metrics_port(settings.port)}/metrics", time.monotonic() + 90
    told: dict[str, str] = {}
    with receiving(WEBHOOK_PORT):
        while told.get("ray_faces_events_problem") != "0.0" and time.monotonic() < deadline:
            time.sleep(2)  # Ray tells its metrics every 10 s
            lines = httpx.get(url, timeout=30).text.splitlines()
            told = {
                line.split("{")[0]: line.split()[-1] for line in lines if "faces_events" in line
            }
    assert told["ray_faces_events_problem"] == "0.0"
    assert float(told["ray_faces_events_lag_seconds"]) < 30
