"""Model repositories with one model in them, as `triton/trace_model.py` writes them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from serving.model.repository import CARD, CONFIG, MODEL
from tests.support.stages import CARD as FAKE

NAME = FAKE.name


def traced(repository: Path, model: bytes = b"TorchScript", threshold: float = 0.5) -> Path:
    """A repository with one model, as tracing writes it."""
    card = FAKE.model_copy(update={"threshold": threshold})
    folder = repository / card.name
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / CARD).write_text(card.to_json(indent=2) + "\n")
    (folder / CONFIG).write_text(f'parameters {{ key: "card" value {card.to_pbtxt()} }}\n')
    (folder / MODEL).write_bytes(model)
    digest = hashlib.sha256(model).hexdigest()
    (folder / "1/model.sha256").write_text(f"{digest}  model.pt\n")
    return repository


def of_openvino(repository: Path, weights: bytes = b"weights") -> Path:
    """As `traced`, for OpenVINO."""
    folder = traced(repository) / NAME / "1"
    (folder / "model.pt").unlink()
    parts = {"model.bin": weights, "model.xml": b"<net/>"}
    for name, data in parts.items():
        (folder / name).write_bytes(data)
    (folder / "model.sha256").write_text(
        "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in parts.items())
    )
    return repository
