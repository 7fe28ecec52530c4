"""Requests of benchmarks to Triton, without the service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tritonclient.http as client
from numpy.typing import NDArray

from serving.stack import triton

MODELS = {
    "TorchScript": "facenet-casia-webface",
    "OpenVINO": "facenet-casia-webface-openvino",
}


class Triton:
    """One model of the Triton of a stack's folder, and one connection to it."""

    def __init__(self, folder: Path, model: str) -> None:
        self._model = f"/v2/models/{model}"
        self._connection = triton.client(folder)

    def infer(self, crops: NDArray[np.uint8]) -> object:
        tensor = client.InferInput("INPUT__0", list(crops.shape), "UINT8")
        tensor.set_data_from_numpy(crops)
        # NVIDIA's client builds the request, but cannot send it through a Unix socket.
        body, header = client.InferenceServerClient.generate_request_body([tensor])
        answer = self._connection.post(
            f"{self._model}/infer",
            content=body,
            headers={"Inference-Header-Content-Length": str(header)},
            timeout=60,
        ).raise_for_status()
        return client.InferenceServerClient.parse_response_body(
            answer.content,
            header_length=int(answer.headers["Inference-Header-Content-Length"]),
        )

    def computed(self) -> float:
        """Milliseconds of computation so far, copies of the tensors included."""
        (stats,) = self._connection.get(f"{self._model}/stats").json()["model_stats"]
        parts = ("compute_input", "compute_infer", "compute_output")
        return sum(int(stats["inference_stats"][part]["ns"]) for part in parts) / 1e6
