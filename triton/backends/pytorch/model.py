"""Triton's `pytorch` backend for a tritonserver that comes without it: TorchScript, in Python.

Serves a model repository that is written for the C++ backend unchanged: ``platform:
"pytorch_libtorch"``, ``<version>/model.pt``, inputs and outputs named ``<NAME>__<position>``.
Only what such a repository needs is here. Threads: ``OMP_NUM_THREADS`` of tritonserver's
environment, otherwise one a core; with a small ``GOMP_SPINCOUNT``, because threads that wait
spinning make each other many times slower as soon as anything else needs a core.

Python and torch are those of the ``python3`` that comes first in tritonserver's ``PATH``. Each
instance is a process of its own in tritonserver's process group: whoever kills tritonserver kills
the group, because an instance that was busy then can wait for its server for ever.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self._inputs = _by_position(config["input"])
        self._outputs = _by_position(config["output"])
        path = Path(args["model_repository"]) / args["model_version"] / "model.pt"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`torch\.jit", FutureWarning)
            model = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        self._model = model.eval()
        # TorchScript optimises during the first calls; no caller should wait for that.
        warm_up = [
            torch.zeros(
                [1, *(int(d) for d in spec["dims"])],
                dtype=torch.from_numpy(
                    np.empty(0, pb_utils.triton_string_to_numpy(spec["data_type"]))
                ).dtype,
            )
            for spec in self._inputs
        ]
        for _ in range(3):
            self._run(warm_up)

    def execute(self, requests: list[Any]) -> list[Any]:
        """All requests in one forward pass; a request that cannot be joined fails alone."""
        responses: list[Any] = [None] * len(requests)
        taken: list[int] = []
        batches: list[list[torch.Tensor]] = []
        for index, request in enumerate(requests):
            try:
                tensors = [self._tensor(request, spec) for spec in self._inputs]
            except ValueError as error:
                responses[index] = pb_utils.InferenceResponse(
                    error=pb_utils.TritonError(str(error))
                )
            else:
                taken.append(index)
                batches.append(tensors)
        if not taken:
            return responses
        try:
            outputs = self._run([torch.cat(parts) for parts in zip(*batches, strict=True)])
        except Exception as error:
            # A model that fails must not take the server with it.
            message = f"{type(error).__name__}: {str(error).splitlines()[-1]}"
            for index in taken:
                responses[index] = pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
            return responses
        start = 0
        for index, tensors in zip(taken, batches, strict=True):
            end = start + len(tensors[0])
            responses[index] = pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(spec["name"], output[start:end].numpy())
                    for spec, output in zip(self._outputs, outputs, strict=True)
                ]
            )
            start = end
        return responses

    def _run(self, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            answer = self._model(*inputs)
        return answer if isinstance(answer, tuple) else (answer,)

    @staticmethod
    def _tensor(request: Any, spec: dict[str, Any]) -> torch.Tensor:
        tensor = pb_utils.get_input_tensor_by_name(request, spec["name"])
        if tensor is None:
            raise ValueError(f"the input {spec['name']} is missing")
        # Triton's buffer is read-only and ends with the request.
        return torch.from_numpy(tensor.as_numpy().copy())


def _by_position(specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(specs, key=lambda spec: int(spec["name"].rpartition("__")[2]))
