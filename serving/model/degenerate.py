"""Degenerate embeddings: those of faces that show nothing to recognise, which are all alike.

A network embeds mosaics, strong blur, black and white and the like near a few directions, whoever
is on the photo. ``degenerate.json`` has them for the models that were measured;
``python -m tests.bench.poor FOLDER --write`` measures another one.
"""

from __future__ import annotations

import base64
import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Degenerate:
    """Directions of degenerate embeddings, float32 (K, D), unit length."""

    directions: NDArray[np.float32]

    def blankness(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """For each of embeddings (N, D) the cosine with the nearest direction: float32 (N,)."""
        # Rounding makes a little more than 1 of it.
        nearest: NDArray[np.float32] = np.minimum((vectors @ self.directions.T).max(axis=1), 1)
        return nearest

    def to_json(self) -> dict[str, str | int]:
        # A byte a number: the directions are means of hundreds of embeddings, and no finer.
        scaled = np.rint(self.directions / np.abs(self.directions).max() * 127).astype(np.int8)
        return {
            "count": len(self.directions),
            "int8": base64.b64encode(scaled.tobytes()).decode("ascii"),
        }

    @classmethod
    def from_json(cls, entry: dict[str, str | int]) -> Degenerate:
        numbers = np.frombuffer(base64.b64decode(str(entry["int8"])), np.int8)
        rows = numbers.reshape(int(entry["count"]), -1).astype(np.float32)
        return cls(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@functools.lru_cache(maxsize=8)
def degenerate_of(model: str) -> Degenerate | None:
    """Those of a model, by its id; None: it was not measured."""
    entry = json.loads(FILE.read_text()).get(model)
    return None if entry is None else Degenerate.from_json(entry)
