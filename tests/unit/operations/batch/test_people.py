"""A prefix of a bucket to the people whose photos are below it, as with folders."""

from __future__ import annotations

import tracemalloc

import pytest

from serving.gallery.store import Entry
from serving.operations.batch.job import Folder, Place
from serving.operations.batch.people import people_below, photos_of
from serving.operations.names import NotPeople
from tests.support.memory_store import MemoryStore


def place(*keys: str, prefix: str = "in/", bucket: str = "photos") -> Place:
    store = MemoryStore()
    store.page_size = 2
    for key in keys:
        store.put(key, b"x")
    return Place(store, Folder(bucket, prefix))


def test_a_folder_is_a_person_and_7_and_007_are_one() -> None:
    source = place("in/007/b.jpg", "in/12/a.PNG", "in/7/a.jpg", "in/7/c.heic", "in2/3/a.jpg")
    people = people_below(source)
    assert people.folders == {7: ("007", "7"), 12: ("12",)}
    assert not people.alone
    assert people.passed_over.sentence() is None
    found = [entry.key for entry in photos_of(source, people.folders[7])]
    assert found == ["in/007/b.jpg", "in/7/a.jpg", "in/7/c.heic"]


@pytest.mark.parametrize(
    ("prefix", "bucket"), [("in/007/", "photos"), ("", "0007")], ids=["prefix", "bucket"]
)
def test_photos_right_below_are_one_person(prefix: str, bucket: str) -> None:
    source = place(f"{prefix}8/x.jpg", f"{prefix}a.jpg", prefix=prefix, bucket=bucket)
    people = people_below(source)
    assert people.folders == {7: ("",)}
    assert people.alone
    assert people.passed_over.sentence() == "1 file was passed over: 1 in sub-folders (8)."
    assert [entry.key for entry in photos_of(source, people.folders[7])] == [f"{prefix}a.jpg"]


def test_what_is_passed_over_is_told() -> None:
    source = place(
        *("in/7/a.jpg", "in/7/deeper/b.jpg", "in/7/e.PSD", "in/README", "in/.hidden/x.txt"),
        *("in/7/.thumbs/a.jpg", "in/7/", "in/7/._a.jpg", "in/@eaDir/a.jpg", "in/notes/x.txt"),
    )
    people = people_below(source)
    assert people.folders == {7: ("7",)}
    assert people.passed_over.sentence() == (
        "5 files were passed over: 1 .psd, 1 .txt, 1 without a suffix, "
        "2 in sub-folders (7/deeper, @eaDir)."
    )
    assert [entry.key for entry in photos_of(source, ["7"])] == ["in/7/a.jpg"]


@pytest.mark.parametrize("name", ["ada", "7a", "-7", "٧", "+7", str(2**63)])
def test_a_folder_with_photos_must_be_named_by_an_id(name: str) -> None:
    with pytest.raises(NotPeople, match=r"The folder s3://photos/in/.* is no numeric id"):
        people_below(place("in/8/a.jpg", f"in/{name}/a.jpg"))
    with pytest.raises(NotPeople, match=r"The folder s3://photos/.* is no numeric id"):
        people_below(place(f"{name}/a.jpg", prefix=f"{name}/"))


def test_no_photos() -> None:
    with pytest.raises(NotPeople, match=r"no photos below s3://photos/in/ .* 1 \.psd\."):
        people_below(place("in/7/a.psd"))


def test_memory_does_not_grow_with_the_photos() -> None:
    class Many(MemoryStore):
        def page(self, prefix: str, after: str = "") -> list[Entry]:
            first = int(after[-10:-4]) + 1 if after else 0
            numbers = range(first, min(first + 1000, 50_000))
            return [Entry(f"in/{n // 500:03}/{n:06}.jpg", 1, 0.0, "e") for n in numbers]

    source = Place(Many(), Folder("photos", "in/"))
    tracemalloc.start()
    try:
        people = people_below(source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(people.folders) == 100
    assert peak < 2**20  # of a page; the keys alone would take 5 MB


def test_memory_of_each_person() -> None:
    class Many(MemoryStore):
        def page(self, prefix: str, after: str = "") -> list[Entry]:
            first = int(after.split("/")[1]) + 1 if after else 0
            numbers = range(first, min(first + 1000, 20_000))
            return [Entry(f"in/{n:07}/a.jpg", 1, 0.0, "e") for n in numbers]

    source = Place(Many(), Folder("photos", "in/"))
    tracemalloc.start()
    try:
        people = people_below(source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(people.folders) == 20_000
    assert peak / 20_000 < 300  # docs/batch.md says so
