"""JSON and YAML in which no key comes twice, and numbers and booleans that are written in one way.

The usual parsers keep the last of two equal keys, and ``int`` also reads ``1_0``, `` 1`` and digits
of other scripts: what a slip of the pen leaves would count as if it were meant.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from serving.reading.spelling import shown

# -0 is 0, as in JSON.
INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,99})?(?:[eE][+-]?[0-9]{1,9})?")
BOOLEANS = {"true": True, "false": False}

_COLON = re.compile(rb"[ \t\n\r]*:")
_BRACES = re.compile(rb"[{}]")
_BACKSLASH = ord("\\")


class Twice(ValueError):
    """A key comes twice in one object."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is given twice")
        self.key = key


def load_json(text: str) -> Any:
    """Parse JSON of little size. Raises ValueError; `Twice` for a repeated key."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


def check_keys(body: bytes) -> None:
    """Raise `Twice` for a key that is repeated in one object.

    Args:
        body: JSON that was parsed without error. It is searched and not parsed again, since it may
            hold photos of many megabytes.
    """
    objects: list[set[str]] = []
    at = 0
    while (start := body.find(b'"', at)) >= 0:
        _braces(body, at, start, objects)
        at = _end_of_text(body, start)
        if _COLON.match(body, at) is not None:
            key = json.loads(body[start:at])
            if key in objects[-1]:
                raise Twice(key)
            objects[-1].add(key)


def _braces(body: bytes, start: int, end: int, objects: list[set[str]]) -> None:
    """Begin and end ``objects`` by the braces between two texts."""
    for brace in _BRACES.finditer(body, start, end):
        if brace[0] == b"{":
            objects.append(set())
        else:
            objects.pop()


def _end_of_text(body: bytes, start: int) -> int:
    """Where the text ends that begins with the quote at ``start``."""
    end = start
    while True:
        end = body.index(b'"', end + 1)
        before = end - 1
        while body[before] == _BACKSLASH:
            before -= 1
        if (end - before) % 2:  # no backslash before it, or pairs of them
            return end + 1


def load_yaml(text: str) -> Any:
    """Parse YAML as `yaml.safe_load` does, but for numbers that two people read as two.

    Raises yaml.YAMLError; `Twice` for a repeated key.
    """
    return yaml.load(text, _Loader)


@dataclass(frozen=True)
class Broken:
    """An entry of which no value can be made.

    Attributes:
        problem: what is wrong with it, without its content.
        texts: its plain fields and what they hold, as written; a repeated one comes as often.
    """

    problem: str
    texts: tuple[tuple[str, str], ...]


def load_entries(text: str, of: str) -> Any:
    """Parse YAML as `load_yaml`, with each entry of the document's list ``of`` read by itself: one
    that cannot be read is a `Broken`, and takes no other with it."""
    loader = _Loader(text)
    try:
        document = loader.get_single_node()
        read: list[Any] | None = None
        if isinstance(document, yaml.MappingNode):
            for place, (key, value) in enumerate(document.value):
                if key.value == of and isinstance(value, yaml.SequenceNode):
                    read = [_entry(entry) for entry in value.value]
                    empty = yaml.SequenceNode(value.tag, [], value.start_mark, value.end_mark)
                    document.value[place] = (key, empty)
        found: Any = None if document is None else loader.construct_document(document)
    finally:
        loader.dispose()
    if read is not None:
        found[of] = read
    return found


def _entry(node: yaml.Node) -> Any:
    try:
        # A copy, since merged keys (<<) are written into the node; other entries may name it.
        return _Loader("").construct_document(copy.deepcopy(node))
    except Exception as error:  # besides YAMLError whatever a number, a date or a tag brings about
        problem = "a value in it cannot be read"
        if isinstance(error, Twice):
            problem = f"{shown(error.key)} is given twice"
        fields = node.value if isinstance(node, yaml.MappingNode) else []
        texts = [
            (key.value, value.value)
            for key, value in fields
            if isinstance(key, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode)
        ]
        return Broken(problem, tuple(texts))


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Twice(key)
        found[key] = value
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


class _Loader(yaml.SafeLoader):
    """Numbers are read in the ways in which people write them, and others stay the text that they
    are: of YAML 1.1, 010 is 8, 1:30 is 90 and 1_0 is 10."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        # Merge keys (<<) may be overridden, and only what is written here counts.
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # refused below
            if key in seen:
                raise Twice(str(key))
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_timestamp(self, node: yaml.ScalarNode) -> Any:
        try:
            return super().construct_yaml_timestamp(node)
        except ValueError:  # a date or a zone that does not exist
            return node.value


_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_INT, _FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_timestamp)
_Loader.add_implicit_resolver(
    _INT, re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,99})$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"^(?:[-+]?(?:0|[1-9][0-9]*)\.[0-9]*(?:[eE][-+][0-9]+)?|[-+]?\.[0-9]+(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)
