"""FaceNet: facenet-pytorch's InceptionResnetV1 with weights by name, or of a file."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import torch
from casia_graph import GRAPH, state_dict_of_graph
from facenet_pytorch import InceptionResnetV1
from network import Embedding, Network, Origin

from serving.wheel_file import WeightsError, fetch

# The steps from a photo to the network's input: those of serving/vision/decode.py,
# serving/vision/faces.py and TritonFaceNet.
PREPROCESSING: dict[str, Any] = {
    "orientation": "EXIF upright",
    "color": "RGB",
    "detector": "MTCNN box, no alignment",
    "margin": 14,
    "size": 160,
    "resize": "bilinear, antialiased",
    "standardise": "(x - 127.5) / 128",
}

# (source, licence) of the weights that are known by name.
_KNOWN = {
    "casia-webface": (
        "davidsandberg/facenet checkpoint 20180408-102900, Inception-ResNet-v1 on CASIA-WebFace "
        "(LFW 0.9905 as published)",
        "MIT (weights); CASIA-WebFace is a data set for research",
    ),
    "vggface2": (
        "davidsandberg/facenet checkpoint 20180402-114759, Inception-ResNet-v1 on VGGFace2, as "
        "converted by facenet-pytorch (LFW 0.9965 as published)",
        "MIT (weights); VGGFace2 is a data set for research",
    ),
}
# The first values of the embedding of linspace(-1, 1, 76800).view(1, 3, 160, 160).
_KNOWN_ANSWER = {
    "casia-webface": (-0.037753, 0.066719, 0.054426, -0.044434, 0.003378, -0.040096),
}


class TritonFaceNet(Embedding):
    """uint8 RGB (N, 3, 160, 160) -> float32 (N, 512) of unit length; the layers are an
    InceptionResnetV1.

    The crops come as uint8, a quarter of the bytes of float32; standardising belongs to the model.
    """

    def prepared(self, crops: torch.Tensor) -> torch.Tensor:
        # Convolutions on a CPU are about twice as fast in channels_last.
        x = crops.to(torch.float32).contiguous(memory_format=torch.channels_last)
        return (x - 127.5) / 128.0

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        unit: torch.Tensor = self.layers(self.prepared(crops))
        return unit


def origin_of(weights: str) -> Origin:
    source, licence = _KNOWN.get(weights, (f"weights of the user: {Path(weights).name}", "unknown"))
    return Origin(source, licence, dimension=512, preprocessing=PREPROCESSING)


def load(weights: str, cache: Path) -> Network:
    """FaceNet with these weights; known ones have to give their known embedding.

    Raises:
        WeightsError: see `load_network` and `check_known_answer`.
    """
    net = load_network(weights, cache)
    check_known_answer(net, weights)
    return network_of(net, weights)


def network_of(net: InceptionResnetV1, weights: str) -> Network:
    tensors = {
        key: tensor.numpy()
        for key, tensor in net.state_dict().items()
        if not key.startswith("logits.") and not key.endswith("num_batches_tracked")
    }
    return Network(origin_of(weights), TritonFaceNet(net), tensors)


def load_network(weights: str, cache: Path) -> InceptionResnetV1:
    """The network in eval mode with the weights loaded.

    Raises:
        WeightsError: they cannot be read or downloaded, or do not fit the network.
    """
    net = InceptionResnetV1().eval()
    # The classifier of the training set's people: random until loaded, and not used.
    expected = {k for k in net.state_dict() if not k.startswith("logits.")}
    if weights == "casia-webface":
        state = state_dict_of_graph(fetch(GRAPH, cache))
    elif weights == "vggface2":
        state = _download_vggface2()
    else:
        state = _read_state(Path(weights))
    state = {k: v for k, v in state.items() if not k.startswith("logits.")}
    counters = {k for k in expected if k.endswith("num_batches_tracked")}
    missing, unknown = expected - counters - state.keys(), state.keys() - expected
    if missing or unknown:
        names = sorted(missing or unknown)[:3]
        raise WeightsError(
            f"These are no weights of InceptionResnetV1: {len(missing)} tensors are missing and "
            f"{len(unknown)} are unknown, among them {', '.join(names)}."
        )
    try:
        net.load_state_dict(state, strict=False)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise WeightsError(f"A tensor has the wrong shape: {detail}") from error
    return net


def _download_vggface2() -> dict[str, torch.Tensor]:
    try:
        state: dict[str, torch.Tensor] = InceptionResnetV1(pretrained="vggface2").state_dict()
        return state
    except (OSError, urllib.error.URLError) as error:
        raise WeightsError(
            f"facenet-pytorch cannot download the vggface2 weights ({error}); use --weights "
            "casia-webface, which comes with pip, or the path of a state_dict."
        ) from error


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise WeightsError(
            f"There is no file {path}; known weights are {', '.join(_KNOWN)}, sface."
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path} holds no state_dict that can be read safely.") from error
    if not isinstance(loaded, dict) or not all(
        isinstance(v, torch.Tensor) for v in loaded.values()
    ):
        raise WeightsError(f"{path} holds no state_dict: a mapping of names to tensors.")
    return loaded


def check_known_answer(net: InceptionResnetV1, weights: str) -> None:
    """Raises WeightsError when known weights do not give their known embedding."""
    if weights not in _KNOWN_ANSWER:
        return
    with torch.inference_mode():
        probe = torch.linspace(-1, 1, 3 * 160 * 160).view(1, 3, 160, 160)
        answer = net(probe)[0, : len(_KNOWN_ANSWER[weights])]
    difference = (answer - torch.tensor(_KNOWN_ANSWER[weights])).abs().max().item()
    if difference > 2e-5:
        raise WeightsError(f"The weights {weights} give another embedding: off by {difference:g}.")
