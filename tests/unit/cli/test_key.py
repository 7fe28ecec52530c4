from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from serving.cli import cli
from serving.keys import Scope, hash_of, parse


def run(*words: str, exit_code: int = 0) -> tuple[str, str]:
    done = CliRunner().invoke(cli, ["key", "new", *words])
    assert done.exit_code == exit_code, done.output
    return done.stdout.strip(), done.stderr


def test_a_key_is_printed_once_and_its_entry_is_valid() -> None:
    key, entry = run("kiosk", "--scope", "identify", "--scope", "enrol", "--rate", "5")
    assert key not in entry
    (made,) = parse("keys:\n" + entry)
    assert (made.name, made.hash, made.rate) == ("kiosk", hash_of(key), 5)
    assert made.scopes == {Scope.IDENTIFY, Scope.ENROL}


def test_a_key_is_added_to_a_file_that_others_keep(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    first, _ = run("a", "--scope", "admin", "--file", str(path))
    second, _ = run("b", "--scope", "identify", "--collection", "shop", "--file", str(path))
    keys = parse(path.read_text())
    assert [k.hash for k in keys] == [hash_of(first), hash_of(second)]
    assert keys[1].collections == frozenset({"shop"})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "words",
    [
        ("a", "--scope", "identify", "--file", "keys.yaml"),
        ("b", "--scope", "identify", "--collection", "../x", "--file", "keys.yaml"),
        ("b", "--scope", "identify", "--file", "missing/keys.yaml"),
        ("b", "--scope", "identify", "--file", "none.yaml"),
    ],
)
def test_what_cannot_be_added_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    run("a", "--scope", "admin", "--file", "keys.yaml")
    (tmp_path / "none.yaml").write_text("people: []")
    before = {p.name: p.read_text() for p in tmp_path.iterdir()}
    out, _ = run(*words, exit_code=1)
    assert out == ""
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == before


def test_a_key_for_nothing_is_wrong_usage() -> None:
    run("kiosk", exit_code=2)
    run("kiosk", "--scope", "everything", exit_code=2)
