"""What clients and operators have written down: /openapi.json, and the help of every command.

    python -m tests.documents.golden

writes them into ``tests/documents/golden``, so that a change shows in its difference; and the JSON
Schema of a report of `faces evaluate` into ``docs``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import yaml
from click.testing import CliRunner

from serving.cli import cli
from serving.evaluation import schema
from serving.keys import hash_of
from serving.settings import KeySettings
from serving.valid_keys import Keys
from tests.support.api import Api
from tests.support.commands import children

FOLDER = Path(__file__).parent / "golden"
SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "evaluation.schema.json"
_WIDTH = 100  # of the terminal, or the texts would be those of whoever runs this


def documents() -> dict[str, str]:
    """The texts by their file's name."""
    return {
        "openapi.json": _openapi(None),
        "openapi-keys.json": _openapi(_keys()),
        "help.txt": "\n".join(f"$ {path} --help\n{text}" for path, text in _help(cli, "faces")),
    }


def _openapi(keys: Keys | None) -> str:
    document = Api(keys=keys).get("/openapi.json").json()
    document["info"]["version"] = "any"
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _keys() -> Keys:
    entry = {"name": "k", "hash": hash_of("k"), "scopes": ["admin"]}
    return Keys(KeySettings(required=True), {"FACES_KEYS": yaml.safe_dump({"keys": [entry]})}.get)


def _help(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
    name, *arguments = path.split()
    result = CliRunner().invoke(
        cli, [*arguments, "--help"], prog_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    yield path, result.output
    if isinstance(command, click.Group):
        for name, child in children(command):
            yield from _help(child, f"{path} {name}")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)
    SCHEMA.write_text(schema.text())
    print(SCHEMA)


if __name__ == "__main__":
    main()
