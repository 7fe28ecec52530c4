"""A job that is killed at every request, and one beside another; photos with errors."""

from __future__ import annotations

import itertools
import threading
import time
import tracemalloc
from collections import Counter
from typing import Any

import pytest

from serving.errors import CommitConflict, InvalidInput, Unavailable
from serving.gallery.store import Entry, StoredObject
from tests.support.memory_store import MemoryStore
from tests.unit.operations.batch.results import MODEL, World, answer, photos


class Killed(BaseException):
    """The process ends here."""


def expected(count: int) -> list[tuple[str, bytes]]:
    return [(key, data) for key, data in photos(count).items()]


def check(world: World, count: int) -> None:
    """Every photo has one line, in order, with its answer, and the summary counts them."""
    lines = world.lines()
    assert [line["photo"] for line in lines] == [key for key, _ in expected(count)]
    for line, (_, data) in zip(lines, expected(count), strict=True):
        etag = world.source.objects[line["photo"]].etag.strip('"')
        assert line == {"photo": line["photo"], "etag": etag, **answer(data)}
    sizes = [len(part) for part in world.parts()]
    assert sizes == [3] * (count // 3) + [count % 3] * (count % 3 > 0)
    summary = world.json("summary.json")
    assert (summary["photos"], summary["named"]) == (count, count)
    assert (summary["errors"], summary["parts"]) == ({}, len(sizes))
    assert (summary["models"], summary["gallery_versions"]) == ([MODEL], [7, 7])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_line_for_each_photo_in_order(count: int, concurrency: int) -> None:
    world = World(photos(count))
    done = world.run(concurrency)
    check(world, count)
    assert done.summary == world.json("summary.json")
    assert not done.before
    assert Counter(world.asked) == Counter(dict.fromkeys(photos(count).values(), 1))


def test_order_is_that_of_the_keys_whichever_answer_comes_first() -> None:
    world = World(photos(30))
    most = 0
    running = itertools.count()
    here: set[int] = set()

    def look_up(photo: bytes) -> dict[str, Any]:
        nonlocal most
        here.add(me := next(running))
        most = max(most, len(here))
        time.sleep(0.02 if int(photo) % 5 == 0 else 0.001)
        here.discard(me)
        return answer(photo)

    world.look_up = look_up  # type: ignore[method-assign]
    world.run(concurrency=4)
    check(world, 30)
    assert 1 < most <= 4


def test_memory_does_not_grow_with_the_photos() -> None:
    class Many(MemoryStore):
        def page(self, prefix: str, after: str = "") -> list[Entry]:
            first = int(after[-10:-4]) + 1 if after else 0
            numbers = range(first, min(first + 1000, 10_000))
            return [Entry(f"{prefix}{n:06}.jpg", 1, 0.0, "e") for n in numbers]

        def get(self, key: str) -> StoredObject:
            return StoredObject(b"7", "e")

    class Forgetful(MemoryStore):
        def put_described(self, key: str, data: bytes, *more: Any, **condition: Any) -> str:
            kept = b"" if "part-" in key else data
            return super().put_described(key, kept, *more, **condition)

    world = World({})
    world.source, world.out = Many(), Forgetful()
    world.look_up = answer  # type: ignore[method-assign]
    tracemalloc.start()
    try:
        done = world.run(concurrency=4, part_photos=500)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.summary["photos"] == 10_000
    assert peak < 3 * 2**20  # of a page and a part; the lines alone would take 10 MB


def test_a_finished_job_is_left_as_it_is() -> None:
    world = World(photos(4))
    first = world.run()
    before = dict(world.out.objects)
    world.source.put("in/999.jpg", b"9")
    again = world.run()
    assert again.before
    assert again.summary == first.summary
    assert world.out.objects == before
    assert len(world.asked) == 4


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("where", ["source", "out"])
def test_a_kill_at_any_request_leaves_whole_parts_and_nothing_is_done_twice(
    when: str, where: str
) -> None:
    for request in itertools.count():
        world = World(photos(8))
        store: MemoryStore = getattr(world, where)
        left = request

        def kill(name: str, key: str, store: MemoryStore = store) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1

        setattr(store, when, kill)
        try:
            world.run()
        except Killed:
            pass
        else:
            check(world, 8)
            assert request > 8
            return
        setattr(store, when, lambda name, key: None)
        whole = world.parts()
        assert [len(part) for part in whole] == [3, 3, 2][: len(whole)]
        world.asked.clear()
        world.run()
        check(world, 8)
        assert world.parts()[: len(whole)] == whole
        finished = {b"%d" % n for n in range(sum(map(len, whole)))}
        assert finished.isdisjoint(world.asked)


@pytest.mark.parametrize("where", ["source", "out"])
def test_a_store_that_fails_once_at_any_request_loses_nothing(where: str) -> None:
    for request in itertools.count():
        world = World(photos(8))
        store: MemoryStore = getattr(world, where)
        left = request

        def fail(name: str, key: str) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                raise Unavailable("Lost.")

        store.after = fail
        try:
            world.run()
        except Unavailable:
            world.run()
        check(world, 8)
        if left >= 0:
            return


def test_of_two_runs_at_once_one_ends_and_no_photo_has_two_lines() -> None:
    world = World(photos(9))
    both = threading.Barrier(2)
    inner = world.look_up

    def together(photo: bytes) -> dict[str, Any]:
        if photo == b"0":
            both.wait(10)  # both have seen a place without parts
        return inner(photo)

    world.look_up = together  # type: ignore[method-assign]
    outcomes: list[object] = []

    def work() -> None:
        try:
            outcomes.append(world.run())
        except CommitConflict as error:
            outcomes.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = [outcome for outcome in outcomes if isinstance(outcome, CommitConflict)]
    assert len(ended) == 1
    assert "Another run of this job has written" in str(ended[0])
    check(world, 9)


def test_the_summary_counts_what_a_run_beside_it_has_added() -> None:
    world = World(photos(3))
    entered = False

    def another(request: str, key: str) -> None:
        nonlocal entered
        if key.endswith("summary.json") and request == "put" and not entered:
            entered = True
            world.source.put("in/003.jpg", b"3")
            world.run()

    world.out.before = another
    done = world.run()
    check(world, 4)
    assert done.summary["photos"] == 4


def test_another_job_in_the_same_place_is_refused() -> None:
    world = World(photos(4))
    world.run()
    before = dict(world.out.objects)
    with pytest.raises(InvalidInput, match="top_k is null, not 3"):
        world.run(top_k=3)
    assert world.out.objects == before


def test_parts_without_a_job_are_refused() -> None:
    world = World(photos(4))
    world.out.put("out/part-000000.jsonl", b"{}\n")
    with pytest.raises(InvalidInput, match="is no part of this job"):
        world.run()
    assert world.names() == ["part-000000.jsonl"]


def test_other_objects_are_counted_once() -> None:
    names = ["in/000.md", "in/000.txt", "in/001.md", "in/005.md", "in/zz"]
    world = World({**photos(8), **dict.fromkeys(names, b"x")})
    kill = 2

    def killed(request: str, key: str) -> None:
        nonlocal kill
        kill -= "part-" in key and request == "put"
        if kill == 0:
            kill = -1
            raise Killed

    world.out.after = killed
    with pytest.raises(Killed):
        world.run()
    assert world.run().summary["passed_over"] == 5
    check(world, 8)


def test_a_store_that_is_away_ends_the_run_and_no_photo_is_blamed() -> None:
    world = World(photos(8))
    world.source.page_size = 1000

    def away(request: str, key: str) -> None:
        if len(world.asked) >= 4:
            raise Unavailable("The object store cannot be reached.")

    world.source.before = away
    with pytest.raises(Unavailable, match="cannot be reached"):
        world.run()
    assert [len(part) for part in world.parts()] == [3]
    world.source.before = lambda request, key: None
    world.asked.clear()
    world.run()
    check(world, 8)
    assert world.asked[0] == b"3"


def test_an_error_that_is_not_the_photos_ends_the_run() -> None:
    world = World(photos(40))
    inner = world.look_up

    def look_up(photo: bytes) -> dict[str, Any]:
        if photo == b"4":
            raise RuntimeError("The service is away.")
        return inner(photo)

    world.look_up = look_up  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        world.run(concurrency=2)
    assert [len(part) for part in world.parts()] == [3]
    assert len(world.asked) < 20  # those that waited for their turn are not asked any more


def test_nothing_of_a_photo_is_written() -> None:
    """Nor an embedding: no answer of the service has one."""
    world = World({"in/a.jpg": b"\xff\xd8 these bytes"})
    world.run()
    written = b"".join(found.data for found in world.out.objects.values())
    assert b"these bytes" not in written
    (line,) = world.lines()
    assert set(line) == {"photo", "etag", "faces", "model", "gallery_version"}
    assert world.names() == ["job.json", "part-000000.jsonl", "summary.json"]
