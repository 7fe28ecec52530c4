"""A traced model run in this process, by TorchScript or OpenVINO as Triton runs it."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from serving.model.repository import MODEL, ModelError, needs_torch, weights_in

_LOCK = threading.Lock()

# Crops, uint8 RGB (N, 3, S, S) as the card has them, to embeddings, float32 (N, D), unit length.
Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def load(folder: Path) -> Embed:
    """The model in a folder of the repository. Raises ModelError when it cannot be run."""
    try:
        return _torch_script(folder) if weights_in(folder) == MODEL else _openvino(folder)
    except RuntimeError as error:
        raise ModelError(f"{folder.name} cannot be loaded: {str(error)[:200]}") from None


def core() -> ov.Core:
    """OpenVINO's core for models; it stays as long as the process, or a signal would end that, see
    `serving.vision.openvino_core`."""
    with _LOCK:
        return _core()


@functools.cache
def _core() -> ov.Core:
    return ov.Core()


def _torch_script(folder: Path) -> Embed:
    # Here, since it takes seconds to load, and OpenVINO has no use for it.
    try:
        import torch
    except ModuleNotFoundError:
        raise ModelError(needs_torch(folder.name)) from None

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit", FutureWarning)
        warnings.filterwarnings("ignore", r"`torch\.jit", DeprecationWarning)
        module = torch.jit.load(str(folder / MODEL), map_location="cpu")  # type: ignore[no-untyped-call]

    def run(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            vectors: NDArray[np.float32] = module(torch.from_numpy(crops)).numpy()
        return vectors

    return run


def _openvino(folder: Path) -> Embed:
    settings = {"INFERENCE_PRECISION_HINT": "bf16"}  # as config.pbtxt has it
    model = core().compile_model(folder / "1" / "model.xml", "CPU", settings)

    def run(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model(crops)[0]
        return vectors

    return run
