"""The texts that a person may have: which names, and how much metadata.

One rule for all ways in: requests, imported files, folders of photos and commands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from serving.gallery.retention import retention_problem
from serving.reading.names import name_problem

METADATA_BYTES = 4096
# Requests cannot bring more levels, and answers cannot tell many more.
METADATA_LEVELS = 200


def metadata_problem(metadata: Mapping[str, Any]) -> str | None:
    """Why ``metadata`` cannot be a person's, as a sentence; None: it can."""
    if _is_deeper(metadata, METADATA_LEVELS):
        return f"Metadata has at most {METADATA_LEVELS} levels of objects and lists."
    try:
        encoded = json.dumps(
            metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except (ValueError, TypeError):  # NaN; half a surrogate pair; no JSON
        return "Metadata is JSON: objects, lists, Unicode text, finite numbers."
    if len(encoded) > METADATA_BYTES:
        return f"Metadata has at most {METADATA_BYTES} bytes, as JSON in UTF-8 without blanks."
    return None


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and lists lie in each other on more than so many levels."""
    level = [value]
    for _ in range(levels + 1):
        inside = [v for v in level if isinstance(v, dict | list)]
        level = [v for of in inside for v in (of.values() if isinstance(of, dict) else of)]
        if not inside:
            return False
    return True


def details_problem(details: Mapping[str, Any]) -> str | None:
    """Why a person cannot have these details, of the keys ``name``, ``metadata`` and those of
    `serving.gallery.retention`, each of which may be missing or None."""
    name, metadata = details.get("name"), details.get("metadata")
    if name is not None:
        problem = name_problem(name) if isinstance(name, str) else "A name is text."
        if problem is not None:
            return problem
    if metadata is not None:
        problem = (
            metadata_problem(metadata) if isinstance(metadata, dict) else "Metadata is an object."
        )
        if problem is not None:
            return problem
    return retention_problem(details)
