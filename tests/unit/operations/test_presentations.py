"""Folders of photos of people and of attacks to the sources that they are of."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.operations.names import NotPeople
from serving.operations.presentations import presentations_in

PHOTO = b"\xff\xd8\xff photo"


def photos_in(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(PHOTO)
    return [folder / name for name in names]


@pytest.fixture
def people(tmp_path: Path) -> list[Path]:
    return photos_in(tmp_path / "bona-fide", "a.jpg")


def test_a_folder_is_a_source_and_so_is_a_photo_beside_it(tmp_path: Path) -> None:
    loose = photos_in(tmp_path / "bona-fide", "b.jpg", "c.PNG")
    ada = photos_in(tmp_path / "bona-fide" / "ada", "1.jpg", "2.jpg")
    prints = photos_in(tmp_path / "attacks" / "print" / "A4", "1.jpg")
    glossy = photos_in(tmp_path / "attacks" / "print" / "glossy", "1.jpg", "2.heic")
    screen = photos_in(tmp_path / "attacks" / "screen", "noname")
    found = presentations_in(tmp_path)
    assert found.bona_fide == [[loose[0]], [loose[1]], ada]
    assert found.attacks == {"print": [prints, glossy], "screen": [screen]}
    assert found.passed_over is None


def test_what_is_hidden_is_not_there(tmp_path: Path, people: list[Path]) -> None:
    photos_in(tmp_path / "bona-fide", ".b.jpg")
    photos_in(tmp_path / "bona-fide" / ".thumbnails", "a.jpg")
    photos_in(tmp_path / "attacks" / ".git", "a.jpg")
    prints = photos_in(tmp_path / "attacks" / "print", "a.jpg")
    found = presentations_in(tmp_path)
    assert (found.bona_fide, found.attacks) == ([people], {"print": [prints]})
    assert found.passed_over is None


def test_what_is_passed_over_is_told(tmp_path: Path, people: list[Path]) -> None:
    photos_in(tmp_path / "attacks" / "print" / "A4", "a.jpg")
    photos_in(tmp_path / "attacks" / "print" / "A4" / "deeper", "a.jpg", "b.jpg")
    photos_in(tmp_path / "more", "a.jpg")
    (tmp_path / "attacks" / "notes.txt").write_text("Taken on Monday.")
    found = presentations_in(tmp_path)
    assert found.passed_over == (
        "4 files were passed over: 1 .txt, 3 in sub-folders (attacks/print/A4/deeper, more)."
    )


@pytest.mark.parametrize("missing", ["bona-fide", "attacks"])
def test_a_folder_that_is_missing(tmp_path: Path, missing: str) -> None:
    photos_in(tmp_path / "bona-fide", "a.jpg")
    photos_in(tmp_path / "attacks" / "print", "a.jpg")
    (tmp_path / missing).rename(tmp_path / "other")
    with pytest.raises(NotPeople, match=f"There is no folder {tmp_path / missing}; .*SPECIES"):
        presentations_in(tmp_path)


def test_no_attacks(tmp_path: Path, people: list[Path]) -> None:
    (tmp_path / "attacks").mkdir()
    with pytest.raises(NotPeople, match=f"no folders in {tmp_path / 'attacks'}; give each kind"):
        presentations_in(tmp_path)


@pytest.mark.parametrize("empty", ["bona-fide", "attacks/screen"])
def test_a_folder_without_photos_is_named(tmp_path: Path, empty: str) -> None:
    photos_in(tmp_path / "bona-fide", "a.jpg")
    photos_in(tmp_path / "attacks" / "print", "a.jpg")
    for photo in (tmp_path / empty).glob("*"):
        photo.unlink()
    (tmp_path / empty / "below").mkdir(parents=True)
    with pytest.raises(NotPeople, match=f"There are no photos in {tmp_path / empty} or in its"):
        presentations_in(tmp_path)


def test_an_attack_of_no_species(tmp_path: Path, people: list[Path]) -> None:
    photos_in(tmp_path / "attacks" / "print", "a.jpg")
    (photo,) = photos_in(tmp_path / "attacks", "b.jpg")
    with pytest.raises(NotPeople, match=f"{photo} is of no species"):
        presentations_in(tmp_path)
