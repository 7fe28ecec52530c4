"""A network, and what its card says of where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn


@dataclass(frozen=True)
class Origin:
    """What is known of weights, whether they are at hand or not.

    Attributes:
        preprocessing: the steps from a photo to the network's input. They are part of the model's
            id, since embeddings made with other steps are not comparable. ``size``: pixels of the
            crop's sides.
        dimension: numbers of an embedding.
    """

    source: str
    licence: str
    dimension: int
    preprocessing: Mapping[str, Any]

    @property
    def size(self) -> int:
        return int(self.preprocessing["size"])


@dataclass(frozen=True)
class Network:
    """A network with its weights.

    Attributes:
        module: uint8 RGB (N, 3, size, size) -> float32 (N, dimension), unit length.
        tensors: the weights by name, those that the model's id is a hash of.
    """

    origin: Origin
    module: nn.Module
    tensors: Mapping[str, NDArray[np.float32]]
