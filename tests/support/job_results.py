"""A bucket with the results of a job over its photos."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from serving.operations.batch.job import Folder, Place
from serving.operations.sought import Sought, in_results, source_of
from tests.support.memory_store import MemoryStore
from tests.support.stages import CARD

SOURCE, OUT = Folder("photos", "in/"), Folder("photos", "out/")


def box_of(place: int) -> tuple[int, int, int, int]:
    return (10 + 100 * place, 50, 60 + 100 * place, 110)


class Results:
    """A bucket with photos and the results of a job over them."""

    def __init__(self, *parts: list[dict[str, Any]], format: str = "jsonl") -> None:
        self.store = MemoryStore()
        self.place = Place(self.store, OUT)
        self.put("job.json", json.dumps({"source": str(SOURCE), "format": format}))
        for number, lines in enumerate(parts):
            text = "".join(json.dumps(line) + "\n" for line in lines)
            self.put(f"part-{number:06d}.jsonl", text)
        self.put("summary.json", "{}")

    def put(self, name: str, text: str) -> None:
        self.store.put(OUT.key(name), text.encode())

    def sought(self) -> Iterator[Sought]:
        return in_results(self.place, Place(self.store, source_of(self.place)))


def face(place: int, **what: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "id": None,
        "ambiguous": [],
        "quality": {"reasons": []},
        "liveness": None,
    }
    return {**usual, "box": box_of(place), **what}


def line(key: str, etag: str, *faces: dict[str, Any]) -> dict[str, Any]:
    # As `serving.operations.batch.look_ups` writes it.
    return {"photo": key, "etag": etag.strip('"'), "faces": faces, "model": CARD.id}
