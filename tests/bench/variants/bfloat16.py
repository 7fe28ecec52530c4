"""The embedding model in bfloat16, run by OpenVINO."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray

from serving.torchscript import converted

_BATCH = 16


class Bfloat16:
    """A traced model; ``precision`` is the one that the processor really uses."""

    def __init__(self, file: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`torch\.jit")
            module = torch.jit.load(str(file))  # type: ignore[no-untyped-call]
        model = converted(module)
        model.inputs[0].get_node().set_element_type(ov.Type.u8)
        model.reshape([-1, 3, 160, 160])
        settings = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": 2}
        self._compiled = ov.Core().compile_model(model, "CPU", settings)
        self.precision: str = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()

    def vectors(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The embeddings of crops, uint8 RGB (N, 3, 160, 160): (N, D), unit length."""
        parts = [
            self._compiled([crops[start : start + _BATCH]])[0]
            for start in range(0, len(crops), _BATCH)
        ]
        return np.concatenate(parts)
