"""JSON and YAML: what is read as usual, and keys that come twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.reading.strict import (
    INTEGER,
    NUMBER,
    Broken,
    Twice,
    check_keys,
    load_entries,
    load_json,
    load_yaml,
)
from tests.support import fuzzing

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def once(text: str) -> bool:
    """Whether no key of the JSON comes twice, by Python's own parser."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise Twice("")
        return dict(pairs)

    try:
        json.loads(text, object_pairs_hook=unique)
    except Twice:
        return False
    return True


@given(VALUES, st.booleans())
def test_json_with_keys_that_come_once(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=1)
    check_keys(text.encode(errors="surrogatepass"))
    assert load_json(text) == value


@pytest.mark.fuzz
@settings(max_examples=fuzzing.examples(300))
@given(st.lists(st.sampled_from(['"a"', '"\\u0061"', '"a\\""', "{", "}", "[", "]", ":", ",", "1"])))
def test_whatever_is_json_is_judged_as_by_a_parser(tokens: list[str]) -> None:
    text = " ".join(tokens)
    try:
        json.loads(text)
    except ValueError:
        return
    try:
        check_keys(text.encode())
    except Twice:
        assert not once(text)
    else:
        assert once(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '{"a": 1, "\\u0061": 2}',
        '[{"b": {"a": "}", "c": [], "a": 1}}]',
        '{"x": "{\\"a\\": 1", "a": {}, "a" \n: []}',
    ],
)
def test_a_key_that_comes_twice(text: str) -> None:
    with pytest.raises(Twice, match="a is given twice"):
        check_keys(text.encode())
    with pytest.raises(Twice):
        load_json(text)


def test_large_bodies_are_searched_without_copies_of_them() -> None:
    photo = "QUJD" * 2_000_000
    check_keys(json.dumps({"images": [{"image": photo}, {"image": photo}]}).encode())


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{", ""])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        load_json(text)


def test_yaml() -> None:
    text = "a: &x {b: 1}\nc: {<<: *x, b: 2}\nd: [1, {b: 1}, {b: 2}]\n"
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml("") is None


@pytest.mark.parametrize(
    "text",
    ["0", "10", "-3", "+5", "9" * 100, "1.5", "-0.5", ".5", "1.", "1.5e+3", "-.inf", "true", "~"],
)
def test_plain_values_of_yaml(text: str) -> None:
    assert load_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        *("010", "-010", "00", "0_0", "1_000", "0x1F", "0x_", "0b1", "0b_", "0o10", "9" * 5000),
        *("1:30", "190:20:30", "1:30.5", "1_0.5", "010.5", "1e3"),
        *("2026-02-30", "0000-01-01T00:00:00Z", "2027-01-31T00:00:00+99:00"),
    ],
)
def test_what_two_people_read_as_two_numbers_stays_text(text: str) -> None:
    assert load_yaml(f"a: {text}") == {"a": text}


def test_an_entry_that_cannot_be_read_takes_no_other_with_it() -> None:
    text = "a: 1\nkeys: [&x {b: 1}, {b: 1, b: [2]}, !!int z, {<<: *x, c: 2}, !!set {d}, "
    text += '&y {<<: *x, e: 1}, {f: *y}, {"\\e": 1, "\\e": 1}]'
    assert load_entries(text, "keys") == {
        "a": 1,
        "keys": [
            {"b": 1},
            Broken("b is given twice", (("b", "1"),)),
            Broken("a value in it cannot be read", ()),
            {"b": 1, "c": 2},
            {"d"},
            {"b": 1, "e": 1},
            {"f": {"b": 1, "e": 1}},
            Broken("? is given twice", (("\x1b", "1"), ("\x1b", "1"))),
        ],
    }


@pytest.mark.parametrize("text", ["", "7", "[1]", "keys: 7", "keys: {a: 1}", "other: [1]"])
def test_what_has_no_such_list_is_read_as_usual(text: str) -> None:
    assert load_entries(text, "keys") == load_yaml(text)


@pytest.mark.parametrize("text", ["keys: []\nkeys: []", "a: {b: 1, b: 2}\nkeys: []"])
def test_what_is_twice_outside_of_the_entries_is_refused(text: str) -> None:
    with pytest.raises(Twice):
        load_entries(text, "keys")


@pytest.mark.parametrize(
    "text", ["a: 1\na: 1", "x: [{a: {b: 1, b: 2}}]", "1: a\n1: b", "{a: 1, 'a': 2}"]
)
def test_a_key_that_comes_twice_in_yaml(text: str) -> None:
    with pytest.raises(Twice, match="is given twice"):
        load_yaml(text)


@pytest.mark.parametrize("text", ["? [a, b]\n: c", "{{a: b}: c}"])
def test_a_key_of_yaml_that_is_a_list_or_a_mapping(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="unhashable key"):
        load_yaml(text)


def test_yaml_makes_no_objects() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("!!python/object/apply:os.getcwd []")


@pytest.mark.parametrize("text", ["0", "-0", "7", "-1", "10", "9" * 100])
def test_whole_numbers(text: str) -> None:
    assert INTEGER.fullmatch(text)
    assert NUMBER.fullmatch(text)


@pytest.mark.parametrize(
    "text",
    ["", "-", "-00", "01", "+1", " 1", "1 ", "1\n", "1_0", "１", "٣", "²", "1.", ".5", "9" * 102],
)
def test_what_is_no_whole_number(text: str) -> None:
    assert not INTEGER.fullmatch(text)
    assert not NUMBER.fullmatch(text)
