"""Reads an ONNX file: its nodes, and its constants, of which quantised ones are dequantised.

It knows the part of the format that a chain of layers needs (the numbers of the fields are those of
ONNX's own onnx.proto); everything else in the file is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from serving.wheel_file import WeightsError

_FIELD = descriptor_pb2.FieldDescriptorProto
_INT, _FLOAT = _FIELD.TYPE_INT64, _FIELD.TYPE_FLOAT
_TEXT, _BYTES = _FIELD.TYPE_STRING, _FIELD.TYPE_BYTES
# Message -> field -> its number, its type or message, and whether there may be many.
_MESSAGES: dict[str, dict[str, tuple[int, Any, bool]]] = {
    "Model": {"graph": (7, "Graph", False)},
    "Graph": {"node": (1, "Node", True), "initializer": (5, "Tensor", True)},
    "Node": {
        "input": (1, _TEXT, True),
        "output": (2, _TEXT, True),
        "op_type": (4, _TEXT, False),
        "attribute": (5, "Attribute", True),
    },
    "Attribute": {
        "name": (1, _TEXT, False),
        "f": (2, _FLOAT, False),
        "i": (3, _INT, False),
        "t": (5, "Tensor", False),
        "ints": (8, _INT, True),
    },
    "Tensor": {
        "dims": (1, _INT, True),
        "data_type": (2, _FIELD.TYPE_INT32, False),
        "float_data": (4, _FLOAT, True),
        "int64_data": (7, _INT, True),
        "name": (8, _TEXT, False),
        "raw_data": (9, _BYTES, False),
    },
}
# By TensorProto.DataType, and the field with the numbers where they are not in raw_data.
_DTYPES = {1: ("<f4", "float_data"), 3: ("i1", ""), 7: ("<i8", "int64_data")}
Constant = NDArray[Any]


@dataclass(frozen=True)
class Node:
    """A layer; ``inputs`` and ``output`` are names, ``attributes`` numbers, or lists of them."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """The nodes that compute something of the input, in their order; and constants by name."""

    nodes: list[Node]
    constants: dict[str, Constant]


def read(path: Path) -> Graph:
    """Raises WeightsError when the file is no ONNX file, or has what this reader does not know."""
    model = _message_class("Model")()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        raise WeightsError(f"{path.name} is no ONNX file.") from None
    constants = {tensor.name: _array(tensor) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        layer = _node(node)
        known = [constants[name] for name in layer.inputs if name in constants]
        if len(known) < len(layer.inputs):
            nodes.append(layer)
        elif layer.op == "DequantizeLinear":
            axis, block_size = layer.attributes["axis"], layer.attributes["block_size"]
            constants[layer.output] = dequantised(*known, axis=axis, block_size=block_size)
        elif layer.op == "Reshape":
            constants[layer.output] = known[0].reshape(known[1].tolist())
        elif layer.op == "Constant":
            constants[layer.output] = layer.attributes["value"]
        else:
            raise WeightsError(f"{path.name} computes a constant by {layer.op}.")
    return Graph(nodes, constants)


def dequantised(
    values: Constant, scales: Constant, zeros: Constant, *, axis: int, block_size: int
) -> NDArray[np.float32]:
    """ONNX's DequantizeLinear of blocks: each ``block_size`` values along ``axis`` share a scale
    and a zero point. One product of two float32 numbers each, so the result is the same anywhere.
    """
    scale, zero = (np.repeat(each, block_size, axis) for each in (scales, zeros))
    if scale.shape != values.shape or zero.shape != values.shape:
        raise WeightsError("The file's scales do not fit to its quantised weights.")
    result: NDArray[np.float32] = (values.astype(np.float32) - zero.astype(np.float32)) * scale
    return result


def _node(node: Any) -> Node:
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.HasField("t"):
            attributes[attribute.name] = _array(attribute.t)
        elif attribute.HasField("f"):
            attributes[attribute.name] = attribute.f
        elif attribute.HasField("i"):
            attributes[attribute.name] = attribute.i
        else:
            attributes[attribute.name] = list(attribute.ints)
    return Node(node.op_type, tuple(node.input), node.output[0], attributes)


def _array(tensor: Any) -> Constant:
    if tensor.data_type not in _DTYPES:
        raise WeightsError(f"The tensor {tensor.name} has the type {tensor.data_type}.")
    dtype, field = _DTYPES[tensor.data_type]
    if tensor.raw_data or not field:
        values = np.frombuffer(tensor.raw_data, dtype)
    else:
        values = np.array(getattr(tensor, field), dtype)
    return values.reshape(list(tensor.dims))


def _message_class(name: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="onnx_file.proto", package="onnx_file")
    for title, fields in _MESSAGES.items():
        message = file.message_type.add(name=title)
        for field, (number, kind, many) in fields.items():
            label = _FIELD.LABEL_REPEATED if many else _FIELD.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = _FIELD.TYPE_MESSAGE, f".onnx_file.{kind}"
            else:
                added.type = kind
    # A pool of its own: the names of other packages' messages do not matter.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"onnx_file.{name}"))
