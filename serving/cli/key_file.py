"""Adding an entry to a key file: all that stands in it, comments too, stays as it is."""

from __future__ import annotations

import json
import re

import yaml

from serving.errors import InvalidInput
from serving.keys import Key, parse


def with_entry(text: str, entry: dict[str, object]) -> str:
    """The text of a key file with one more entry at the end of `keys`.

    Args:
        text: YAML or JSON.
        entry: of texts, numbers and lists of texts.

    Raises:
        InvalidInput: it is no key file, something in it is wrong, or has the name already; or
            nothing can be added without a change of the rest.
    """
    before = parse(text)
    (made,) = parse(yaml.safe_dump({"keys": [entry]}))
    if any(key.name == made.name for key in before):
        raise InvalidInput(f"It has an entry of the name {made.name} already.")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    keys = next(value for key, value in root.value if key.value == "keys")
    new = _inline(text, keys, entry) if _is_inline(root, keys) else _as_lines(text, keys, entry)
    if not _is(new, (*before, made)):
        raise InvalidInput("The entry cannot be added without changing the rest of the file.")
    return new


def _is(text: str, keys: tuple[Key, ...]) -> bool:
    try:
        return parse(text) == keys
    except InvalidInput:
        return False


def _is_inline(root: yaml.MappingNode, keys: yaml.SequenceNode) -> bool:
    """Whether the list is written in brackets, and stays so: an empty one of a YAML does not."""
    return bool(keys.flow_style and (keys.value or root.flow_style))


def _inline(text: str, keys: yaml.SequenceNode, entry: dict[str, object]) -> str:
    written = json.dumps(entry, ensure_ascii=False)
    if not keys.value:
        at = keys.start_mark.index + 1
        return f"{text[:at]}{written}{text[at:]}"
    at = keys.value[-1].end_mark.index
    return f"{text[:at]}, {written}{text[at:]}"


def _as_lines(text: str, keys: yaml.SequenceNode, entry: dict[str, object]) -> str:
    if keys.flow_style:  # [], instead of which the entry comes in the next line
        text = text[: keys.start_mark.index].rstrip(" ") + text[keys.end_mark.index :]
        at, column = keys.start_mark.index - 1, 0
    else:
        at, column = _end_of(keys), keys.start_mark.column
    # Behind what else the last line has, and the comments of the last entry.
    found = re.compile(rf"[^\n]*(?:\n {{{column + 1},}}#[^\n]*)*\n?").match(text, at)
    end = len(text) if found is None else found.end()
    line_end = "\r\n" if "\r\n" in text else "\n"
    head = text[:end] if text[:end].endswith("\n") else f"{text[:end]}{line_end}"
    lines = yaml.safe_dump([entry], sort_keys=False, allow_unicode=True).splitlines()
    return head + "".join(f"{' ' * column}{line}{line_end}" for line in lines) + text[end:]


def _end_of(node: yaml.Node) -> int:
    """Where the last value of a node ends: a list's own end is behind the comments after it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end_of(last[1] if isinstance(node, yaml.MappingNode) else last)
    return int(node.end_mark.index)
