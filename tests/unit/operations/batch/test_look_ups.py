"""The job that looks up photos: its parameters, and photos that have an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.errors import InvalidInput, Unavailable
from serving.operations.batch.reading import Refused
from tests.unit.operations.batch.results import World, photos


def test_photos_that_cannot_be_looked_up_have_an_error() -> None:
    world = World({**photos(5), "in/005.png": b"x" * 101, "in/006.bmp": b"y" * 100})
    inner = world.look_up

    def look_up(photo: bytes) -> dict[str, Any]:
        if photo == b"1":
            raise Refused("unsupported-image", 415, "It is no image.")
        return inner(photo)

    world.look_up = look_up  # type: ignore[method-assign]

    def gone(request: str, key: str) -> None:
        if request == "get" and key == "in/003.jpg":
            world.source.objects.pop(key)
        if request == "get" and key == "in/004.jpg":
            raise Unavailable("The object store answers with the error InvalidObjectState.")

    world.source.before = gone
    etags = {key: found.etag.strip('"') for key, found in world.source.objects.items()}
    summary = world.run(concurrency=3).summary
    errors = {line["photo"]: line["error"] for line in world.lines() if "error" in line}
    assert {key: (e["type"], e["status"]) for key, e in errors.items()} == {
        "in/001.jpg": ("unsupported-image", 415),
        "in/003.jpg": ("gone", None),
        "in/004.jpg": ("unreadable", None),
        "in/005.png": ("too-large", None),
    }
    assert {line["photo"]: line["etag"] for line in world.lines()} == etags
    assert ("get", "in/005.png") not in world.source.requests
    assert errors["in/005.png"]["detail"] == "101 bytes are more than the 100 that are read."
    assert "InvalidObjectState" in errors["in/004.jpg"]["detail"]
    assert summary["errors"] == {"unsupported-image": 1, "gone": 1, "unreadable": 1, "too-large": 1}
    assert (summary["photos"], summary["named"]) == (7, 2)


def test_a_place_without_photos_leaves_nothing() -> None:
    world = World({"in/notes.txt": b"x", "in/": b"", "in2/a.jpg": b"1"})
    with pytest.raises(InvalidInput, match="no photos below s3://photos/in/; 2 objects there"):
        world.run()
    assert world.names() == []


def test_job_json_says_what_the_lines_are_of() -> None:
    world = World(photos(1))
    world.run(top_k=2, threshold=0.5, collection="shop")
    assert world.json("job.json") == {
        "version": 1,
        "kind": "infer",
        "source": "s3://photos/in/",
        "collection": "shop",
        "top_k": 2,
        "threshold": 0.5,
        "max_faces": None,
        "max_bytes": 100,
        "part_photos": 3,
        "format": "jsonl",
    }
    head = world.out.head("out/part-000000.jsonl")
    assert set(head.metadata) == {"job", "run", "tally"}
    assert json.loads(head.metadata["tally"])["photos"] == 1
