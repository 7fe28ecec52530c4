"""Writes the table of values in the chart's README.md from the comments in values.yaml.

Comment lines that begin with `# --` describe the key below them. Other comment lines above a group
of keys become a paragraph over the group's rows.

    python helm/docs.py [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "facenet-serving"
BEGIN = "<!-- values: written by helm/docs.py -->"
END = "<!-- end of values -->"
_DESCRIPTION = "# --"


@dataclass(frozen=True)
class Comments:
    """The comment above a key.

    Attributes:
        description: of the key, from lines with `# --`.
        note: on a group of keys, from the other lines.
    """

    description: str
    note: str


@dataclass(frozen=True)
class Row:
    key: str
    default: str
    description: str


def tables(text: str) -> str:
    """Markdown: a heading and a table for each top-level map, one table for the other keys."""
    lines = text.splitlines()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    single: list[Row] = []
    groups: list[str] = []
    for key_node, value_node in root.value:
        key, comments = key_node.value, _above(lines, key_node.start_mark.line)
        rows = list(_rows(key, value_node, lines, comments))
        if len(rows) == 1 and rows[0].key == key:
            single += rows
            continue
        note = " ".join(filter(None, (comments.note, comments.description)))
        groups.append("\n".join([f"### {key}", "", *([note, ""] if note else []), *_table(rows)]))
    return "\n\n".join(["\n".join(_table(single)), *groups])


def _rows(key: str, node: Any, lines: list[str], comments: Comments) -> Iterator[Row]:
    """The rows for the values below a key. A map written in braces is one value."""
    if isinstance(node, yaml.MappingNode) and node.value and not node.flow_style:
        for inner_key, inner in node.value:
            line = inner_key.start_mark.line
            yield from _rows(f"{key}.{inner_key.value}", inner, lines, _above(lines, line))
        return
    description = comments.description
    if "." in key and comments.note:
        description = f"{comments.note} {description}".strip()
    yield Row(key, _default(node), description)


def _default(node: Any) -> str:
    value = yaml.SafeLoader("").construct_document(node)
    return f"`{json.dumps(value, ensure_ascii=False)}`".replace("|", "\\|")


def _above(lines: list[str], line: int) -> Comments:
    """The comment that ends directly above a line."""
    found: list[str] = []
    while line and lines[line - 1].strip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].strip())
    described = [text for text in found if text.startswith(_DESCRIPTION)]
    other = [text.removeprefix("#") for text in found if text not in described]
    return Comments(
        " ".join(text.removeprefix(_DESCRIPTION).strip() for text in described),
        " ".join(text.strip() for text in other),
    )


def _table(rows: list[Row]) -> list[str]:
    return [
        "| key | default | |",
        "|---|---|---|",
        *(f"| `{row.key}` | {row.default} | {row.description} |" for row in rows),
    ]


def updated(readme: str, values: str) -> str:
    """The README with a new table of values."""
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"README.md has no lines {BEGIN!r} and {END!r}.")
    return f"{before}{BEGIN}\n\n{tables(values)}\n\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if out of date"
    )
    check = parser.parse_args().check
    readme = CHART / "README.md"
    old = readme.read_text()
    new = updated(old, (CHART / "values.yaml").read_text())
    if new == old:
        return 0
    if check:
        print(f"{readme} is not up to date: run python helm/docs.py", file=sys.stderr)
        return 1
    readme.write_text(new)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
