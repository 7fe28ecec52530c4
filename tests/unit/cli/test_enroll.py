"""`faces enroll`: many photos in several requests, and what its user reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import FakeService
from tests.unit.cli.shell import Faces


def report(*used: bool) -> dict[str, Any]:
    return {"images": [{"used": u, "reason": None if u else "No face was found."} for u in used]}


FULL = report(*[True] * 50)  # of a request that holds as many photos as one may
NO_FACE = (422, {"detail": "No photo is usable.", **report(False, False)})


def people_in(tmp_path: Path, **people: int) -> Path:
    """A folder of people; ``p7=2`` is two photos of the id 7."""
    for id_, photos in people.items():
        photos_in(tmp_path / "people" / id_[1:], *(f"{n:03}.jpg" for n in range(photos)))
    return tmp_path / "people"


def photos_in(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"\xff\xd8\xff photo")
    return [folder / name for name in names]


def modes(service: FakeService) -> list[str]:
    return ["append" if b"append" in body else "replace" for body in service.bodies]


def test_people_with_names(faces: Faces, service: FakeService, tmp_path: Path) -> None:
    service.body = report(True)
    (tmp_path / "names.json").write_text('{"7": "Ada"}')
    people = people_in(tmp_path, p7=1, p8=1)
    ended = faces("enroll", people, "--names", tmp_path / "names.json")
    assert ended.code == 0
    assert ended.out == "2 of 2 people are enrolled.\n"
    assert [b"Ada" in body for body in service.bodies] == [True, False]


def test_names_of_nobody_are_told(faces: Faces, service: FakeService, tmp_path: Path) -> None:
    service.body = report(True)
    names = tmp_path / "names.json"
    names.write_text('{"7": "Ada", "99": "Eve"}')
    ended = faces("enroll", people_in(tmp_path, p7=1), "--names", names)
    assert ended.out == (
        f"1 of 1 people are enrolled.\n{names} also names an id without photos here: 99.\n"
    )
    one = faces("enroll", tmp_path / "people" / "7", "--names", names)
    assert one.out == "1 of 1 people are enrolled.\n"


def test_many_photos_of_one_person_add_up(
    faces: Faces, service: FakeService, tmp_path: Path
) -> None:
    service.answers = [
        (200, FULL),
        (200, report(*[True] * 49, False)),
        (200, report(True)),
    ]
    ended = faces("enroll", people_in(tmp_path, p7=101))
    assert ended.code == 0
    assert modes(service) == ["replace", "append", "append"]
    (told,) = (line for line in ended.err.splitlines() if "not used" in line)
    assert told.endswith("099.jpg: not used. No face was found.")


def test_the_first_usable_batch_replaces(
    faces: Faces, service: FakeService, tmp_path: Path
) -> None:
    service.answers = [NO_FACE, (200, FULL), NO_FACE]
    ended = faces("enroll", people_in(tmp_path, p7=150))
    assert ended.code == 0
    assert modes(service) == ["replace", "replace", "append"]
    assert "7: No photo is usable. No face was found." in ended.err


def test_appending_appends_from_the_first_on(
    faces: Faces, service: FakeService, tmp_path: Path
) -> None:
    service.answers = [NO_FACE, (200, FULL)]
    assert faces("enroll", people_in(tmp_path, p7=100), "--append").code == 0
    assert modes(service) == ["append", "append"]


@pytest.mark.parametrize("append", [(), ("--append",)])
def test_who_has_no_usable_photo_is_told_and_the_others_are_enrolled(
    faces: Faces, service: FakeService, tmp_path: Path, append: tuple[str, ...]
) -> None:
    service.answers = [NO_FACE, (200, report(True))]
    ended = faces("enroll", people_in(tmp_path, p7=1, p8=1), *append)
    assert ended.code == 1
    assert "7: No photo is usable. No face was found." in ended.err
    assert ended.out == "1 of 2 people are enrolled.\n"


def test_a_service_that_fails_half_way_is_no_success(
    faces: Faces, service: FakeService, tmp_path: Path
) -> None:
    service.answers = [(200, FULL), (503, {"detail": "The store is away."})]
    ended = faces("enroll", people_in(tmp_path, p7=100))
    assert ended.code == 1
    assert "7: The store is away." in ended.err


def test_conflicts_are_told_by_the_photo(
    faces: Faces, service: FakeService, tmp_path: Path
) -> None:
    told = {"similarity": 0.81, "confidence": 0.99}
    eve = {"type": "already-enrolled", "images": [1], "id": 5, "name": "Eve", **told}
    other = {"type": "other-person", "images": [0], "id": None, "name": None, **told}
    service.answers = [
        (200, {**report(True, True), "conflicts": [eve]}),
        (409, {"detail": "They contradict.", "conflicts": [other]}),
    ]
    ended = faces("enroll", people_in(tmp_path, p7=2, p8=1))
    assert ended.code == 1
    assert "7/001.jpg: shows somebody who is enrolled already, as 5 (Eve)" in ended.err
    assert "8/000.jpg: seems to show somebody else than the other photos" in ended.err
    assert "8: They contradict." in ended.err


@pytest.mark.parametrize("force", [True, False])
def test_force_is_asked_for(
    faces: Faces, service: FakeService, tmp_path: Path, force: bool
) -> None:
    service.body = report(True)
    assert faces("enroll", people_in(tmp_path, p7=1), *["--force"] * force).code == 0
    assert (b'name="force"\r\n\r\ntrue' in service.bodies[0]) is force


def test_a_folder_without_people(faces: Faces, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = faces("enroll", tmp_path / "empty")
    assert ended.code == 1
    assert ended.err.startswith("Error: There are no photos in ")


def test_what_was_passed_over_is_the_last_line(
    faces: Faces, service: FakeService, tmp_path: Path
) -> None:
    service.body = report(True)
    people = people_in(tmp_path, p7=1, p007=1, p8=1)
    photos_in(people / "8" / "deeper", "z.jpg")
    (people / "8" / "notes.txt").write_text("She is on the left.")
    service.answers = [(200, report(True, True)), (200, report(True))]
    ended = faces("enroll", people)
    assert ended.code == 0
    assert ended.out == (
        "2 of 2 people are enrolled.\n"
        "2 files were passed over: 1 .txt, 1 in sub-folders (8/deeper).\n"
    )
    assert modes(service) == ["replace", "replace"]
    assert [body.count(b"\xff\xd8\xff photo") for body in service.bodies] == [2, 1]


def test_no_file_name_reaches_the_terminal_as_a_command_to_it(
    faces: Faces, service: FakeService, tmp_path: Path
) -> None:
    name = os.fsdecode(b"caf\xe9\x1b[31m\x9b2J\r.jpg")
    photos_in(tmp_path / "people" / "7", name, "good.jpg")
    photos_in(tmp_path / "people" / "7" / "\x1b[2J", "deeper.jpg")
    service.answers = [(200, report(False, True))]
    ended = faces("enroll", tmp_path / "people")
    assert ended.code == 0
    service.answers = [(422, {"detail": "No photo is usable.", **report(False, False)})]
    failed = faces("enroll", tmp_path / "people")
    assert failed.code == 1
    refused = faces("infer", tmp_path / "people" / "7" / "\x1b[2J")
    assert refused.code == 1
    for text in (ended.out, ended.err, failed.out, failed.err, refused.err):
        assert all(c.isprintable() or c == "\n" for c in text)
    assert "not used" in ended.err
    assert "?[2J" in ended.out
    assert "?[2J cannot be read" in refused.err


def test_a_collection_is_asked(faces: Faces, service: FakeService, tmp_path: Path) -> None:
    service.body = report(True)
    assert faces("enroll", people_in(tmp_path, p7=1), "--collection", "shop").code == 0
    assert service.asked == ["POST /collections/shop/generate"]


@pytest.mark.parametrize(
    "words",
    [
        ("--out", "s3://results"),
        ("--concurrency", "4"),
        ("--part-people", "7"),
        ("--max-bytes", "7"),
        ("--wait", "7"),
        ("--errors-are-results",),
        ("--endpoint", "http://s3:9000"),
        ("--region", "x"),
    ],
)
def test_what_is_for_buckets_is_refused_for_folders(
    faces: Faces, service: FakeService, tmp_path: Path, words: tuple[str, ...]
) -> None:
    ended = faces("enroll", people_in(tmp_path, p7=1), *words)
    assert ended.code == 2
    assert f"{words[0]} is for people in a bucket" in ended.err
    assert service.asked == []


def test_names_in_a_bucket_are_not_for_a_folder(
    faces: Faces, service: FakeService, tmp_path: Path
) -> None:
    ended = faces("enroll", people_in(tmp_path, p7=1), "--names", "s3://photos/names.json")
    assert ended.code == 2
    assert "Names in a bucket" in ended.err


def test_a_bucket_needs_a_place_for_results(faces: Faces, service: FakeService) -> None:
    ended = faces("enroll", "s3://photos/people")
    assert ended.code == 2
    assert "need --out" in ended.err
    assert faces("enroll", "s3:///x").code == 2
