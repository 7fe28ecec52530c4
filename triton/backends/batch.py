"""One forward pass for all requests that Triton hands to a backend at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

Array = NDArray[Any]


def execute(
    requests: Sequence[Any],
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, Any]],
    run: Callable[[list[Array]], Sequence[Array]],
) -> list[Any]:
    """A response for each request; a request that does not fit into the batch fails alone.

    Args:
        inputs, outputs: of the model's configuration, in the order of ``run``.
        run: from the inputs, each (N, ...), to the outputs, each (N, ...).
    """
    responses: list[Any] = [None] * len(requests)
    taken: list[int] = []
    batches: list[list[Array]] = []
    for index, request in enumerate(requests):
        try:
            batches.append([_tensor(request, spec["name"]) for spec in inputs])
        except ValueError as error:
            responses[index] = _failed(str(error))
        else:
            taken.append(index)
    if not taken:
        return responses
    try:
        answers = run([np.concatenate(parts) for parts in zip(*batches, strict=True)])
    except Exception as error:
        # A model that fails must not bring down the server.
        for index in taken:
            responses[index] = _failed(f"{type(error).__name__}: {str(error).splitlines()[-1]}")
        return responses
    start = 0
    for index, arrays in zip(taken, batches, strict=True):
        end = start + len(arrays[0])
        responses[index] = pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(spec["name"], answer[start:end])
                for spec, answer in zip(outputs, answers, strict=True)
            ]
        )
        start = end
    return responses


def keep_private() -> None:
    """Remove the rights of other accounts to the memory that Triton and this process share.

    It holds crops, and Triton makes it readable to all accounts, whatever its umask.
    """
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is closed by now
            if os.readlink(descriptor).startswith("/dev/shm/"):
                os.fchmod(int(descriptor.name), 0o600)


def zeros(inputs: Sequence[dict[str, Any]]) -> list[Array]:
    """A batch of one for each input, to warm up: no caller should wait for that."""
    return [
        np.zeros(
            [1, *(int(d) for d in spec["dims"])],
            pb_utils.triton_string_to_numpy(spec["data_type"]),
        )
        for spec in inputs
    ]


def _tensor(request: Any, name: str) -> Array:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        raise ValueError(f"the input {name} is missing")
    array: Array = tensor.as_numpy()
    return array


def _failed(message: str) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
