"""The chart's values and their schema: lists every knob, and other settings for it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

from tests.support.chart.helm import CHART, ROOT
from tests.support.chart.objects import Path as ValuePath

# Values files to render the chart with, by name.
OURS = {path.stem: path for path in sorted((ROOT / "tests" / "chart" / "variants").glob("*.yaml"))}
FOR_CLUSTERS = {path.stem: path for path in sorted((ROOT / "k8s").glob("values-*.yaml"))}
VARIANTS = {**OURS, **FOR_CLUSTERS}

Schema = Mapping[str, Any]

_WORDS = (
    "other",
    "other.example.com",
    "http://other.example.com:9000",
    "https://other.example.com",
    "7",
    "7Gi",
    "700m",
    "7m",
    "10.77.0.0/16",
    "*/7 * * * *",
    "OTHER",
    "1.7.0",
)
_ITEMS = (
    "other",
    "10.77.0.0/16",
    7,
    {"key": "other", "operator": "Exists"},
    {"name": "other"},
    {"name": "other", "mountPath": "/other"},
    {"ip": "192.0.2.7", "hostnames": ["other"]},
    {"maxSkew": 7, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
    {"name": "OTHER", "value": "x"},
    {"podSelector": {"matchLabels": {"app": "other"}}},
)


@functools.cache
def of_variant(name: str) -> dict[str, Any]:
    """All values of a variant, as the templates see them."""
    return merged(load(CHART / "values.yaml"), load(VARIANTS[name]))


@functools.cache
def schema() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return document


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge values as helm does: maps are joined, all else is replaced."""
    both = {
        key: merged(below[key], value)
        for key, value in above.items()
        if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
    }
    return {**below, **above, **both}


def nested(path: ValuePath, value: Any, within: Any) -> Any:
    """The values that set ``value`` at ``path``; lists on the way are copied from ``within``."""
    if not path:
        return value
    step, *rest = path
    inner = nested(tuple(rest), value, within[step] if _has(within, step) else {})
    if isinstance(step, int):
        return [*within[:step], inner, *within[step + 1 :]]
    return {step: inner}


def at(values: Any, path: ValuePath) -> Any:
    """The value at a path, or None."""
    for step in path:
        if not _has(values, step):
            return None
        values = values[step]
    return values


def _has(within: Any, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(within, list) and step < len(within)
    return isinstance(within, Mapping) and step in within


def dotted(path: ValuePath) -> str:
    return ".".join(map(str, path))


def objects_of(values: Any, path: ValuePath = ()) -> Iterator[tuple[ValuePath, Schema]]:
    """Every map in the values with its schema, outer maps first."""
    if isinstance(values, Mapping):
        yield path, subschema(path)
        for key, inner in values.items():
            if _declares(subschema(path), key):
                yield from objects_of(inner, (*path, key))
    elif isinstance(values, list):
        for index, inner in enumerate(values):
            yield from objects_of(inner, (*path, index))


def leaves(values: Any, path: ValuePath = ()) -> Iterator[ValuePath]:
    """Every knob of the values or the schema: a value that is no map, or a map set as a whole."""
    node = subschema(path)
    if not is_closed(node):
        yield path
        return
    values = values if isinstance(values, Mapping) else {}
    for key in dict.fromkeys([*values, *node.get("properties", {})]):
        yield from leaves(values.get(key), (*path, key))


def is_closed(node: Schema) -> bool:
    return node.get("additionalProperties") is False


def _declares(node: Schema, key: str) -> bool:
    return key in node.get("properties", {})


def subschema(path: ValuePath) -> Schema:
    """The schema at a path. Raises KeyError when the schema does not declare the path."""
    node = _resolved(schema())
    for step in path:
        node = _step(node, step)
    return node


def _step(node: Schema, step: str | int) -> Schema:
    for branch in _branches(node):
        if isinstance(step, int) and isinstance(branch.get("items"), Mapping):
            return _resolved(branch["items"])
        if step in branch.get("properties", {}):
            return _resolved(branch["properties"][step])
        if isinstance(step, str) and isinstance(branch.get("additionalProperties"), Mapping):
            return _resolved(branch["additionalProperties"])
    raise KeyError(step)


def _branches(node: Schema) -> Iterator[Schema]:
    yield node
    for word in ("allOf", "anyOf", "oneOf"):
        for branch in node.get(word, []):
            yield from _branches(_resolved(branch))


def _resolved(node: Schema) -> Schema:
    while "$ref" in node:
        rest = {word: value for word, value in node.items() if word != "$ref"}
        target: Any = schema()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = {**target, **rest}
    return node


def is_valid(node: Schema, value: Any) -> bool:
    whole = {**node, "definitions": schema()["definitions"]}
    return bool(Draft7Validator(whole).is_valid(value))


def others(path: ValuePath, value: Any) -> list[Any]:
    """Settings for a knob that the schema allows and that differ from its present one."""
    node = subschema(path)
    return [other for other in _candidates(node, value) if other != value and is_valid(node, other)]


def _candidates(node: Schema, value: Any) -> Iterator[Any]:
    for branch in _branches(node):
        yield from branch.get("enum", [])
        if "const" in branch:
            yield branch["const"]
        if "minimum" in branch:
            yield branch["minimum"] + 1
    if isinstance(value, bool):
        yield not value
        return
    if isinstance(value, int | float):
        yield from (value + 1, value - 1, value * 2, value / 2)
        return
    if isinstance(value, str):
        # The last number in it: of a quantity, a version, a schedule.
        yield re.sub(r"\d+(?=\D*$)", lambda match: str(int(match[0]) + 1), value)
        yield f"{value}-other"
    if isinstance(value, list):
        yield from ([], [*value, *value[-1:]])
        yield from ([*value, item] for item in _ITEMS)
        return
    if isinstance(value, Mapping):
        yield from ({**value, "example.com/other": "other"}, {**value, "cpu": "7"})
        yield {**value, "other": {"matchLabels": {"app": "other"}}}
        return
    yield from _WORDS
    yield from (True, 7, 0.7)
    yield from ([item] for item in _ITEMS)
    yield from ({"example.com/other": "other"}, {"app": "other"})


def wrong(path: ValuePath) -> Any:
    """A setting that the schema refuses for the knob. Raises StopIteration if it allows any."""
    node = subschema(path)
    return next(other for other in ("a word", {"a": "map"}, 7) if not is_valid(node, other))
