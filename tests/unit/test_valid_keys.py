from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.errors import InvalidInput
from serving.keys import Key, hash_of, new_key, parse
from serving.settings import KeySettings
from serving.valid_keys import GRACE_SECONDS, Keys
from tests.support.clock import Clock

LOOK = 1.001
CALLERS = {name: new_key() for name in ("kiosk", "desk", "boss")}


def file_of(*entries: dict[str, object]) -> str:
    return yaml.safe_dump({"keys": list(entries)})


def entry(key: str, name: str = "kiosk", **more: object) -> dict[str, object]:
    return {"name": name, "hash": hash_of(key), "scopes": ["identify"], **more}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def following(path: Path, clock: Clock) -> Keys:
    return Keys(KeySettings(required=True, file=str(path)), clock=clock)


def find(keys: Keys, presented: str) -> Key | None:
    return asyncio.run(keys.find(presented))


def test_a_key_is_found_by_its_hash_alone(path: Path) -> None:
    key = new_key()
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


def test_a_changed_file_counts_without_a_restart(path: Path, clock: Clock) -> None:
    first, second = new_key(), new_key()
    path.write_text(file_of(entry(first)))
    keys = following(path, clock)
    assert find(keys, first)
    path.write_text(file_of(entry(second)))
    clock.now += LOOK
    assert find(keys, first) is None
    assert find(keys, second)


async def find_all(keys: Keys) -> list[Key]:
    found = [await keys.find(key) for key in CALLERS.values()]
    return [key for key in found if key is not None]


def _entries() -> st.SearchStrategy[Any]:
    """Entries as they should be, and with all kinds of slips."""
    odd = st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=3)))
    hashes = st.sampled_from([hash_of(key) for key in CALLERS.values()])
    fields = {
        "name": st.one_of(st.sampled_from(sorted(CALLERS)), odd),
        "hash": st.one_of(hashes, odd),
        "scopes": st.one_of(st.lists(st.sampled_from(["identify", "admin", "idntify"])), odd),
    }
    return st.one_of(st.fixed_dictionaries(fields, optional={"rate": odd, "expires": odd}), odd)


def _files() -> st.SearchStrategy[bytes]:
    """Right, damaged, of wrong entries, and of anything."""
    right = file_of(*(entry(key, name) for name, key in CALLERS.items()))
    written = st.builds(lambda entries: file_of(*entries), st.lists(_entries(), max_size=4))
    whole = st.one_of(st.just(right), written)

    def damaged(text: str) -> st.SearchStrategy[bytes]:
        places = st.integers(0, len(text))
        return st.builds(
            lambda at, to, more: (text[:at] + more + text[to:]).encode(errors="replace"),
            places,
            places,
            st.text(max_size=6),
        )

    return st.one_of(whole.map(str.encode), whole.flatmap(damaged), st.binary(max_size=40))


# Parsing in a thread may take a moment on a busy machine.
@settings(deadline=None, max_examples=60)
@given(files=st.lists(_files(), min_size=1, max_size=3), wait=st.sampled_from([LOOK, 61.0]))
@example(files=[b""], wait=LOOK)
@example(files=[b"keys: ["], wait=LOOK)
@example(files=[b"\xff\xfe"], wait=LOOK)
@example(files=[b"[" * 400], wait=LOOK)
def test_after_any_file_only_keys_that_are_in_it_are_taken(
    tmp_path_factory: pytest.TempPathFactory, files: list[bytes], wait: float
) -> None:
    path, clock = tmp_path_factory.mktemp("keys") / "keys.yaml", Clock()
    path.write_text(file_of(*(entry(key, name) for name, key in CALLERS.items())))
    keys = following(path, clock)
    for content in files:
        path.write_bytes(content)
        clock.now += wait
        found = asyncio.run(find_all(keys))
        assert all(key.hash.encode() in content for key in found)
        try:
            right = parse(content.decode())
        except (InvalidInput, UnicodeDecodeError):
            assert keys.problem is not None
        else:
            assert keys.problem is None
            assert {key for key in right if key.expires is None} <= set(found)


def test_a_slip_in_one_entry_costs_only_that_one(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    kiosk, desk, gone = new_key(), new_key(), new_key()
    path.write_text(file_of(entry(kiosk), entry(desk, "desk"), entry(gone, "gone")))
    keys = following(path, clock)
    path.write_text(file_of(entry(kiosk, scopes=["idntify"]), entry(desk, "desk")))
    clock.now += LOOK
    assert [find(keys, key) is not None for key in (kiosk, desk, gone)] == [False, True, False]
    assert "entry 1 ('kiosk')" in caplog.text
    assert keys.problem is not None
    assert "kiosk" not in keys.problem
    for _ in range(3):  # a line in the log for the change, not for each look
        clock.now += LOOK
        find(keys, kiosk)
    assert caplog.text.count("kiosk") == 1
    path.write_text(file_of(entry(kiosk)))
    clock.now += LOOK
    assert find(keys, kiosk)
    assert keys.problem is None


@pytest.mark.parametrize(
    "slip", ["expires: 2026-02-30T00:00:00Z", "expires:", "collections:", "rate: 1\n  rate: 2"]
)
@pytest.mark.parametrize("running", [False, True])
def test_an_entry_that_is_no_value_costs_only_that_one(
    path: Path, clock: Clock, running: bool, slip: str, caplog: pytest.LogCaptureFixture
) -> None:
    kiosk, desk = new_key(), new_key()
    right = file_of(entry(desk, "desk"), entry(kiosk))
    path.write_text(right if running else f"{right}  {slip}\n")
    keys = following(path, clock)
    path.write_text(f"{right}  {slip}\n")
    for _ in range(3):
        clock.now += GRACE_SECONDS
        assert [find(keys, key) is not None for key in (kiosk, desk)] == [False, True]
    assert "entry 2 ('kiosk')" in caplog.text
    assert keys.problem is not None


@pytest.mark.parametrize("hidden", [False, True])
def test_a_file_that_is_gone_withdraws_all_after_a_grace(
    path: Path, clock: Clock, hidden: bool, caplog: pytest.LogCaptureFixture
) -> None:
    key = new_key()
    path.write_text(file_of(entry(key)))
    keys = following(path, clock)
    if hidden:
        path.unlink()
        path.mkdir()  # it is there, and cannot be read
    else:
        path.unlink()
    clock.now += LOOK
    assert find(keys, key)
    assert "cannot be read" in caplog.text
    assert "after that" in str(keys.problem)
    clock.now += GRACE_SECONDS - 0.1
    assert find(keys, key)
    clock.now += LOOK
    assert find(keys, key) is None
    assert "invalid" in str(keys.problem)
    if hidden:
        path.rmdir()
    path.write_text(file_of(entry(key)))
    clock.now += LOOK
    assert find(keys, key)
    # The next grace is a whole one.
    path.unlink()
    clock.now += LOOK
    assert find(keys, key)


def test_what_is_no_yaml_keeps_for_the_grace_only_what_can_be_found_in_it(
    path: Path, clock: Clock
) -> None:
    stays, gone = new_key(), new_key()
    path.write_text(file_of(entry(stays), entry(gone, "gone")))
    keys = following(path, clock)
    path.write_text(file_of(entry(stays)) + "]")
    clock.now += LOOK
    assert find(keys, stays)
    assert find(keys, gone) is None
    clock.now += GRACE_SECONDS
    assert find(keys, stays) is None


def test_a_key_expires_by_the_clock_on_the_wall(path: Path, clock: Clock) -> None:
    key, end = new_key(), datetime(2027, 1, 31, tzinfo=timezone.utc)
    path.write_text(file_of(entry(key, expires=end.isoformat())))
    now = end - timedelta(seconds=1)
    keys = Keys(KeySettings(required=True, file=str(path)), clock=clock, now=lambda: now)
    assert find(keys, key)
    now = end
    assert find(keys, key) is None
    assert keys.problem is None


def test_a_start_with_a_slip_is_a_start(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A replica that is started meanwhile must serve as the others do."""
    kiosk, desk = new_key(), new_key()
    path.write_text(file_of(entry(kiosk, rate=0), entry(desk, "desk")))
    keys = following(path, clock)
    assert find(keys, desk)
    assert find(keys, kiosk) is None
    assert keys.problem is not None
    assert "kiosk" in caplog.text


def test_all_who_ask_at_once_wait_for_one_look(path: Path, clock: Clock) -> None:
    key = new_key()
    path.write_text(file_of(entry(key)))
    keys = following(path, clock)
    path.write_text(file_of())
    clock.now += LOOK

    async def ask() -> list[Key | None]:
        return await asyncio.gather(*(keys.find(key) for _ in range(10)))

    assert asyncio.run(ask()) == [None] * 10
