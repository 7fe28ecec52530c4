"""What a benchmark asks of Triton without the service."""

from __future__ import annotations

import httpx
import numpy as np
import tritonclient.http as client
from numpy.typing import NDArray

MODELS = {
    "TorchScript": "facenet-casia-webface",
    "OpenVINO": "facenet-casia-webface-openvino",
}


class Triton:
    """One model on loopback, and one connection to it."""

    def __init__(self, port: int, model: str) -> None:
        self._model = model
        self._connection = client.InferenceServerClient(f"127.0.0.1:{port}")
        self._statistics = f"http://127.0.0.1:{port}/v2/models/{model}/stats"

    def infer(self, crops: NDArray[np.uint8]) -> object:
        tensor = client.InferInput("INPUT__0", list(crops.shape), "UINT8")
        tensor.set_data_from_numpy(crops)
        return self._connection.infer(self._model, [tensor])

    def computed(self) -> float:
        """Milliseconds of computing so far, copies of the tensors included."""
        (stats,) = httpx.get(self._statistics).json()["model_stats"]
        parts = ("compute_input", "compute_infer", "compute_output")
        return sum(int(stats["inference_stats"][part]["ns"]) for part in parts) / 1e6
