"""A network, and what its card says of where it comes from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
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


class Embedding(nn.Module):
    """Crops, uint8 RGB (N, 3, size, size), to embeddings, float32 (N, dimension), unit length.

    Args:
        layers: the network itself, without what `prepared` does.
    """

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def prepared(self, crops: torch.Tensor) -> torch.Tensor:
        """What the layers take, float32."""
        raise NotImplementedError


class Half(nn.Module):
    """An embedding whose layers compute in float16, for GPUs."""

    def __init__(self, of: Embedding) -> None:
        super().__init__()
        self.of = copy.deepcopy(of)
        self.of.layers.half()

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.of.layers(self.of.prepared(crops).half())
        # Again or for the first time: in float16 a length is 1 only nearly.
        return nn.functional.normalize(vectors.float())


@dataclass(frozen=True)
class Network:
    """A network with its weights.

    Attributes:
        module: uint8 RGB (N, 3, size, size) -> float32 (N, dimension), unit length.
        tensors: the weights by name, those that the model's id is a hash of.
    """

    origin: Origin
    module: Embedding
    tensors: Mapping[str, NDArray[np.float32]]
