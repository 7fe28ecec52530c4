from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from serving.errors import InvalidInput
from serving.keys import Key, Keys, Scope, hash_of, new_key, parse
from serving.settings import KeySettings


def file_of(*entries: dict[str, object]) -> str:
    return yaml.safe_dump({"keys": list(entries)})


def entry(key: str, name: str = "kiosk", **more: object) -> dict[str, object]:
    return {"name": name, "hash": hash_of(key), "scopes": ["identify"], **more}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def find(keys: Keys, presented: str) -> Key | None:
    return asyncio.run(keys.find(presented))


def test_new_keys_differ_and_are_long() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 43


def test_a_key_is_found_by_its_hash_alone(tmp_path: Path) -> None:
    key = new_key()
    path = tmp_path / "keys.yaml"
    path.write_text(file_of(entry(new_key(), "other"), entry(key)))
    assert key not in path.read_text()
    keys = Keys(KeySettings(required=True, file=str(path)))
    found = find(keys, key)
    assert found is not None
    assert found.name == "kiosk"
    for wrong in ("", key[:-1], key + "x", hash_of(key), "ключ", "\udc80".encode(errors="replace")):
        assert find(keys, str(wrong)) is None


def test_keys_come_from_the_environment_where_no_file_is_named() -> None:
    key = new_key()
    keys = Keys(KeySettings(required=True), {"FACES_KEYS": file_of(entry(key))}.get)
    assert find(keys, key) is not None


def test_required_keys_that_nobody_gave_are_an_error_at_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="FACES_KEYS"):
        Keys(KeySettings(required=True), lambda name: None)
    with pytest.raises(InvalidInput, match=r"gone\.yaml"):
        Keys(KeySettings(required=True, file=str(tmp_path / "gone.yaml")))


def test_admin_may_do_all_and_others_what_they_are_for() -> None:
    identify, admin = (
        Key(name="k", hash=hash_of("k"), scopes=frozenset({scope}))
        for scope in (Scope.IDENTIFY, Scope.ADMIN)
    )
    assert [identify.may(s) for s in Scope] == [True, False, False]
    assert all(admin.may(s) for s in Scope)


def test_a_key_is_bound_to_its_collections() -> None:
    bound = Key(name="k", hash=hash_of("k"), scopes={"identify"}, collections={"shop"})
    assert bound.may_use("shop")
    assert not bound.may_use("default")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"),
        ("keys: [", "no YAML"),
        ("keys: [{name: a}]", "hash"),
        (file_of({**entry("x"), "hash": "sha256:12"}), "hash"),
        (file_of({**entry("x"), "hash": "secret-in-clear"}), "hash"),
        (file_of(entry("x", scopes=["identifi"])), "scopes"),
        (file_of(entry("x", scopes=[])), "scopes"),
        (file_of(entry("x", collections=["../other"])), "collections"),
        (file_of(entry("x", rate=0)), "rate"),
        (file_of(entry("x", rate=1e-320)), "rate"),
        (file_of(entry("x", rate=float("inf"))), "rate"),
        (file_of(entry("x", scope="admin")), "keys.0.scope is .* did you mean keys.0.scopes?"),
        (file_of(entry("x", Rate=1)), "keys.0.Rate is .* did you mean keys.0.rate?"),
        (file_of(entry("x", rate=True)), "rate"),
        (file_of(entry("x", rate="2")), "rate"),
        (file_of(entry("x")) + "keys: []", "keys is given twice"),
        (file_of(entry("x"), entry("y")), "same name"),
        (file_of(entry("x"), entry("x", "other", scopes=["admin"])), "same hash"),
    ],
)
def test_a_bad_file_is_refused_without_repeating_it(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        parse(text)
    assert "secret-in-clear" not in str(caught.value)


def test_a_changed_file_counts_without_a_restart(tmp_path: Path, clock: Clock) -> None:
    first, second = new_key(), new_key()
    path = tmp_path / "keys.yaml"
    path.write_text(file_of(entry(first)))
    keys = Keys(KeySettings(required=True, file=str(path)), clock=clock)
    assert find(keys, first)
    path.write_text(file_of(entry(second)))
    clock.now += 2
    assert find(keys, first) is None
    assert find(keys, second)


@pytest.mark.parametrize("broken", ["keys: [", None])
def test_a_mistake_in_a_changed_file_leaves_the_former_keys(
    tmp_path: Path, clock: Clock, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    key = new_key()
    path = tmp_path / "keys.yaml"
    path.write_text(file_of(entry(key)))
    keys = Keys(KeySettings(required=True, file=str(path)), clock=clock)
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    clock.now += 2
    assert find(keys, key)
    assert "former keys" in caplog.text
