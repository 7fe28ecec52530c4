"""Triton's `pytorch` backend for a tritonserver that comes without it: TorchScript, in Python.

Serves a model repository for the C++ backend unchanged: ``platform: "pytorch_libtorch"``,
``<version>/model.pt``, inputs and outputs named ``<NAME>__<position>``. It has only the features
that such a repository needs. An instance that Triton gives a GPU computes on it. Threads:
``OMP_NUM_THREADS`` of tritonserver's environment, otherwise one per core; with a small
``GOMP_SPINCOUNT``, because threads that spin while they wait slow each other down many times as
soon as another process needs a core.

Python and torch are those of the first ``python3`` in tritonserver's ``PATH``. Each instance is a
process of its own in tritonserver's process group. To kill tritonserver, kill the group: an
instance that was busy can otherwise wait for its server for ever.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))  # where Triton does not look
import batch  # beside this file, as it is copied


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        batch.keep_private()
        config = json.loads(args["model_config"])
        self._inputs = _by_position(config["input"])
        self._outputs = _by_position(config["output"])
        path = Path(args["model_repository"]) / args["model_version"] / "model.pt"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`torch\.jit", FutureWarning)
            model = torch.jit.load(str(path), map_location=_device(args))  # type: ignore[no-untyped-call]
        self._model = model.eval()
        self._device = _device(args)
        pb_utils.Logger.log_info(f"{args['model_name']} computes on {self._device}")
        for _ in range(3):  # TorchScript optimises during the first calls
            self._run(batch.zeros(self._inputs))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run all requests in one forward pass; one that does not fit into it fails alone."""
        return batch.execute(requests, self._inputs, self._outputs, self._run)

    def _run(self, inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
        with torch.inference_mode(), warnings.catch_warnings():
            # Triton's buffers are read-only, and nothing here writes into them.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            answer = self._model(*(torch.from_numpy(array).to(self._device) for array in inputs))
        answers = answer if isinstance(answer, tuple) else (answer,)
        return [np.asarray(tensor.cpu().numpy()) for tensor in answers]


def _device(args: dict[str, str]) -> str:
    """Where this instance computes: on the GPU that Triton gives it, if torch can use that."""
    if args["model_instance_kind"] == "GPU" and torch.cuda.is_available():
        return f"cuda:{args['model_instance_device_id']}"
    return "cpu"


def _by_position(specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(specs, key=lambda spec: int(spec["name"].rpartition("__")[2]))
