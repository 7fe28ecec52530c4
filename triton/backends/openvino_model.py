"""Triton's `openvino` backend for a tritonserver that comes without it: OpenVINO, in Python.

Serves a model repository for the C++ backend unchanged: ``backend: "openvino"``,
``<version>/model.xml`` and ``model.bin``, inputs and outputs by the names of the model. It
understands those of that backend's parameters that such a repository needs: ``PERFORMANCE_HINT``,
``NUM_STREAMS``, ``INFERENCE_NUM_THREADS`` and ``HINT_BF16``. Threads otherwise:
``OMP_NUM_THREADS`` of tritonserver's environment.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import openvino as ov
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))  # where Triton does not look
import batch  # beside this file, as it is copied


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        batch.keep_private()
        config = json.loads(args["model_config"])
        self._inputs, self._outputs = config["input"], config["output"]
        path = Path(args["model_repository"]) / args["model_version"] / "model.xml"
        given = {key: value["string_value"] for key, value in config["parameters"].items()}
        settings = {
            key: given[key]
            for key in ("PERFORMANCE_HINT", "NUM_STREAMS", "INFERENCE_NUM_THREADS")
            if key in given
        }
        if threads := os.environ.get("OMP_NUM_THREADS"):
            settings.setdefault("INFERENCE_NUM_THREADS", threads)
        if given.get("HINT_BF16", "").upper() == "YES":
            settings["INFERENCE_PRECISION_HINT"] = "bf16"
        self._request = ov.Core().compile_model(path, "CPU", settings).create_infer_request()
        self._run(batch.zeros(self._inputs))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run all requests in one forward pass; one that does not fit into it fails alone."""
        return batch.execute(requests, self._inputs, self._outputs, self._run)

    def _run(self, inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
        named = {spec["name"]: array for spec, array in zip(self._inputs, inputs, strict=True)}
        answer = self._request.infer(named, share_inputs=True)
        return [answer[spec["name"]] for spec in self._outputs]
