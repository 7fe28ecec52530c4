"""The stack's folder: which one is taken, and what of it is closed to other accounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.stack.process import StackError
from serving.stack.run import take


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_folder_is_for_the_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "of" / "faces"
    take(folder)
    assert mode(folder) == 0o700


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    take(tmp_path)
    assert mode(tmp_path) == 0o700


def test_one_of_an_earlier_start_is_closed_with_all_that_is_in_it(tmp_path: Path) -> None:
    for path in (tmp_path / "lock", tmp_path / "s3-keys.json"):
        path.touch()
        path.chmod(0o644)
    tmp_path.chmod(0o755)
    take(tmp_path)
    assert [mode(p) for p in (tmp_path, *sorted(tmp_path.iterdir()))] == [0o700, 0o600, 0o600]


def test_a_folder_with_other_things_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    photo = tmp_path / "album" / "photo.jpg"
    photo.parent.mkdir()
    photo.touch()
    for path, rights in ((photo, 0o644), (photo.parent, 0o755), (tmp_path, 0o755)):
        path.chmod(rights)
    with pytest.raises(StackError, match="holds other things"):
        take(tmp_path)
    assert [mode(p) for p in (tmp_path, photo.parent, photo)] == [0o755, 0o755, 0o644]
    assert [p.name for p in tmp_path.iterdir()] == ["album"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="cannot be used: Not a directory"):
        take(tmp_path / "file" / "faces")


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x7fb", "a\x1b[2Jb", "a\udcffb", "a\u2028b"])
def test_a_folder_whose_name_is_no_text_is_refused_before_it_is_made(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(StackError, match="control characters in its path") as caught:
        take(tmp_path / name)
    assert str(caught.value).isprintable()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["with blanks", "José's", '100% "it"', "a,b:c;d#e?", "名前 😀"])
def test_a_folder_with_other_characters_is_taken(tmp_path: Path, name: str) -> None:
    take(tmp_path / name)
    assert mode(tmp_path / name) == 0o700
