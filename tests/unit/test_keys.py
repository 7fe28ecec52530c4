from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
import yaml

from serving.errors import InvalidInput
from serving.keys import Key, Scope, hash_of, new_key, parse, read


def file_of(*entries: dict[str, object]) -> str:
    return yaml.safe_dump({"keys": list(entries)})


def entry(key: str, name: str = "kiosk", **more: object) -> dict[str, object]:
    return {"name": name, "hash": hash_of(key), "scopes": ["identify"], **more}


def test_new_keys_differ_and_are_long() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 43


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
        ("keys: [a, 7]", "entry 1"),
        ("keys: [{name: [a]}]", "hash"),
        ("keys: {a: b}", "list"),
        ("keys: []\nmore: 1", "not known: more"),
        ("keys: [{expires: 2026-13-45}]", "no YAML"),
        ("keys: [!!int '']", "no YAML"),
        ("[" * 400, "no YAML"),
        ("format: faces-keys/2\nkeys: []", "newer version"),
        (file_of({**entry("x"), "hash": "sha256:12"}), "hash"),
        (file_of({**entry("x"), "hash": "secret-in-clear"}), "hash"),
        (file_of(entry("x", scopes=["identifi"])), "scopes"),
        (file_of(entry("x", scopes=[])), "scopes"),
        (file_of(entry("x", collections=["../other"])), "collections"),
        (file_of(entry("x", rate=0)), "rate"),
        (file_of(entry("x", rate=1e-320)), "rate"),
        (file_of(entry("x", rate=float("inf"))), "rate"),
        (file_of(entry("x", scope="admin")), "scope is .* did you mean scopes?"),
        (file_of(entry("x", Rate=1)), "Rate is .* did you mean rate?"),
        (file_of(entry("x", rate=True)), "rate"),
        (file_of(entry("x", rate="2")), "rate"),
        (file_of(entry("x")) + "keys: []", "keys is given twice"),
        (file_of(entry("x", expires="2027-01-31")), "expires"),
        (file_of(entry("x", expires="2027-01-31T00:00:00")), "expires"),
        (file_of(entry("x", expires=1800000000)), "expires"),
        (file_of(entry("x", expires="1800000000")), "expires"),
        (file_of(entry("x"), entry("y")), "same name"),
        (file_of(entry("x"), entry("x", "other", scopes=["admin"])), "same hash"),
    ],
)
def test_a_bad_file_is_refused_without_repeating_it(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        parse(text)
    assert "secret-in-clear" not in str(caught.value)


@pytest.mark.parametrize("written", ["2027-01-31T12:00:00Z", "'2027-01-31T13:00:00+01:00'"])
def test_an_entry_may_have_an_end(written: str) -> None:
    text = file_of(entry("x")) + f"  expires: {written}\n"
    (key,) = parse("format: faces-keys/1\n" + text)
    assert key.expires == datetime(2027, 1, 31, 12, tzinfo=timezone.utc)
    assert key.expires.utcoffset() in (timedelta(0), timedelta(hours=1))


def test_what_is_right_counts_beside_what_is_wrong() -> None:
    wrong = [
        entry("a", "slip", scopes=["idntify"]),
        entry("b", "field", scope="admin"),
        entry("c", "twice"),
        entry("d", "twice"),
        entry("e", "one"),
        entry("e", "other", scopes=["admin"]),
        # Which of two was meant is not clear either when one of them is wrong.
        entry("f", "shared"),
        entry("g", "shared", rate=0),
    ]
    content = read(file_of(entry("x"), *wrong, entry("y", "desk")) + "note: mine\n")
    assert [key.name for key in content.keys] == ["kiosk", "desk"]
    assert len(content.problems) == 1 + len(wrong)
    assert "note" in content.problems[0]
    told = "; ".join(content.problems)
    assert all(str(w["name"]) in told for w in wrong)
    assert "sha256:" not in told
