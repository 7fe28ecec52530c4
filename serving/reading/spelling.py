"""Sentences for options that are unknown or of the wrong kind, with the nearest right name.

Requests, configuration files and key files all report their mistakes by these.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from serving.reading.kinds import in_words, place_of

# A caller may make up names of any length, and of any characters.
_SHOWN = 40


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that ``name`` is most probably meant to be, in whatever capitals."""
    by_small = {k.lower(): k for k in known}
    found = difflib.get_close_matches(name[:_SHOWN].lower(), by_small, n=1)
    return by_small[found[0]] if found else None


def unknown(name: str, known: Collection[str], of: str = "this request", within: str = "") -> str:
    """The sentence for an option that does not exist.

    Args:
        of: what has no such option.
        within: the path to the object that has the option, with a dot at its end.
    """
    sentence = f"{shown(within + name)} is no option of {of}"
    if (near := nearest(name, known)) is not None:
        return f"{sentence}; did you mean {within}{near}?"
    if not known:
        return f"{sentence}, which takes none here."
    return f"{sentence}; there are {', '.join(sorted(known))}."


def shown(text: str) -> str:
    """A caller's text for a sentence: not too long, and with nothing that a terminal obeys."""
    text = "".join(c if c.isprintable() else "?" for c in text[: _SHOWN + 1])
    return (text or '""') if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def sentence_of(
    errors: Sequence[ErrorDetails], model: type[BaseModel] | None, of: str = "this request"
) -> str:
    """What is wrong with the first few fields; without their values, which may be whole photos.

    Args:
        errors: of pydantic.
        model: what was read; None: not known, so no name can be proposed.
        of: what was read, for people.
    """
    fields: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for error in errors:  # of a field of several kinds there is one for each of them
        fields.setdefault(place_of(error["loc"], model), []).append(error)
    sentences = [_sentence(loc, found, model, of) for loc, found in list(fields.items())[:3]]
    return " ".join(s if s.endswith((".", "?")) else f"{s}." for s in sentences)


def problem_of(error: ValidationError, model: type[BaseModel], of: str) -> str:
    """`sentence_of` the errors of one validation."""
    return sentence_of(error.errors(include_url=False), model, of)


def _sentence(
    loc: tuple[int | str, ...],
    errors: Sequence[ErrorDetails],
    model: type[BaseModel] | None,
    of: str,
) -> str:
    error = errors[0]
    if error["type"] == "extra_forbidden" and model is not None:
        *path, name = loc
        within = "".join(f"{shown(str(part))}." for part in path)
        return unknown(str(name), _names_at(model, path), of, within)
    if error["type"] == "value_error":  # of our own validators, in our own words
        message = str(error["ctx"]["error"])
        if message[0].isupper():
            return message
    else:
        message = in_words(errors, model)
    # A request's body has no name; a file has the one that its reader gives it.
    whole = "the body" if of == "this request" else of
    return f"{'.'.join(shown(str(part)) for part in loc) or whole}: {message}"


def _names_at(model: type[BaseModel], path: Sequence[int | str]) -> Collection[str]:
    """The fields of the object at ``path`` inside of ``model``, as they are written."""
    at: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, str) and at is not None:
            fields = {field.alias or name: field for name, field in at.model_fields.items()}
            at = _model_in(fields[part].annotation) if part in fields else None
    return [] if at is None else [f.alias or name for name, f in at.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation is, or holds: ``list[Model]``, ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(inner) for inner in get_args(annotation))
    return next((model for model in found if model is not None), None)
