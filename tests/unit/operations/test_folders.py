"""Folders of photos to the people that they show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving.operations.folders import NotPeople, PersonFolder, people_in


def photos_in(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"photo")
    return [folder / name for name in names]


def test_a_folder_named_by_an_id_is_one_person(tmp_path: Path) -> None:
    photos = photos_in(tmp_path / "2576", "a.jpg", "b.PNG", "c.webp")
    photos_in(tmp_path / "2576", "notes.txt", "d.pdf")
    assert people_in(tmp_path / "2576") == [PersonFolder(2576, None, photos)]


def test_the_folder_that_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos_in(tmp_path / "2576", "a.jpg")
    monkeypatch.chdir(tmp_path / "2576")
    assert [p.id for p in people_in(Path("."))] == [2576]


def test_a_folder_of_folders_is_many_people(tmp_path: Path) -> None:
    ada = photos_in(tmp_path / "7", "b.jpg", "a.jpg")
    eve = photos_in(tmp_path / "12", "a.jpg")
    photos_in(tmp_path / "empty")
    photos_in(tmp_path / "notes", "readme.md")
    found = {p.id: list(p.photos) for p in people_in(tmp_path)}
    assert found == {7: sorted(ada), 12: eve}


@pytest.mark.parametrize("name", ["ada", "7a", "-7", "7.5", "٧", "²"])
def test_a_folder_with_photos_must_be_named_by_an_id(tmp_path: Path, name: str) -> None:
    photos_in(tmp_path / "8", "a.jpg")
    photos_in(tmp_path / name, "a.jpg")
    with pytest.raises(NotPeople, match="its name is no numeric id"):
        people_in(tmp_path)
    with pytest.raises(NotPeople, match="its name is no numeric id"):
        people_in(tmp_path / name)


def test_a_folder_without_photos(tmp_path: Path) -> None:
    photos_in(tmp_path / "7", "notes.txt")
    (tmp_path / "7" / "folder.jpg").mkdir()
    with pytest.raises(NotPeople, match="no photos"):
        people_in(tmp_path)


def test_what_is_no_folder(tmp_path: Path) -> None:
    (photo,) = photos_in(tmp_path, "a.jpg")
    with pytest.raises(NotPeople, match="is no folder"):
        people_in(photo)


class TestNames:
    def test_people_get_their_names(self, tmp_path: Path) -> None:
        for person in ("7", "8"):
            photos_in(tmp_path / person, "a.jpg")
        names = tmp_path / "names.json"
        names.write_bytes('{"7": "José", "99": "Eve"}'.encode())
        assert [(p.id, p.name) for p in people_in(tmp_path, names)] == [(7, "José"), (8, None)]

    @pytest.mark.parametrize(
        "content", ["[]", "7", "{", '{"ada": "7"}', '{"7": null}', '{"7": 8}', "\udcff"]
    )
    def test_a_file_that_holds_no_names(self, tmp_path: Path, content: Any) -> None:
        photos_in(tmp_path / "7", "a.jpg")
        names = tmp_path / "names.json"
        names.write_bytes(content.encode(errors="surrogateescape"))
        with pytest.raises(NotPeople, match=r"names\.json is no JSON object from id to name"):
            people_in(tmp_path, names)

    def test_the_names_that_come_with_the_photos(self) -> None:
        data = Path(__file__).resolve().parents[3] / "data"
        names = json.loads((data / "names.json").read_text())
        (person,) = people_in(data / "2576", data / "names.json")
        assert person.name == names["2576"]
