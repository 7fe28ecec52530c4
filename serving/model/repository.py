"""A traced model in the local model repository, as ``triton/trace_model.py`` writes it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from serving.model.card import ModelCard

MODEL = "1/model.pt"
CONFIG = "config.pbtxt"
CARD = "model.json"
# The file with the weights, of TorchScript or of OpenVINO, and the other files to run them.
_WEIGHTS: dict[str, tuple[str, ...]] = {MODEL: (), "1/model.bin": ("1/model.xml",)}
_SUMS = "1/model.sha256"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class ModelError(Exception):
    """A model cannot be read or published; the message says why and what to do."""


@dataclass(frozen=True)
class TracedModel:
    """A model that was read and verified.

    Args:
        files: their bytes by name, in the order in which they may appear to others: first the one
            with the weights, last the card.
        sha256: hex, of the weights.
    """

    card: ModelCard
    files: dict[str, bytes]
    sha256: str

    @property
    def weights(self) -> str:
        """The name of the file with the weights."""
        return next(iter(self.files))

    @property
    def texts(self) -> list[str]:
        """The names of the other files, in their order."""
        return list(self.files)[1:]

    @classmethod
    def read(cls, repository: Path, name: str) -> TracedModel:
        """The model of this name, verified by the sums that were written when it was traced.

        Raises:
            ModelError: it is not there, not traced, or not whole.
        """
        folder = repository / name
        if not _NAME.fullmatch(name) or not (folder / CARD).is_file():
            known = sorted(path.parent.name for path in repository.glob(f"*/{CARD}"))
            raise ModelError(
                f"There is no model {name!r} in {repository}; there are: {', '.join(known) or '-'}."
            )
        config, about = _read(folder / CONFIG), _read(folder / CARD)
        weights = weights_in(folder)
        if id_of(about) is None or weights is None:
            raise ModelError(f"{name} is not traced; run triton/trace_model.py (in {repository}).")
        try:
            card = ModelCard.from_json(about.decode())
        except ValueError as error:
            raise ModelError(f"{folder / CARD} is no card of a model: {error}") from None
        if card.name != name:
            raise ModelError(f"{folder / CARD} is the card of the model {card.name!r}.")
        if card.to_pbtxt() not in config.decode(errors="replace"):
            raise ModelError(
                f"{folder / CONFIG} holds another card than {CARD}; run triton/trace_model.py."
            )
        lines = _read(folder / _SUMS).decode(errors="replace").splitlines()
        sums = {part: sha256 for sha256, _, part in (line.partition("  ") for line in lines)}
        files: dict[str, bytes] = {}
        for part in (weights, *_WEIGHTS[weights]):
            files[part] = _read(folder / part)
            actual = hashlib.sha256(files[part]).hexdigest()
            expected = sums.get(part.removeprefix("1/"))
            if actual != expected:
                raise ModelError(
                    f"{folder / part} is damaged or half-written: its sha256 is {actual}, and "
                    f"{_SUMS} says {(expected or 'nothing')[:64]}; run triton/trace_model.py."
                )
        files |= {CONFIG: config, CARD: about}
        return cls(card, files, sums[weights.removeprefix("1/")])


def base_of(name: str) -> str:
    """The name that begins the model's id, of Triton's name of a model: OpenVINO and TorchScript in
    float32 and float16 run one model, with one id and one gallery."""
    return name.removesuffix("-openvino").removesuffix("-fp16")


def needs_torch(name: str) -> str:
    """What to tell who runs a model as TorchScript where PyTorch is not installed."""
    return (
        f"{name} is TorchScript, which needs PyTorch, and that is not installed: pip install "
        f"'facenet-serving[torch]', or take the same model for OpenVINO, {base_of(name)}-openvino."
    )


def weights_in(folder: Path) -> str | None:
    """The name of the file with the weights in a model's folder; None: it is not traced."""
    return next((name for name in _WEIGHTS if (folder / name).is_file()), None)


def id_of(card: bytes) -> str | None:
    """The id in a card, which may be of another version of this project; None: it has none."""
    try:
        fields = json.loads(card)
    except ValueError:
        return None
    model = fields.get("id") if isinstance(fields, dict) else None
    return model if isinstance(model, str) else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}); run triton/trace_model.py, which writes it."
        ) from None


REPOSITORY = Path(__file__).resolve().parents[2] / "triton" / "models"
