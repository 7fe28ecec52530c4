"""Who acts: from a request or a command, through a stage, into the manifest."""

from __future__ import annotations

import asyncio

from serving import actor
from serving.actor import acting
from serving.gallery.compaction import compact
from serving.gallery.erasure import erase
from serving.gallery.restore import as_of, restore
from serving.gallery.segment import Segment
from serving.stages import calls
from tests.support.people import DIMENSION, put
from tests.support.stages import Handle
from tests.unit.gallery.bucket import Bucket, delete


@calls.stage
class Stage:
    async def change(self) -> str | None:
        return actor.current()


def test_it_goes_with_a_call_of_a_stage() -> None:
    async def run() -> None:
        change = Handle("match", Stage()).change
        with acting("key:desk"):
            assert await calls.write(change) == "key:desk"
        assert await calls.write(change) is None

    asyncio.run(run())


def test_a_gallery_says_who_changed_it() -> None:
    bucket = Bucket()
    with acting("key:desk"):
        bucket.write(put(1), put(2))
    with acting("cli:ada"):
        bucket.gallery().commit([put(3), delete(2)])
        bucket.gallery().commit_segments(lambda: [Segment.of([put(4)], DIMENSION)])
        restore(bucket.stored(), as_of(bucket.stored(), 2))
        compact(bucket.stored())
    erase(bucket.stored(), [1])
    told = [
        (commit.version, [(act.action, act.who) for act in commit.acts])
        for commit in bucket.manifest().commits
    ]
    assert told == [
        (1, [("enrol", "key:desk")]),
        (2, [("enrol", "key:desk")]),
        (3, [("enrol", "cli:ada"), ("delete", "cli:ada")]),
        (4, [("import", "cli:ada")]),
        (5, [("restore", "cli:ada")]),
        (5, [("compact", "cli:ada")]),
        (6, [("delete", "unknown")]),
        (6, [("erase", "unknown")]),
        (7, [("sweep", "unknown")]),
        (8, [("erase", "unknown")]),
    ]
