"""A traced model in the local model repository, as ``triton/trace_model.py`` writes it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from serving.model import ModelCard

# The files of a model, in the order in which they may appear to others.
MODEL = "1/model.pt"
CONFIG = "config.pbtxt"
CARD = "model.json"
_SUM = "1/model.sha256"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class ModelError(Exception):
    """A model cannot be read or published; one sentence that says why and what to do."""


@dataclass(frozen=True)
class TracedModel:
    """A model that was read and verified; ``files`` holds its bytes by name."""

    card: ModelCard
    files: dict[str, bytes]
    sha256: str  # hex, of model.pt

    @classmethod
    def read(cls, repository: Path, name: str) -> TracedModel:
        """The model of this name, verified by the sum that was written when it was traced.

        Raises:
            ModelError: it is not there, not traced, or not whole.
        """
        folder = repository / name
        if not _NAME.fullmatch(name) or not (folder / CARD).is_file():
            known = sorted(path.parent.name for path in repository.glob(f"*/{CARD}"))
            raise ModelError(
                f"There is no model {name!r} in {repository}; there are: {', '.join(known) or '-'}."
            )
        files = {CARD: _read(folder / CARD), CONFIG: _read(folder / CONFIG)}
        if id_of(files[CARD]) is None or not (folder / MODEL).is_file():
            raise ModelError(f"{name} is not traced; run triton/trace_model.py (in {repository}).")
        try:
            card = ModelCard.from_json(files[CARD].decode())
        except ValueError as error:
            raise ModelError(f"{folder / CARD} is no card of a model: {error}") from None
        if card.name != name:
            raise ModelError(f"{folder / CARD} is the card of the model {card.name!r}.")
        if card.to_pbtxt() not in files[CONFIG].decode(errors="replace"):
            raise ModelError(
                f"{folder / CONFIG} holds another card than {CARD}; run triton/trace_model.py."
            )
        expected = _read(folder / _SUM).decode(errors="replace").partition(" ")[0]
        files[MODEL] = _read(folder / MODEL)
        sha256 = hashlib.sha256(files[MODEL]).hexdigest()
        if sha256 != expected:
            raise ModelError(
                f"{folder / MODEL} is damaged or half-written: its sha256 is {sha256}, and "
                f"{_SUM} says {expected[:64] or 'nothing'}; run triton/trace_model.py."
            )
        return cls(card, files, sha256)


def id_of(card: bytes) -> str | None:
    """The id in a card, which may be of another version of this project; None: it has none."""
    try:
        found = json.loads(card)
    except ValueError:
        return None
    told = found.get("id") if isinstance(found, dict) else None
    return told if isinstance(told, str) else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}); run triton/trace_model.py, which writes it."
        ) from None
