"""Writes parts of values.schema.json: the application's settings, and what may not be missing.

The source of `settings`, `stages.*.scale` and `auth.keys` is `serving.settings.AppArgs`, without
what the chart derives from other values, and the entries of its key file (`serving.keys.Key`). What
is required follows from the defaults in values.yaml: for a value of null, Helm removes the key.

    python helm/schema.py [--check]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from serving.keys import Key
from serving.settings import AppArgs

CHART = Path(__file__).parent / "facenet-serving"
SCHEMA = CHART / "values.schema.json"
# Settings that the chart fills in; see templates/_serve.tpl.
DERIVED = {
    "AppArgs": {"keys", "scale"},
    "DecodeSettings": {"memory_bytes"},
    "EventSettings": {"key_file", "ca_file"},
    "GallerySettings": {"bucket", "prefix", "endpoint", "region"},
    "LimitSettings": {"body_memory_bytes"},
    "MatchSettings": {"memory_bytes", "vectors_folder"},
    "Scale": {"resources"},
    "TritonSettings": {"url", "model"},
}
# Like `Scale`, except for their defaults.
_SCALES = ("IngressScale", "MatchScale")
# Keywords that add nothing for a reader of the schema.
_NOISE = {"title", "default"}
# Maps that may lack any key, since Kubernetes or the Gateway has defaults.
_DEFAULTED_ELSEWHERE = re.compile("resources|timeouts|[a-z]+Probe")


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


def require(schema: dict[str, Any], node: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Set `required` in a closed map and all below: what the templates cannot do without."""
    names = []
    for name, default in defaults.items():
        inner = _resolved(schema, node["properties"][name])
        if isinstance(default, dict):
            if not _is_closed(inner) or _is_of_the_application(node["properties"][name]):
                continue
            if not _DEFAULTED_ELSEWHERE.fullmatch(name):
                require(schema, inner, default)
            needed = node is schema or name == "resources" or "required" in inner
        elif isinstance(default, list):
            needed = "minItems" in node["properties"][name]
        else:
            needed = default not in (None, "")
        if needed:
            names.append(name)
    node.pop("required", None)
    if names:
        node["required"] = names


def _is_of_the_application(node: dict[str, Any]) -> bool:
    reference: str = node.get("$ref", "")
    return reference.removeprefix("#/definitions/")[:1].isupper()


def _is_closed(node: dict[str, Any]) -> bool:
    return node.get("additionalProperties") is False


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    found = schema["definitions"][reference.removeprefix("#/definitions/")] if reference else node
    assert isinstance(found, dict)
    return found


def updated(text: str) -> str:
    """The schema with new definitions of the settings, and with what is required."""
    schema = json.loads(text)
    schema["definitions"] |= definitions()
    require(schema, schema, yaml.safe_load((CHART / "values.yaml").read_text()))
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
