"""The job that enrols people: killed at every request, with errors, and appending."""

from __future__ import annotations

import dataclasses
import itertools
import json
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from serving.errors import InvalidInput, Unavailable
from serving.gallery.store import Entry, StoredObject
from serving.operations.batch.enrolments import EnrolmentJob, Enrolments, Notes, Unconfirmed
from serving.operations.batch.job import Place
from serving.operations.batch.reading import Refused
from serving.operations.batch.run import Done, run
from serving.operations.enrolment import Answer, NoneUsable, Photo
from serving.operations.names import NotPeople
from tests.support.memory_store import MemoryStore
from tests.unit.operations.batch.results import OUT, SOURCE

JOB = EnrolmentJob(source=str(SOURCE), max_bytes=100, part_people=2)
Wrong = Callable[[int, Sequence[Photo]], None]


class Killed(BaseException):
    """The process ends here."""


class World:
    """A bucket of people and a service, whose ``gallery`` has the bytes of each one's photos."""

    def __init__(self, photos: Mapping[str, bytes]) -> None:
        self.source, self.out = MemoryStore(), MemoryStore()
        self.source.page_size = 3
        for key, data in photos.items():
            self.source.put(f"in/{key}", data)
        self.gallery: dict[int, list[bytes]] = {}
        self.sent: list[int] = []
        self.before: Wrong = lambda person, photos: None
        self.after: Wrong = lambda person, photos: None

    def send(
        self, person: int, name: str | None, photos: Sequence[Photo], append: bool, notes: Notes
    ) -> Answer:
        self.before(person, photos)
        self.sent.append(person)
        data = [photo.content for photo in photos if isinstance(photo.content, bytes)]
        used = [content for content in data if content != b"nobody"]
        reports = [{"used": d in used, "reason": None if d in used else "No."} for d in data]
        notes.answered(photos, reports, [])
        if not used:
            raise NoneUsable("No photo is usable.")
        self.gallery[person] = [*(self.gallery.get(person, []) if append else []), *used]
        self.after(person, photos)
        there = len(self.gallery[person])
        return {"images": reports, "photos": there, "model": "m@1", "gallery_version": 7}

    def run(self, concurrency: int = 1, **job: Any) -> Done:
        made = dataclasses.replace(JOB, **job)
        source, out = Place(self.source, SOURCE), Place(self.out, OUT)
        task = Enrolments(made, source, out, {7: "Ada"}, self.send, lambda seconds: None)
        return run(task, out, concurrency=concurrency, sleep=lambda seconds: None)

    def kill_at(self, target: Any, request: int) -> None:
        """End the process after this request to one of the three; no thread asks anything then."""
        left = request

        def kill(*of: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        def dead(*of: Any) -> None:
            if left < 0:
                raise Killed

        self.before = self.source.before = self.out.before = dead
        target.after = kill

    def revive(self) -> None:
        for each in (self, self.source, self.out):
            each.before = each.after = lambda *of: None

    def lines(self) -> list[dict[str, Any]]:
        parts = sorted(key for key in self.out.objects if "/part-" in key)
        return [json.loads(n) for k in parts for n in self.out.objects[k].data.splitlines()]


# Two requests for 7, whose photos are in two folders.
FEW = {f"{person}/a.jpg": b"%d" % person for person in (3, 12, 20, 100)}
PEOPLE = {**FEW, "007/a.jpg": b"007", **{f"7/{n:02}.jpg": b"7-%d" % n for n in range(60)}}
GALLERY = {
    **{person: [b"%d" % person] for person in (3, 12, 20, 100)},
    7: [b"007", *(b"7-%d" % n for n in range(60))],
}


def test_a_line_for_each_person_in_the_order_of_their_ids() -> None:
    world = World(PEOPLE)
    world.source.put("in/7/notes.txt", b"x")
    done = world.run(concurrency=3)
    assert world.gallery == GALLERY
    lines = world.lines()
    assert [line["person"] for line in lines] == [3, 7, 12, 20, 100]
    assert lines[1] == {
        "person": 7,
        "name": "Ada",
        "photos": 61,
        "used": 61,
        "not_used": [],
        "conflicts": [],
        "model": "m@1",
        "gallery_version": 7,
    }
    told = done.summary
    assert (told["people"], told["enrolled"], told["photos"], told["used"]) == (5, 5, 65, 65)
    assert (told["parts"], told["passed_over"], told["errors"]) == (3, 1, {})
    before = len(world.sent)
    assert world.run().before
    assert len(world.sent) == before


def test_job_json_says_what_the_lines_are_of() -> None:
    world = World({"7/a.jpg": b"7"})
    world.run(expires_at="2099-01-01T00:00:00Z", names="ab12")
    assert json.loads(world.out.objects["out/job.json"].data) == {
        "version": 1,
        "kind": "enrol",
        "source": "s3://photos/in/",
        "collection": None,
        "max_bytes": 100,
        "names": "ab12",
        "append": False,
        "force": False,
        "expires_at": "2099-01-01T00:00:00Z",
        "legal_basis": None,
        "part_people": 2,
    }
    with pytest.raises(InvalidInput, match='names is "ab12", not "cd34"'):
        world.run(expires_at="2099-01-01T00:00:00Z", names="cd34")


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("where", ["source", "out", "service"])
def test_a_kill_at_any_request_enrols_each_photo_once(where: str, append: bool) -> None:
    """Of those who append, whoever was in work is told where the outcome is open."""
    for request in itertools.count():
        world = World(PEOPLE)
        target: Any = world if where == "service" else getattr(world, where)
        world.kill_at(target, request)
        try:
            world.run(append=append)
        except Killed:
            pass
        else:
            assert request > 5
            assert world.gallery == GALLERY
            return
        world.revive()
        world.run(append=append)
        lines = world.lines()
        assert [line["person"] for line in lines] == [3, 7, 12, 20, 100]
        open_ = {line["person"] for line in lines if "error" in line}
        assert len(open_) <= append
        for person in GALLERY.keys() - open_:
            assert world.gallery[person] == GALLERY[person]
        for person in open_:  # not twice
            assert len(set(world.gallery.get(person, []))) == len(world.gallery.get(person, []))


def test_who_was_in_work_when_a_run_was_killed_is_told_and_not_appended_again() -> None:
    world = World(FEW)

    def killed(person: int, photos: Sequence[Photo]) -> None:
        if person == 12:
            raise Killed

    world.after = killed
    with pytest.raises(Killed):
        world.run(append=True)
    world.after = lambda person, photos: None
    summary = world.run(append=True).summary
    assert summary["errors"] == {"interrupted": 1}
    assert world.gallery == {person: [b"%d" % person] for person in (3, 12, 20, 100)}
    # 3 was done, and had no part yet.
    assert world.sent == [3, 12, 20, 100]
    assert world.lines()[0]["used"] == 1


def test_who_could_not_be_sent_is_appended_by_the_next_run() -> None:
    world = World(FEW)

    def away(person: int, photos: Sequence[Photo]) -> None:
        if person == 12:
            raise RuntimeError("No service answers.")

    world.before = away
    with pytest.raises(RuntimeError, match="No service answers"):
        world.run(append=True)
    world.before = lambda person, photos: None
    assert world.run(append=True).summary["errors"] == {}
    assert sorted(world.gallery) == [3, 12, 20, 100]


def test_errors_of_a_photo_or_a_person_do_not_stop_the_run() -> None:
    world = World(
        {**FEW, "3/b.jpg": b"x" * 101, "3/c.jpg": b"nobody", "12/a.jpg": b"nobody", "8/a.jpg": b""}
    )
    world.source.put("in/8/a.jpg", b"y" * 101)

    def refuse(person: int, photos: Sequence[Photo]) -> None:
        if person == 20:
            raise Refused("enrolment-conflict", 409, "They contradict.")

    world.before = refuse
    summary = world.run(concurrency=2).summary
    assert sorted(world.gallery) == [3, 100]
    three, eight, twelve, twenty, _ = world.lines()
    assert (three["photos"], three["used"]) == (3, 1)
    assert three["not_used"] == [
        {"photo": "in/3/b.jpg", "reason": "101 bytes are more than the 100 that are read."},
        {"photo": "in/3/c.jpg", "reason": "No."},
    ]
    assert eight["error"]["type"] == "unreadable"
    assert twelve["error"] == {
        "type": "no-usable-face",
        "status": 422,
        "detail": "No photo is usable.",
    }
    assert twenty["error"]["type"] == "enrolment-conflict"
    assert summary["errors"] == {"unreadable": 1, "no-usable-face": 1, "enrolment-conflict": 1}


@pytest.mark.parametrize("append", [False, True])
def test_a_request_whose_outcome_is_open_is_made_good_unless_it_appends(append: bool) -> None:
    world = World(PEOPLE)
    times = 2

    def lost(person: int, photos: Sequence[Photo]) -> None:
        nonlocal times
        if person == 7 and times:
            times -= 1
            raise Unconfirmed(RuntimeError("The connection broke."), None)

    world.after = lost
    summary = world.run(append=append).summary
    if append:
        assert summary["errors"] == {"not-confirmed": 1}
        assert world.gallery[7] == GALLERY[7][:50]
    else:
        assert summary["errors"] == {}
        assert world.gallery == GALLERY


@pytest.mark.parametrize("blamed", [False, True])
def test_an_outcome_that_stays_open_blames_the_person_or_ends_the_run(blamed: bool) -> None:
    world = World(FEW)
    refused = Refused("internal", 500, "It broke.") if blamed else None

    def lost(person: int, photos: Sequence[Photo]) -> None:
        if person == 12:
            raise Unconfirmed(RuntimeError("The connection broke."), refused)

    world.after = lost
    if blamed:
        assert world.run().summary["errors"] == {"internal": 1}
    else:
        with pytest.raises(RuntimeError, match="The connection broke"):
            world.run()
    assert world.sent.count(12) == 4


def test_a_late_request_of_a_killed_run_is_made_good() -> None:
    world = World(PEOPLE)
    late = [b"7-50"]

    def come_late(person: int, photos: Sequence[Photo]) -> None:
        if person == 7 and late:
            world.gallery[7].append(late.pop())

    world.after = come_late
    assert world.run().summary["errors"] == {}
    assert world.gallery == GALLERY


def test_a_store_that_is_away_ends_the_run_and_nobody_is_blamed() -> None:
    world = World(FEW)

    def away(request: str, key: str) -> None:
        if world.sent:
            raise Unavailable("The object store cannot be reached.")

    world.source.before = away
    with pytest.raises(Unavailable, match="cannot be reached"):
        world.run()
    assert world.lines() == []
    world.source.before = lambda request, key: None
    assert world.run().summary["enrolled"] == 4


def test_a_prefix_that_holds_no_people_leaves_nothing() -> None:
    world = World({"ada/a.jpg": b"1"})
    with pytest.raises(NotPeople):
        world.run()
    assert world.out.objects == {}
    assert world.sent == []


def test_no_photo_and_no_embedding_is_written() -> None:
    world = World({"7/a.jpg": b"\xff\xd8 these bytes"})
    world.run(append=True)
    assert b"these bytes" not in b"".join(o.data for o in world.out.objects.values())


def test_memory_does_not_grow_with_the_photos() -> None:
    """One person's photos are in memory as far as one request holds them."""

    class Many(MemoryStore):
        def page(self, prefix: str, after: str = "") -> list[Entry]:
            first = int(after[-10:-4]) + 1 if after else 0
            numbers = range(first, min(first + 100, 2000))
            return [Entry(f"in/7/{n:06}.jpg", 2**14, 0.0, "e") for n in numbers]

        def get(self, key: str) -> StoredObject:
            return StoredObject(bytes(2**14), "e")

    world = World({})
    world.source = Many()
    enrolled = 0

    def send(*of: Any) -> Answer:
        nonlocal enrolled
        photos = of[2]
        enrolled += len(photos)
        reports = [{"used": True} for _ in photos]
        return {"images": reports, "photos": enrolled, "model": "m", "gallery_version": 1}

    world.send = send  # type: ignore[method-assign, assignment]
    tracemalloc.start()
    try:
        summary = world.run(max_bytes=2**20).summary
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (summary["photos"], summary["people"]) == (2000, 1)
    assert peak < 3 * 2**20  # of 51 photos twice; all would take 32 MB
