"""Answers of the Open Inference Protocol v2: their JSON, and tensors as JSON or as binary data.

https://github.com/kserve/open-inference-protocol, with Triton's binary tensor data extension.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Parameters = dict[str, float | int | bool | str]


class ServerLiveResponse(BaseModel):
    live: bool


class ServerReadyResponse(BaseModel):
    ready: bool


class ServerMetadataResponse(BaseModel):
    name: str
    version: str
    extensions: list[str]


class MetadataTensor(BaseModel):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadataResponse(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[MetadataTensor]
    outputs: list[MetadataTensor]


class ModelReadyResponse(BaseModel):
    name: str
    ready: bool


class ResponseOutput(BaseModel):
    """A tensor; without ``data`` when it follows the JSON as binary data."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters | None = None
    data: list[Any] | None = None


class InferenceResponse(BaseModel):
    model_config = ConfigDict(protected_namespaces=())  # the protocol's names begin with model_

    id: str
    model_name: str
    model_version: str
    parameters: Parameters
    outputs: list[ResponseOutput]


def with_tensors(
    answer: Mapping[str, Any], tensors: Sequence[tuple[str, str, NDArray[Any], bool]]
) -> tuple[bytes | dict[str, Any], int | None]:
    """The answer with its outputs: JSON and None, or JSON with binary data and the JSON's length.

    Args:
        answer: its other fields.
        tensors: name, datatype, values, and whether they go as binary data. A tensor of BYTES is of
            objects, which are bytes; in JSON they have to be UTF-8.
    """
    outputs: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, datatype, values, binary in tensors:
        output: dict[str, Any] = {
            "name": name,
            "shape": list(values.shape),
            "datatype": datatype,
        }
        if binary:
            parts.append(_raw(values, datatype))
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            output["data"] = _data(values, datatype)
        outputs.append(output)
    body = {**answer, "outputs": outputs}
    if not parts:
        return body, None
    head = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join([head, *parts]), len(head)


def _data(values: NDArray[Any], datatype: str) -> list[Any]:
    flat: list[Any] = values.ravel().tolist()
    return [element.decode() for element in flat] if datatype == "BYTES" else flat


def _raw(values: NDArray[Any], datatype: str) -> bytes:
    """Numbers little-endian; of BYTES each element's length, 4 bytes, and its bytes."""
    if datatype != "BYTES":
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    elements: list[bytes] = values.ravel().tolist()
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)
