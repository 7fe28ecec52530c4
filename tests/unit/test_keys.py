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
    assert [identify.may(s) for s in Scope] == [True, False, False, False]
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
        ("keys: [!!int '']", "entry 1: a value in it cannot be read"),
        ("keys:\n- name: a\n  hash: [", r"no YAML \(line 3\)"),
        ("[" * 400, "no YAML"),
        ("format: faces-keys/2\nkeys: []", "newer version"),
        (file_of({**entry("x"), "hash": "sha256:12"}), "hash"),
        (file_of({**entry("x"), "hash": "secret-in-clear"}), "hash"),
        (file_of(entry("x", scopes=["identifi"])), "scopes"),
        (file_of(entry("x", scopes=[])), "scopes"),
        (file_of(entry("x", scopes=None)), "scopes"),
        (file_of(entry("x", collections=["../other"])), "collections"),
        (file_of(entry("x", rate=0)), "rate"),
        (file_of(entry("x", rate=1e-320)), "rate"),
        (file_of(entry("x", rate=float("inf"))), "rate"),
        (file_of(entry("x", scope="admin")), "scope is .* did you mean scopes?"),
        (file_of(entry("x", Rate=1)), "Rate is .* did you mean rate?"),
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


EMPTY = "it is empty: give it a value, or leave the line out"
NO_TIME = "should be a date and a time that exist, with a time zone, as 2027-01-31T00:00:00Z"
NO_NUMBER = "Input should be a valid number, in digits alone, without a zero before them"
# What may go wrong within one entry, as it is written, and what is said about it.
SLIPS = [
    ("collections:", f"collections: {EMPTY}"),
    ("collections: null", f"collections: {EMPTY}"),
    ("collections: ~", f"collections: {EMPTY}"),
    ("collections: ''", "collections: Input should be a list"),
    ("collections: shop", "collections: Input should be a list"),
    ("collections: {shop: yes}", "collections: Input should be a list"),
    ("collections: [null]", "collections.0: Input should be a valid string"),
    ("collections: [7]", "collections.0: Input should be a valid string"),
    ("rate:", f"rate: {EMPTY}"),
    ("rate: 010", f"rate: {NO_NUMBER}"),
    ("rate: 1:30", f"rate: {NO_NUMBER}"),
    ("rate: 0b_", f"rate: {NO_NUMBER}"),
    (f"rate: {'1' * 5000}", "rate: Input should be a valid number"),
    ("rate: .nan", "rate: Input should be less than or equal to 1000000"),
    ("expires:", f"expires: {EMPTY}"),
    ("expires: 2026-02-30", f"expires: {NO_TIME}"),
    ("expires: 2026-02-30T00:00:00Z", f"expires: {NO_TIME}"),
    ("expires: '2026-02-30T00:00:00Z'", f"expires: {NO_TIME}"),
    ("expires: 0000-01-01T00:00:00Z", f"expires: {NO_TIME}"),
    ("expires: 10000-01-01T00:00:00Z", f"expires: {NO_TIME}"),
    ("expires: 2026-13-45", f"expires: {NO_TIME}"),
    ("expires: 2027-01-31", f"expires: {NO_TIME}"),
    ("expires: 2027-01-31T00:00:00", f"expires: {NO_TIME}"),
    ("expires: 2027-01-31T25:00:00Z", f"expires: {NO_TIME}"),
    ("expires: 2027-01-31T00:00:00+99:00", f"expires: {NO_TIME}"),
    ("expires: 1800000000", f"expires: {NO_TIME}"),
    ("expires: '1800000000'", f"expires: {NO_TIME}"),
    ("expires: true", f"expires: {NO_TIME}"),
    ("expires: !!timestamp soon", "a value in it cannot be read"),
    ("rate: !!float soon", "a value in it cannot be read"),
    ("rate: !!python/name:os.getcwd", "a value in it cannot be read"),
    ("? [rate]\n    : 2", "a value in it cannot be read"),
    ("rate: 1\n    rate: 1", "rate is given twice"),
    ("scopes: [admin]", "scopes is given twice"),
]


@pytest.mark.parametrize(("slip", "says"), SLIPS)
def test_a_slip_in_an_entry_is_named_and_takes_no_other_with_it(slip: str, says: str) -> None:
    content = read(f"""
keys:
  - {{name: first, hash: {hash_of("a")!r}, scopes: [identify]}}
  - name: slip
    hash: {hash_of("b")}
    scopes: [identify]
    {slip}
  - {{name: last, hash: {hash_of("c")!r}, scopes: [identify]}}
""")
    assert [key.name for key in content.keys] == ["first", "last"]
    assert content.problems == (f"entry 2 ('slip'): {says}",)


def test_what_an_entry_has_twice_is_taken_from_no_other() -> None:
    twice = f"""
- name: desk
  name: kiosk
  hash: {hash_of("x")}
  hash: {hash_of("y")}
  scopes: [admin]
"""
    for other in (entry("z", "kiosk"), entry("z", "desk"), entry("x", "a"), entry("y", "a")):
        content = read(file_of(other) + twice)
        assert content.keys == ()
        assert "entry 2 ('desk') ('kiosk'): name is given twice" in content.problems


@pytest.mark.parametrize("name", ["", " ", "a\nboss: admin", "\x1b[2J", "\u202ea", "\u200b"])
def test_a_name_that_misleads_who_reads_the_log_is_refused(name: str) -> None:
    content = read(file_of(entry("x", name), entry("y", "desk")))
    assert [key.name for key in content.keys] == ["desk"]
    assert content.problems[0].startswith(f"entry 1 ({name!r}): ")
    assert content.problems[0].isprintable()


@pytest.mark.parametrize(
    ("written", "open_to"),
    [
        ("", {"shop", "default"}),
        ("collections: []", set()),
        ("collections: [shop]", {"shop"}),
    ],
)
def test_a_key_opens_what_it_names_and_all_only_where_it_says_nothing(
    written: str, open_to: set[str]
) -> None:
    (key,) = parse(f"keys: [{{name: a, hash: {hash_of('x')!r}, scopes: [admin], {written}}}]")
    assert {name for name in ("shop", "default") if key.may_use(name)} == open_to


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
