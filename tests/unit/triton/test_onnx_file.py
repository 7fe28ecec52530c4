"""ONNX files: what is read of them, and that quantised weights get back their numbers."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
# The folder is no package, and must not be: torch imports a compiler package named triton.
sys.path.insert(0, str(ROOT / "triton"))

import onnx_file  # noqa: E402

from serving.wheel_file import WeightsError  # noqa: E402


def field(number: int, content: bytes | str | int) -> bytes:
    """A field as protobuf writes it; numbers below 128, and at most 16,383 bytes."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    data = content.encode() if isinstance(content, str) else content
    return bytes([number << 3 | 2, len(data) & 127 | 128, len(data) >> 7]) + data


def tensor(name: str, dtype: int, values: bytes, *shape: int) -> bytes:
    dims = b"".join(field(1, side) for side in shape)
    return field(5, dims + field(2, dtype) + field(8, name) + field(9, values))


def node(op: str, output: str, *inputs: str, **attributes: int) -> bytes:
    names = b"".join(field(1, name) for name in inputs) + field(2, output)
    told = b"".join(field(5, field(1, k) + field(3, v)) for k, v in attributes.items())
    return field(1, names + field(4, op) + told)


def file(folder: Path, *parts: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(field(7, b"".join(parts)))
    return path


# Two rows of four 8-bit numbers, in blocks of two.
QUANTISED = (
    tensor("q", 3, bytes([1, 2, 3, 4, 0xFF, 0, 1, 2]), 2, 4),
    tensor("s", 1, struct.pack("<4f", 0.5, 2, 1, 10), 2, 2),
    tensor("z", 3, bytes([1, 0, 0xFF, 2]), 2, 2),
)
BLOCKS = {"axis": 1, "block_size": 2}


def test_quantised_weights_get_back_their_numbers(tmp_path: Path) -> None:
    shape = tensor("to", 7, struct.pack("<3q", 2, 2, 2), 3)
    path = file(
        tmp_path,
        *QUANTISED,
        shape,
        node("DequantizeLinear", "w", "q", "s", "z", **BLOCKS),
        node("Reshape", "w3", "w", "to"),
        node("Conv", "y", "x", "w3", group=3),
    )
    graph = onnx_file.read(path)
    assert graph.constants["w"].tolist() == [[0, 0.5, 6, 8], [0, 1, -10, 0]]
    assert graph.constants["w"].dtype == np.float32
    assert graph.constants["w3"].shape == (2, 2, 2)
    assert graph.nodes == [onnx_file.Node("Conv", ("x", "w3"), "y", {"group": 3})]


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((tensor("d", 11, b"12345678", 1),), "has the type 11"),
        ((*QUANTISED, node("Relu", "r", "q")), "computes a constant by Relu"),
        (
            (*QUANTISED, node("DequantizeLinear", "w", "q", "s", "z", axis=1, block_size=4)),
            "do not fit",
        ),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, parts: tuple[bytes, ...], why: str) -> None:
    with pytest.raises(WeightsError, match=why):
        onnx_file.read(file(tmp_path, *parts))


def test_a_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_bytes(b"no ONNX at all\xff\xff")
    with pytest.raises(WeightsError, match=r"text\.onnx is no ONNX file"):
        onnx_file.read(path)
