"""With vectors on disk, people are enrolled, found and erased as in memory, and no file has a
name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.load import replicas
from tests.support.stacks import Stack, vectors_beside

JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture
def service(tuned_stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=tuned_stack.settings.url, timeout=60) as client:
        yield client


def test_people_are_found_and_erased(
    tuned_stack: Stack, service: httpx.Client, data: Path, new_id: int
) -> None:
    photo = (data / "id_is_2576.jpg").read_bytes()
    people = "/collections/vectors"

    def found() -> list[int | None]:
        answer = service.post(f"{people}/infer", content=photo, headers=JPEG).raise_for_status()
        return [face["id"] for face in answer.json()["faces"]]

    enrolled = service.post(
        f"{people}/generate", params={"id": new_id}, content=photo, headers=JPEG
    )
    enrolled.raise_for_status()
    assert found() == [new_id]

    folder = vectors_beside(tuned_stack.settings.folder.resolve())
    application = tuned_stack.processes[-1]
    matchers = replicas(application.pid, "match")
    mapped = [Path(f"/proc/{pid}/maps").read_text().count(f"{folder}/") for pid in matchers]
    assert max(mapped) >= 1
    assert list(folder.iterdir()) == []

    service.delete(f"{people}/identities/{new_id}", params={"erase": "true"}).raise_for_status()
    assert found() == [None]
