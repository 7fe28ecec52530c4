from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta, timezone
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


def test_keys_that_are_made_at_once_are_all_in_the_file(tmp_path: Path) -> None:
    faces = [sys.executable, "-m", "serving", "key", "new", "--scope", "admin"]
    file = tmp_path / "keys.yaml"
    making = [subprocess.Popen([*faces, name, "--file", file]) for name in ("a", "b", "c")]
    assert [made.wait(60) for made in making] == [0, 0, 0]
    assert {key.name for key in parse(file.read_text())} == {"a", "b", "c"}


@pytest.mark.parametrize("name", ["Shop", "../x", ""])
def test_a_collection_that_cannot_be_is_wrong_usage(tmp_path: Path, name: str) -> None:
    words = ("b", "--scope", "identify", "--collection", name, "--file", f"{tmp_path}/keys.yaml")
    _, told = run(*words, exit_code=2)
    assert "--collection" in told
    assert "small letters, digits and dashes" in told
    assert list(tmp_path.iterdir()) == []


def test_the_comments_of_a_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    text = f"# Ask the desk.\r\nkeys:\r\n- name: a  # till May\r\n  hash: {hash_of('x')}\r\n"
    text += "  scopes: [admin]\r\n"
    path.write_bytes(text.encode())
    run("b", "--scope", "identify", "--file", str(path))
    assert path.read_bytes().decode().startswith(text)
    assert [key.name for key in parse(path.read_text())] == ["a", "b"]


@pytest.mark.parametrize(
    "words",
    [
        ("a", "--scope", "identify", "--file", "keys.yaml"),
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


@pytest.mark.parametrize("content", [b"keys: []  # caf\xe9\n", "keys: []\n".encode("utf-16")])
def test_a_file_of_another_encoding_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.yaml"
    path.write_bytes(content)
    _, told = run("a", "--scope", "identify", "--file", str(path), exit_code=1)
    assert "The keys are not UTF-8." in told
    checked = CliRunner().invoke(cli, ["key", "check", str(path)])
    assert (checked.exit_code, "The keys are not UTF-8." in checked.stderr) == (1, True)
    assert path.read_bytes() == content


def test_a_file_keeps_its_permissions_and_the_links_to_it(tmp_path: Path) -> None:
    path, link = tmp_path / "keys.yaml", tmp_path / "link.yaml"
    path.write_text("keys: []\n")
    path.chmod(0o640)
    link.symlink_to(path.name)
    run("a", "--scope", "identify", "--file", str(link))
    assert link.is_symlink()
    assert [key.name for key in parse(path.read_text())] == ["a"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_key_for_nothing_is_wrong_usage() -> None:
    run("kiosk", exit_code=2)
    run("kiosk", "--scope", "everything", exit_code=2)


@pytest.mark.parametrize("name", ["", " ", "a\nboss: admin", "\x1b[2J", "\u202ea", "\u200b"])
def test_a_name_that_misleads_who_reads_it_is_wrong_usage(name: str) -> None:
    out, told = run(name, "--scope", "identify", exit_code=2)
    assert out == ""
    assert "A name" in told


def test_a_key_may_have_an_end(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    end = datetime(2127, 1, 31, 10, tzinfo=timezone.utc)
    run("a", "--scope", "identify", "--expires", "2127-01-31T12:00:00+02:00", "--file", str(path))
    (key,) = parse(path.read_text())
    assert key.expires == end
    for wrong in ("2027-01-31", "2027-01-31T12:00:00", "1800000000", "tomorrow"):
        _, told = run("b", "--scope", "identify", "--expires", wrong, exit_code=2)
        assert "time zone" in told


def test_a_key_that_would_be_expired_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    past = (datetime.now(timezone.utc) - timedelta(seconds=1)).isoformat()
    for end in (past, "2020-01-31T00:00:00Z"):
        out, told = run(
            "a", "--scope", "identify", "--expires", end, "--file", str(path), exit_code=2
        )
        assert (out, "is past" in told, path.exists()) == ("", True, False)


class TestCheck:
    def check(self, path: Path, exit_code: int) -> tuple[str, str]:
        done = CliRunner().invoke(cli, ["key", "check", str(path)])
        assert done.exit_code == exit_code, done.output
        return done.stdout, done.stderr

    def test_it_says_what_each_key_may(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.yaml"
        run("boss", "--scope", "admin", "--file", str(path))
        more = ("--collection", "shop", "--rate", "20", "--expires", "2127-01-31T00:00:00Z")
        run("kiosk", "--scope", "enrol", "--scope", "identify", *more, "--file", str(path))
        path.write_text(path.read_text().replace("2127", "2020"))
        out, err = self.check(path, 0)
        assert out.splitlines() == [
            "boss: admin",
            "kiosk: identify, enrol; in shop; 20 a second; expired 2020-01-31T00:00:00+00:00",
        ]
        assert err == ""

    def test_it_says_what_is_wrong_and_what_counts_all_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.yaml"
        run("boss", "--scope", "admin", "--file", str(path))
        run("kiosk", "--scope", "identify", "--file", str(path))
        path.write_text(path.read_text().replace("- identify", "- idntify"))
        out, err = self.check(path, 1)
        assert out.splitlines() == ["boss: admin"]
        assert "entry 2 ('kiosk')" in err
        assert "scopes" in err

    def test_a_key_for_no_collection_is_shown_as_such(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.yaml"
        path.write_text(
            f"keys:\n- {{name: a, hash: '{hash_of('x')}', scopes: [identify], collections: []}}\n"
            f"- {{name: b, hash: '{hash_of('y')}', scopes: [identify], collections: }}\n"
        )
        out, err = self.check(path, 1)
        assert out == "a: identify; in no collection\n"
        assert "entry 2 ('b'): collections: it is empty" in err

    @pytest.mark.parametrize(
        ("text", "says"),
        [("", "list"), ("keys: [", "YAML"), ("format: faces-keys/9\nkeys: []", "newer")],
    )
    def test_a_file_of_which_nothing_counts_says_why(
        self, tmp_path: Path, text: str, says: str
    ) -> None:
        path = tmp_path / "keys.yaml"
        path.write_text(text)
        out, err = self.check(path, 1)
        assert out == ""
        assert says in err
