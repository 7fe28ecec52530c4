"""Folders of photos to the people that they show."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from serving.operations.folders import Found, PersonFolder, people_in, subjects_in
from serving.operations.names import NotPeople

PHOTO = b"\xff\xd8\xff photo"


def photos_in(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(PHOTO)
    return [folder / name for name in names]


def test_a_folder_named_by_an_id_is_one_person(tmp_path: Path) -> None:
    photos = photos_in(tmp_path / "2576", "a.jpg", "b.PNG", "c.webp")
    assert people_in(tmp_path / "2576") == Found([PersonFolder(2576, None, photos)], None)


def test_the_folder_that_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos_in(tmp_path / "2576", "a.jpg")
    monkeypatch.chdir(tmp_path / "2576")
    assert [p.id for p in people_in(Path(".")).people] == [2576]


def test_a_folder_of_folders_is_many_people(tmp_path: Path) -> None:
    ada = photos_in(tmp_path / "7", "b.jpg", "a.jpg")
    eve = photos_in(tmp_path / "12", "a.jpg")
    photos_in(tmp_path / "empty")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.md").write_text("# Notes")
    found = {p.id: list(p.photos) for p in people_in(tmp_path).people}
    assert found == {7: sorted(ada), 12: eve}


@pytest.mark.parametrize(
    "name", ["ada", "7a", "-7", "7.5", "٧", "²", "+7", "7_0", " 7", str(2**63), "9" * 200]
)
def test_a_folder_with_photos_must_be_named_by_an_id(tmp_path: Path, name: str) -> None:
    photos_in(tmp_path / "8", "a.jpg")
    photos_in(tmp_path / name, "a.jpg")
    with pytest.raises(NotPeople, match="its name is no numeric id"):
        people_in(tmp_path)
    with pytest.raises(NotPeople, match="its name is no numeric id"):
        people_in(tmp_path / name)


def test_a_folder_without_photos(tmp_path: Path) -> None:
    (tmp_path / "7" / "folder.jpg").mkdir(parents=True)
    (tmp_path / "7" / "a.psd").write_bytes(b"8BPS")
    with pytest.raises(NotPeople, match=r"no photos .* 1 file was passed over: 1 \.psd\."):
        people_in(tmp_path)


def test_folders_of_one_id_are_one_person(tmp_path: Path) -> None:
    photos = [*photos_in(tmp_path / "007", "b.jpg"), *photos_in(tmp_path / "7", "a.jpg", "b.jpg")]
    photos_in(tmp_path / "12", "a.jpg")
    assert [(p.id, p.photos) for p in people_in(tmp_path).people] == [
        (7, photos),
        (12, [tmp_path / "12" / "a.jpg"]),
    ]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("name", ["photo", "photo.jpg", "photo.jfif", "photo.txt"])
def test_the_first_bytes_say_what_is_a_photo(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "7").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "7" / name, kind)
    found = people_in(tmp_path)
    assert found.people[0].photos == [tmp_path / "7" / name]
    assert found.passed_over is None


def test_a_photo_by_its_suffix_is_judged_by_the_service(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "broken.JPG").write_bytes(b"no photo")
    (tmp_path / "7" / "._broken.jpg").write_bytes(b"what macOS leaves beside a file")
    assert people_in(tmp_path).people[0].photos == [tmp_path / "7" / "broken.JPG"]


def test_what_is_passed_over_is_told(tmp_path: Path) -> None:
    photos_in(tmp_path / "7", "a.jpg")
    photos_in(tmp_path / "7" / "deeper", "b.jpg", "c.jpg")
    photos_in(tmp_path / "7" / "deeper" / "still", "d.jpg")
    (tmp_path / "7" / "e.PSD").write_bytes(b"8BPS")
    (tmp_path / "7" / "empty").write_bytes(b"")
    (tmp_path / "7" / "text.txt").write_bytes(b"BM is how this text begins")
    (tmp_path / "README").write_text("These are people.")
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    photos_in(tmp_path / "7" / ".thumbnails", "a.jpg")
    names = tmp_path / "names.json"
    names.write_text("{}")
    found = people_in(tmp_path, names)
    assert [len(p.photos) for p in found.people] == [1]
    assert found.passed_over == (
        "7 files were passed over: 1 .psd, 1 .txt, 2 without a suffix, "
        "3 in sub-folders (7/deeper, 7/deeper/still)."
    )


def test_a_photo_beside_folders_hides_none_of_them(tmp_path: Path) -> None:
    photos_in(tmp_path / "7", "a.jpg")
    photos_in(tmp_path / "7" / "8", "b.jpg")
    assert people_in(tmp_path / "7").passed_over == (
        "1 file was passed over: 1 in sub-folders (8)."
    )


def test_folders_that_a_system_put_there_are_nobodys(tmp_path: Path) -> None:
    for name in ("7", "@eaDir", "__MACOSX", "#recycle"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"x")
    found = people_in(tmp_path)
    assert [person.id for person in found.people] == [7]
    assert "3 in sub-folders (#recycle, @eaDir, __MACOSX)" in str(found.passed_over)


def test_what_is_no_folder(tmp_path: Path) -> None:
    (photo,) = photos_in(tmp_path, "a.jpg")
    with pytest.raises(NotPeople, match="is no folder"):
        people_in(photo)


class TestSubjects:
    """Photos to measure on: folders may be called anything."""

    def test_names_and_ids(self, tmp_path: Path) -> None:
        seven = photos_in(tmp_path / "7", "a.jpg")
        more = photos_in(tmp_path / "007", "b.jpg")
        anna = photos_in(tmp_path / "anna", "a.jpg")
        bob = photos_in(tmp_path / "Bob 2", "a.jpg")
        photos_in(tmp_path / ".hidden", "a.jpg")
        found = subjects_in(tmp_path)
        assert list(found.found.people) == [
            PersonFolder(-2, "anna", anna),
            PersonFolder(-1, "Bob 2", bob),
            PersonFolder(7, "7", [*more, *seven]),
        ]
        assert found.groups == {}

    def test_a_level_of_groups(self, tmp_path: Path) -> None:
        photos_in(tmp_path / "north" / "anna", "a.jpg")
        photos_in(tmp_path / "north" / "7", "a.jpg")
        photos_in(tmp_path / "south" / "bob", "a.jpg")
        photos_in(tmp_path / "south" / "007", "b.jpg")
        photos_in(tmp_path / "south", "lost.jpg")
        found = subjects_in(tmp_path, grouped=True)
        assert found.groups == {"anna": "north", "bob": "south"}
        assert found.in_two_groups == ["7"]
        assert [len(person.photos) for person in found.found.people] == [1, 1, 2]
        assert found.found.passed_over == "1 file was passed over: 1 .jpg."

    def test_one_person(self, tmp_path: Path) -> None:
        photos = photos_in(tmp_path / "anna", "a.jpg")
        assert list(subjects_in(tmp_path / "anna").found.people) == [
            PersonFolder(-1, "anna", photos)
        ]

    @pytest.mark.parametrize("grouped", [False, True])
    def test_no_photos(self, tmp_path: Path, grouped: bool) -> None:
        (tmp_path / "anna").mkdir()
        (tmp_path / "anna" / "notes.txt").write_text("x")
        with pytest.raises(NotPeople, match=r"There are no photos of people.*1 \.txt"):
            subjects_in(tmp_path, grouped=grouped)
        with pytest.raises(NotPeople, match="is no folder"):
            subjects_in(tmp_path / "anna" / "notes.txt")
