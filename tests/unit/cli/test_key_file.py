"""Entries that are added to key files, which people write by hand."""

from __future__ import annotations

import pytest

from serving.cli.key_file import with_entry
from serving.errors import InvalidInput
from serving.keys import hash_of, parse

HASH = hash_of("x")
ENTRY: dict[str, object] = {
    "name": "new",
    "hash": hash_of("y"),
    "scopes": ["identify"],
    "collections": ["shop"],
    "rate": 2.5,
    "expires": "2027-01-31T00:00:00+00:00",
}
LINES = [
    "- name: new",
    f"  hash: {hash_of('y')}",
    "  scopes:",
    "  - identify",
    "  collections:",
    "  - shop",
    "  rate: 2.5",
    "  expires: '2027-01-31T00:00:00+00:00'",
]
INLINE = (
    f'{{"name": "new", "hash": "{hash_of("y")}", "scopes": ["identify"], '
    '"collections": ["shop"], "rate": 2.5, "expires": "2027-01-31T00:00:00+00:00"}'
)
ONE = f"{{name: a, hash: '{HASH}', scopes: [identify]}}"


def lines(column: int = 0, end: str = "\n") -> str:
    return "".join(f"{' ' * column}{line}{end}" for line in LINES)


@pytest.mark.parametrize(
    ("head", "tail", "added"),
    [
        (f"# ours\nkeys:\n- name: a\n  hash: {HASH}\n  scopes: [admin]  # all\n", "", lines()),
        (f"keys:\n- name: a\n  hash: {HASH}\n  scopes:\n  - admin\n", "# end\n", lines()),
        (
            f"keys:\n    - hash: {HASH}\n      scopes:\n      - admin\n      name: >-\n        a\n"
            "      # of the first\n",
            "    # of the list\nformat: faces-keys/1\n",
            lines(4),
        ),
        (f"\ufeff---\nkeys:\n  - {ONE}\n", "...\n", lines(2)),
        (f"keys:\r\n- {ONE}  # c\r\n", "# d\r\n", lines(end="\r\n")),
        (f"keys: [{ONE}", "]\n", f", {INLINE}"),
        (f"keys: [\n  {ONE}", ",  # c\n]\n", f", {INLINE}"),
        ('{"keys": [', "]}", INLINE),
        (f'{{"keys": [{{"name": "a", "hash": "{HASH}", "scopes": ["admin"]}}', "]}", f", {INLINE}"),
    ],
)
def test_the_rest_of_the_file_stays_as_it_is(head: str, tail: str, added: str) -> None:
    assert with_entry(head + tail, ENTRY) == head + added + tail
    assert parse(head + added + tail)[-1].name == "new"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("keys: []\n", f"keys:\n{lines()}"),
        ("keys: []", f"keys:\n{lines()}"),
        ("keys: []  # none\n# end\n", f"keys:  # none\n{lines()}# end\n"),
        (f"keys:\n- {ONE}", f"keys:\n- {ONE}\n{lines()}"),
    ],
)
def test_a_list_that_is_empty_or_has_no_line_end(text: str, made: str) -> None:
    assert with_entry(text, ENTRY) == made


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"keys:\n- {ONE.replace('a,', 'new,')}", "of the name new already"),
        (f"keys: &all\n- {ONE}", "cannot be added without changing the rest"),
        (f"keys:\n- {ONE}\nmore: 1", "not known: more"),
        ("keys: {}", "no list"),
    ],
)
def test_what_cannot_be_added_is_said(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        with_entry(text, ENTRY)


@pytest.mark.parametrize("name", ["010", "1:30", "no", "null", "1e3", "2027-01-31", "a: #b", "王"])
def test_a_name_stays_a_name(name: str) -> None:
    for text in ("keys: []\n", '{"keys": []}', f"keys:\n- {ONE}"):
        assert parse(with_entry(text, {**ENTRY, "name": name}))[-1].name == name
