"""The model's card: the identity of an embedding model, and what its similarities mean.

The card travels inside Triton's model configuration, so every client that gets an embedding from
Triton can also read which model made it. ``triton/trace_model.py`` writes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import expit

from serving.model.impostors import Impostors


class Calibration(BaseModel):
    """Logistic calibration: probability = 1 / (1 + exp(-(slope * cosine + intercept)))."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: float = Field(gt=0)
    intercept: float
    gallery: int | None = Field(
        None, ge=1, description="people in the gallery that it is meant for; None: not known"
    )
    measured_on: str = Field(description="how many people and pairs of photos, and which prior")

    def probability(self, similarity: float) -> float:
        return float(expit(self.slope * similarity + self.intercept))


class Verification(BaseModel):
    """What a cosine between two photos (1:1) means, without the many strangers of a gallery."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(ge=-1, le=1, description="cosine from which on both are one person")
    calibration: Calibration


class Margin(BaseModel):
    """The cosine by which the nearest person has to exceed others for the model to decide.

    Where both are high enough for a name, the cosines of a photo with two records of its own person
    differ by no more than this in 95 of 100 cases.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cosine: float = Field(ge=0, le=1)
    measured_on: str


class ModelCard(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}@[0-9a-f]{12}$")
    source: str
    licence: str
    dimension: int = Field(ge=1)
    preprocessing: dict[str, Any]
    threshold: float = Field(ge=-1, le=1, description="cosine from which on a face is named")
    calibration: Calibration
    verification: Verification | None = Field(None, description="None: not measured")
    impostors: Impostors | None = Field(None, description="None: not measured")
    margin: Margin | None = Field(None, description="None: not measured")

    def confidence(self, similarity: float, people: int | None = None) -> float:
        """The probability that the best candidate, at this cosine, is the person.

        The more people are enrolled, the more similar is the best stranger among them. So the curve
        is shifted by the change of the cosine that 1% of the lookups of strangers reach.

        Args:
            people: the number enrolled; None: as many as the card was calibrated for.
        """
        return self.calibration.probability(similarity - self._shift(people))

    def even(self, people: int | None = None) -> float:
        """The cosine at which that probability is one half."""
        return self._shift(people) - self.calibration.intercept / self.calibration.slope

    def _shift(self, people: int | None) -> float:
        meant = self.calibration.gallery
        if not (people and meant and self.impostors):
            return 0.0
        return self.impostors.threshold(people, 0.01) - self.impostors.threshold(meant, 0.01)

    @property
    def pairs(self) -> Verification:
        """Threshold and calibration for two photos; those of a gallery where none were measured."""
        return self.verification or Verification(
            threshold=self.threshold, calibration=self.calibration
        )

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Raises ValueError when the text is no card, or one of a newer version."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            errors = error.errors()
            if any(e["type"] != "extra_forbidden" for e in errors):
                raise
            fields = ", ".join(".".join(map(str, e["loc"])) for e in errors)
            raise ValueError(
                f"a newer version of this software wrote this card, with {fields}; upgrade this one"
            ) from None

    def to_json(self, indent: int | None = None) -> str:
        return json.dumps(self.model_dump(exclude_none=True), indent=indent, ensure_ascii=False)

    def to_pbtxt(self) -> str:
        """The card as Triton's configuration holds it: a quoted protobuf text string."""
        # JSON's escapes, escaped once more, are valid inside a protobuf text string.
        return json.dumps(self.to_json(), ensure_ascii=False)


def model_id(
    name: str, tensors: Mapping[str, NDArray[Any]], preprocessing: Mapping[str, Any]
) -> str:
    """``<name>@<12 hex>``: a sha256 over all that determines an embedding, and nothing else.

    Args:
        tensors: the network's weights by name. Each counts with its name, shape and float32
            little-endian bytes, in the order of names; the file that carries them does not count,
            because its bytes differ with every tracing.
        preprocessing: from photo to network input; counts as canonical JSON.
    """
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[key], dtype="<f4")
        digest.update(f"{key} {list(tensor.shape)}\n".encode())
        digest.update(tensor.tobytes())
    digest.update(json.dumps(preprocessing, sort_keys=True, separators=(",", ":")).encode())
    return f"{name}@{digest.hexdigest()[:12]}"
