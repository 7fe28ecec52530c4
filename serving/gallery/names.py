"""The texts that a person may have: which names, and how much metadata.

One rule for all ways in: requests, imported files, folders of photos and commands.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any

NAME_CHARACTERS = 200
METADATA_BYTES = 4096
# Requests cannot bring more levels, and answers cannot tell many more.
METADATA_LEVELS = 200

# They reorder the text around them, so that a list shows another name than is stored: the marks,
# embeddings, overrides and isolates that Unicode calls Bidi_Control.
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# Letters and symbols by their category, but drawn as nothing: fillers of Hangul, and the empty
# pattern of Braille.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def name_problem(name: str) -> str | None:
    """Why ``name`` cannot be a person's name, as a sentence; None: it can.

    Any script is taken, also one that this Python's Unicode tables do not know yet.
    """
    if not 1 <= len(name) <= NAME_CHARACTERS:
        return f"A name has 1 to {NAME_CHARACTERS} characters."
    if name.isascii() and name.isprintable():
        return None if name.strip() else "A name needs a character that can be seen."
    categories = [unicodedata.category(c) for c in name]
    if "Cs" in categories:
        return "A name is Unicode text, without half a surrogate pair."
    # Separators of lines and paragraphs break a line as a control character does.
    if not {"Cc", "Zl", "Zp"}.isdisjoint(categories):
        return "A name has no control characters."
    if not _BIDIRECTIONAL.isdisjoint(name):
        return "A name has no characters that change the direction of the text."
    if not any(map(_is_seen, name, categories)):
        return "A name needs a character that can be seen."
    return None


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
    """Why a person cannot have these details, of the keys ``name`` and ``metadata``, each of which
    may be missing or None."""
    name, metadata = details.get("name"), details.get("metadata")
    if name is not None:
        problem = name_problem(name) if isinstance(name, str) else "A name is text."
        if problem is not None:
            return problem
    if metadata is not None:
        return (
            metadata_problem(metadata) if isinstance(metadata, dict) else "Metadata is an object."
        )
    return None


def _is_seen(character: str, category: str) -> bool:
    if category in ("Cn", "Co"):  # not assigned, as far as known here; or of a private font
        return not ("\U000e0000" <= character <= "\U000e0fff" or ord(character) & 0xFFFE == 0xFFFE)
    return category[0] in "LNPS" and character not in _BLANK
