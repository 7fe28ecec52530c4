"""The card of a model in the repository: ``model.json``, and its copy that Triton serves."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from serving.evaluation.sample import NotMeasurable
from serving.model.card import ModelCard

_CARD = re.compile(r'(key: "card"\s+value \{ string_value: )"(?:[^"\\]|\\.)*"')


def write_card(path: Path, card: ModelCard) -> None:
    """Replace ``path`` (model.json) and the card in the ``config.pbtxt`` beside it.

    Each file is replaced atomically, Triton's first; after a crash in between, write again.

    Raises:
        NotMeasurable: there is no config.pbtxt with a card, or it cannot be written.
    """
    config = path.with_name("config.pbtxt")
    try:
        text = config.read_text(encoding="utf-8")
        updated, count = _CARD.subn(lambda match: match[1] + card.to_pbtxt(), text)
        if count != 1:
            raise NotMeasurable(f"{config} holds no card; run triton/trace_model.py.")
        _replace(config, updated)
        _replace(path, card.to_json(indent=2) + "\n")
    except OSError as error:
        file = error.filename or path
        raise NotMeasurable(f"{file} cannot be written: {error.strerror or error}.") from None


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
