"""Reading safetensors in place: the tensors are views of the bytes that were read.

The library's own `load` copies every tensor, so that a segment takes its size twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
}


def view(data: bytes) -> tuple[Mapping[str, str], dict[str, NDArray[Any]]]:
    """The metadata and the tensors, read-only, of a safetensors file in memory.

    A tensor keeps the whole of ``data`` in memory: copy what outlives the others.

    Raises:
        ValueError: the bytes are no safetensors, or hold a dtype that no segment has.
    """
    try:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        metadata = header.pop("__metadata__", {})
        body = memoryview(data)[start:]
        tensors = {name: _tensor(body, entry) for name, entry in header.items()}
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"no safetensors: {error!r}") from error
    if sum(tensor.nbytes for tensor in tensors.values()) != len(body):
        raise ValueError("no safetensors: it is cut off, or has gaps")
    return metadata, tensors


def _tensor(body: memoryview, entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
    first, end = entry["data_offsets"]
    if min((first, *shape)) < 0 or end - first != math.prod(shape) * dtype.itemsize:
        raise ValueError("no safetensors: the offsets are not those of the shape")
    if end > len(body):
        raise ValueError("no safetensors: it is cut off")
    return np.frombuffer(body[first:end], dtype).reshape(shape)
