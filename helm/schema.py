"""Writes the part of values.schema.json for `settings`, `stages.*.scale` and `auth.keys`.

The source is the application's settings (`serving.settings.AppArgs`), without those that the chart
derives from other values, and the entries of its key file (`serving.keys.Key`).

    python helm/schema.py [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from serving.keys import Key
from serving.settings import AppArgs

SCHEMA = Path(__file__).parent / "facenet-serving" / "values.schema.json"
# Settings that the chart fills in; see templates/_serve.tpl.
DERIVED = {
    "AppArgs": {"keys", "scale"},
    "DecodeSettings": {"memory_bytes"},
    "GallerySettings": {"bucket", "prefix", "endpoint", "region"},
    "LimitSettings": {"body_memory_bytes"},
    "MatchSettings": {"memory_bytes"},
    "Scale": {"resources"},
    "TritonSettings": {"url", "model"},
}
# Like `Scale`, except for their defaults.
_SCALES = ("IngressScale", "MatchScale")
# Keywords that add nothing for a reader of the schema.
_NOISE = {"title", "default"}


def definitions() -> dict[str, Any]:
    """The definitions of the settings, by name."""
    found = _of(AppArgs) | _of(Key)
    for name in ("ScaleSettings", "KeySettings", *_SCALES):
        del found[name]
    for name, keys in DERIVED.items():
        for key in keys:
            del found[name]["properties"][key]
    return {name: _quiet(found[name]) for name in sorted(found)}


def _of(model: type[BaseModel]) -> dict[str, Any]:
    whole = model.model_json_schema(ref_template="#/definitions/{model}")
    return {**whole.pop("$defs"), model.__name__: whole}


def _quiet(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {name: _quiet(inner) for name, inner in schema.get("properties", {}).items()}
    kept = {word: value for word, value in schema.items() if word not in _NOISE}
    return {**kept, "properties": properties} if properties else kept


def updated(text: str) -> str:
    """The schema with new definitions of the settings."""
    schema = json.loads(text)
    schema["definitions"] |= definitions()
    return json.dumps(schema, indent=2) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if out of date"
    )
    check = parser.parse_args().check
    old = SCHEMA.read_text()
    new = updated(old)
    if new == old:
        return 0
    if check:
        print(f"{SCHEMA} is not up to date: run python helm/schema.py", file=sys.stderr)
        return 1
    SCHEMA.write_text(new)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
