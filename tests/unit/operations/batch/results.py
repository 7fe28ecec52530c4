"""A bucket of photos, a service for them, and what a job leaves behind."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from serving.operations.batch.job import Folder, Place
from serving.operations.batch.look_ups import LookUpJob, LookUps
from serving.operations.batch.run import Done, run
from tests.support.memory_store import MemoryStore

SOURCE, OUT = Folder("photos", "in/"), Folder("results", "out/")
JOB = LookUpJob(source=str(SOURCE), max_bytes=100, part_photos=3)
MODEL = "facenet@1"


def answer(photo: bytes) -> dict[str, Any]:
    """That of a service which knows a person by the bytes of the photo, if they are a number."""
    person = int(photo) if photo.isdigit() else None
    quality: dict[str, Any] = {"reasons": []}
    face: dict[str, Any] = {"id": person, "name": None, "quality": quality, "ambiguous": []}
    return {"faces": [face], "model": MODEL, "gallery_version": 7}


class World:
    """A source and a place for results, in one store or in two; ``asked`` has every photo that was
    looked up."""

    def __init__(self, photos: Mapping[str, bytes]) -> None:
        self.source, self.out = MemoryStore(), MemoryStore()
        self.source.page_size = self.out.page_size = 2
        for key, data in photos.items():
            self.source.put(key, data)
        self.asked: list[bytes] = []

    def look_up(self, photo: bytes) -> dict[str, Any]:
        self.asked.append(photo)
        return answer(photo)

    def run(self, concurrency: int = 1, **job: Any) -> Done:
        return run(
            LookUps(dataclasses.replace(JOB, **job), Place(self.source, SOURCE), self.look_up),
            Place(self.out, OUT),
            concurrency=concurrency,
            sleep=lambda seconds: None,
        )

    def names(self) -> list[str]:
        return [key.removeprefix(OUT.prefix) for key in sorted(self.out.objects)]

    def json(self, name: str) -> Any:
        return json.loads(self.out.objects[OUT.key(name)].data)

    def parts(self) -> list[list[dict[str, Any]]]:
        keys = [key for key in sorted(self.out.objects) if "part-" in key]
        return [[json.loads(n) for n in self.out.objects[k].data.splitlines()] for k in keys]

    def lines(self) -> list[dict[str, Any]]:
        return [line for part in self.parts() for line in part]


def photos(count: int) -> dict[str, bytes]:
    return {f"in/{n:03}.jpg": b"%d" % n for n in range(count)}
