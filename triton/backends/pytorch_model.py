"""Triton's `pytorch` backend for a tritonserver that comes without it: TorchScript, in Python.

Serves a model repository for the C++ backend unchanged: ``platform: "pytorch_libtorch"``,
``<version>/model.pt``, inputs and outputs named ``<NAME>__<position>``. It has only the features
that such a repository needs. Threads: ``OMP_NUM_THREADS`` of tritonserver's environment, otherwise
one per core; with a small ``GOMP_SPINCOUNT``, because threads that spin while they wait slow each
other down many times as soon as another process needs a core.

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
            model = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        self._model = model.eval()
        for _ in range(3):  # TorchScript optimises during the first calls
            self._run(batch.zeros(self._inputs))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run all requests in one forward pass; one that does not fit into it fails alone."""
        return batch.execute(requests, self._inputs, self._outputs, self._run)

    def _run(self, inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
        with torch.inference_mode(), warnings.catch_warnings():
            # Triton's buffers are read-only, and nothing here writes into them.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            answer = self._model(*map(torch.from_numpy, inputs))
        answers = answer if isinstance(answer, tuple) else (answer,)
        return [np.asarray(tensor.numpy()) for tensor in answers]


def _by_position(specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(specs, key=lambda spec: int(spec["name"].rpartition("__")[2]))
