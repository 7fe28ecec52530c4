"""Names of people and keys: text of any script, and nothing that misleads who reads it."""

from __future__ import annotations

import unicodedata

NAME_CHARACTERS = 200

# They reorder the text around them, so that a list shows another name than is stored: the marks,
# embeddings, overrides and isolates that Unicode calls Bidi_Control.
BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# Letters and symbols by their category, but drawn as nothing: fillers of Hangul, and the empty
# pattern of Braille.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def name_problem(name: str) -> str | None:
    """Why ``name`` cannot be a name, as a sentence; None: it can.

    Any script is taken, also one that this Python's Unicode tables do not know yet.
    """
    if not 1 <= len(name) <= NAME_CHARACTERS:
        return f"A name has 1 to {NAME_CHARACTERS} characters."
    if name in (".", ".."):
        # Clients and proxies take it for a step in the path: /subjects/. is all subjects.
        return f"A name is not {name}, which has another meaning in a path."
    if name.isascii() and name.isprintable():
        return None if name.strip() else "A name needs a character that can be seen."
    categories = [unicodedata.category(c) for c in name]
    if "Cs" in categories:
        return "A name is Unicode text, without half a surrogate pair."
    # Separators of lines and paragraphs break a line as a control character does.
    if not {"Cc", "Zl", "Zp"}.isdisjoint(categories):
        return "A name has no control characters."
    if not BIDIRECTIONAL.isdisjoint(name):
        return "A name has no characters that change the direction of the text."
    if not any(map(_is_seen, name, categories)):
        return "A name needs a character that can be seen."
    return None


def _is_seen(character: str, category: str) -> bool:
    if category in ("Cn", "Co"):  # not assigned, as far as known here; or of a private font
        return not ("\U000e0000" <= character <= "\U000e0fff" or ord(character) & 0xFFFE == 0xFFFE)
    return category[0] in "LNPS" and character not in _BLANK
