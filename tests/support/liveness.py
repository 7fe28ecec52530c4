"""A Triton with a model for liveness, in memory: what the metadata says and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.model.liveness import LivenessModel
from serving.settings import LivenessSettings, TritonSettings

Answer = Callable[[NDArray[Any]], "NDArray[Any] | None"]


def metadata(
    shape: tuple[int, ...] = (-1, 3, 8, 6),
    datatype: str = "FP32",
    outputs: tuple[str, ...] = ("O",),
) -> dict[str, Any]:
    return {
        "name": "spoof",
        "inputs": [{"name": "I", "datatype": datatype, "shape": list(shape)}],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, 2]} for name in outputs],
    }


def by_value(*attacks: int) -> Answer:
    """Logits of two classes: those crops are attacks whose pixels are full of these numbers."""

    def answer(crops: NDArray[Any]) -> NDArray[Any]:
        values = np.round(crops.reshape(len(crops), -1)[:, 0] * 255).astype(int)
        live = np.where(np.isin(values, attacks), -3.0, 3.0)
        logits: NDArray[np.float32] = np.stack([0 * live, live], axis=1).astype(np.float32)
        return logits

    return answer


class _Result:
    def __init__(self, output: NDArray[Any] | None) -> None:
        self._output = output

    def as_numpy(self, name: str) -> NDArray[Any] | None:
        return self._output


class LivenessTriton:
    """What speaks to it; the ``client`` of a `LivenessModel`."""

    def __init__(self, answer: Answer | None = None, **about: Any) -> None:
        self.metadata: Any = metadata(**about)
        self.answer = answer or by_value()
        self.seen: list[NDArray[Any]] = []
        self.asked: list[str] = []
        self.outputs: list[str] = []
        self.failure: Exception | None = None
        self.at_once = self.most_at_once = 0

    async def get_model_metadata(self, model: str) -> Any:
        assert model == "spoof"
        self._fail("metadata")
        return self.metadata

    async def infer(self, model: str, inputs: list[Any], outputs: list[Any]) -> _Result:
        assert model == "spoof"
        with self._one_more():
            await asyncio.sleep(0)
            self._fail("infer")
            (tensor,), (output,) = inputs, outputs
            kind = {"FP32": np.float32, "UINT8": np.uint8}[tensor.datatype()]
            crops = np.frombuffer(tensor._get_binary_data(), kind).reshape(tensor.shape())
            self.seen.append(crops)
            self.outputs.append(output.name())
            return _Result(self.answer(crops))

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            self.at_once -= 1

    def _fail(self, what: str) -> None:
        self.asked.append(what)
        if self.failure is not None:
            raise self.failure


def settings(**more: Any) -> LivenessSettings:
    return LivenessSettings.model_validate({"model": "spoof"} | more)


def model(triton: LivenessTriton, **more: Any) -> LivenessModel:
    return LivenessModel(settings(**more), TritonSettings(), client=triton)
