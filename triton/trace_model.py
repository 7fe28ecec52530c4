"""Turn facenet-pytorch's InceptionResnetV1 into a model that Triton serves.

    python triton/trace_model.py --weights casia-webface
    python triton/trace_model.py --weights vggface2
    python triton/trace_model.py --weights my_weights.pt --name my-facenet
    python triton/trace_model.py --weights casia-webface --runtime openvino
    python triton/trace_model.py --weights vggface2 --no-model    # without a download

Writes ``<repository>/<model>/1/model.pt`` (TorchScript), ``config.pbtxt`` and ``model.json`` (the
card). Before it writes any of them, it verifies the export: TorchScript must give the embeddings of
the eager network, and known weights their known embedding. The card is also in ``config.pbtxt``,
where a client of Triton can read it.

For OpenVINO it writes ``<model>-openvino/1/model.xml`` and ``model.bin``. The model's id is the
same, since weights and preprocessing are: embeddings of both belong in one gallery.

With ``--no-model`` neither weights nor id are known: ``model.json`` says so, and ``config.pbtxt``
has no card; the service refuses a model without one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import urllib.error
import warnings
from pathlib import Path
from typing import Any

import openvino as ov
import torch
from casia_graph import WeightsError, fetch_graph, state_dict_of_graph
from facenet_pytorch import InceptionResnetV1
from torch import nn

from serving.model.card import ModelCard, model_id
from serving.model.repository import weights_in
from serving.torchscript import converted

ROOT = Path(__file__).resolve().parent
MAX_BATCH = 32
DIMENSION = 512

# The steps from a photo to the network's input: those of serving/vision/decode.py,
# serving/vision/faces.py and TritonFaceNet. They are part of the model's id, since embeddings made
# with other steps are not comparable.
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
# The values of a card until they are measured.
UNMEASURED: dict[str, Any] = {
    "threshold": 0.6,
    "calibration": {
        "slope": 20.0,
        "intercept": -11.0,
        "measured_on": "nothing: assumed from other FaceNet weights; run faces calibrate",
    },
}
# Fields that `faces calibrate` measures; tracing the same weights again must keep them.
_MEASURED = ("threshold", "calibration", "verification", "impostors", "margin")
_LIBTORCH, _OPENVINO = "torchscript", "openvino"
# The lines of config.pbtxt for each runtime. HINT_BF16: where the processor has bfloat16, it is
# twice as fast, and moves no embedding by more than 0.0002 in cosine.
_BACKENDS = {
    _LIBTORCH: ('platform: "pytorch_libtorch"', ""),
    _OPENVINO: (
        'backend: "openvino"',
        "".join(
            f'parameters {{\n  key: "{key}"\n  value {{ string_value: "{value}" }}\n}}\n'
            for key, value in (("PERFORMANCE_HINT", "LATENCY"), ("HINT_BF16", "YES"))
        ),
    ),
}
# The first values of the embedding of linspace(-1, 1, 76800).view(1, 3, 160, 160).
_KNOWN_ANSWER = {
    "casia-webface": (-0.037753, 0.066719, 0.054426, -0.044434, 0.003378, -0.040096),
}


class TritonFaceNet(nn.Module):
    """uint8 RGB (N, 3, 160, 160) -> float32 (N, 512) of unit length.

    The crops come as uint8, a quarter of the bytes of float32; standardising belongs to the model.
    """

    def __init__(self, net: InceptionResnetV1) -> None:
        super().__init__()
        self.net = net

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        # Convolutions on a CPU are about twice as fast in channels_last.
        x = crops.to(torch.float32).contiguous(memory_format=torch.channels_last)
        unit: torch.Tensor = self.net((x - 127.5) / 128.0)
        return unit


def load_network(weights: str, cache: Path) -> InceptionResnetV1:
    """The network in eval mode with the weights loaded.

    Raises:
        WeightsError: they cannot be read or downloaded, or do not fit the network.
    """
    net = InceptionResnetV1().eval()
    # The classifier of the training set's people: random until loaded, and not used.
    expected = {k for k in net.state_dict() if not k.startswith("logits.")}
    if weights == "casia-webface":
        state = state_dict_of_graph(fetch_graph(cache))
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
        raise WeightsError(f"There is no file {path}; known weights are {', '.join(_KNOWN)}.")
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


def trace(net: InceptionResnetV1) -> torch.jit.ScriptModule:
    """Frozen TorchScript of `TritonFaceNet`, equal to the eager network at any batch size."""
    module = TritonFaceNet(net).eval().to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    example = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8, generator=generator)
    with torch.inference_mode(), warnings.catch_warnings():
        # Triton's PyTorch backend runs TorchScript, so its deprecation does not matter.
        warnings.filterwarnings("ignore", r"`torch\.jit", FutureWarning)
        traced: torch.jit.ScriptModule = torch.jit.freeze(
            torch.jit.trace(module, example)  # type: ignore[no-untyped-call]
        )
        for batch in (1, 3, 8):
            crops = torch.randint(
                0, 256, (batch, 3, 160, 160), dtype=torch.uint8, generator=generator
            )
            difference = (traced(crops) - module(crops)).abs().max().item()
            if difference > 1e-5:
                raise WeightsError(f"The traced model is off by {difference:g} at batch {batch}.")
    return traced


def convert(traced: torch.jit.ScriptModule) -> ov.Model:
    """The same network for OpenVINO, equal to the TorchScript in float32 at any batch size."""
    model = converted(traced)
    model.inputs[0].get_node().set_element_type(ov.Type.u8)
    model.reshape([-1, 3, 160, 160])
    model.inputs[0].get_tensor().set_names({"INPUT__0"})
    model.outputs[0].get_tensor().set_names({"OUTPUT__0"})
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    generator = torch.Generator().manual_seed(0)
    for batch in (1, 3, 8):
        crops = torch.randint(0, 256, (batch, 3, 160, 160), dtype=torch.uint8, generator=generator)
        with torch.inference_mode():
            expected = traced(crops).numpy()
        difference = abs(compiled(crops.numpy())["OUTPUT__0"] - expected).max().item()
        if difference > 1e-5:
            raise WeightsError(f"The converted model is off by {difference:g} at batch {batch}.")
    return model


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


def _origin(weights: str) -> tuple[str, str]:
    return _KNOWN.get(weights, (f"weights of the user: {Path(weights).name}", "unknown"))


def card_of(
    net: InceptionResnetV1, name: str, weights: str, known: list[Path], served_as: str | None = None
) -> ModelCard:
    """The card. Measured values come from the first card file of ``known`` with the same weights.

    Args:
        served_as: Triton's name of the model, if not the card's.
    """
    source, licence = _origin(weights)
    tensors = {
        key: tensor.numpy()
        for key, tensor in net.state_dict().items()
        if not key.startswith("logits.") and not key.endswith("num_batches_tracked")
    }
    id_ = model_id(name, tensors, PREPROCESSING)
    measured = next((card for card in map(_read_card, known) if card.get("id") == id_), UNMEASURED)
    card = {
        "name": served_as or name,
        "id": id_,
        "source": source,
        "licence": licence,
        "dimension": DIMENSION,
        "preprocessing": PREPROCESSING,
    }
    return ModelCard.model_validate(card | {k: measured[k] for k in _MEASURED if k in measured})


def _read_card(path: Path) -> dict[str, Any]:
    """The fields of a card, even of one without an id; none when it cannot be read."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def write_model(
    repository: Path, card: ModelCard, module: torch.jit.ScriptModule | ov.Model
) -> Path:
    """Write the model's files, config.pbtxt and model.json; returns the model's folder."""
    folder = repository / card.name
    version = folder / "1"
    version.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=version) as scratch:
        if isinstance(module, ov.Model):
            ov.save_model(module, Path(scratch) / "model.xml", compress_to_fp16=False)
        else:
            module.save(str(Path(scratch) / "model.pt"))
        parts = sorted(Path(scratch).iterdir())
        # Beside the model, not in the card: the bytes differ with every tracing, the card does not.
        # The sums are written first and the model last, so an incomplete write fails their check.
        (version / "model.sha256").write_text(
            "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in parts)
        )
        (folder / "model.json").write_text(card.to_json(indent=2) + "\n")
        (folder / "config.pbtxt").write_text(
            config_pbtxt(card.name, card, _OPENVINO if isinstance(module, ov.Model) else _LIBTORCH)
        )
        # Replaced atomically: a server that reads the folder never sees half a file.
        for part in parts:
            os.replace(part, version / part.name)
    return folder


def write_without_model(repository: Path, name: str, weights: str) -> Path:
    """Write config.pbtxt and model.json of a model whose weights are not available."""
    folder = repository / name
    if weights_in(folder):
        raise WeightsError(f"{folder} holds a traced model, whose card must stay.")
    folder.mkdir(parents=True, exist_ok=True)
    source, licence = _origin(weights)
    known = {
        "name": name,
        "id": None,
        "missing": "model.pt, and the id, which is a hash of the weights: run "
        f"triton/trace_model.py --weights {weights} where they can be had",
        "source": source,
        "licence": licence,
        "dimension": DIMENSION,
        "preprocessing": PREPROCESSING,
        **UNMEASURED,
    }
    (folder / "model.json").write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n")
    (folder / "config.pbtxt").write_text(config_pbtxt(name, None))
    return folder


def config_pbtxt(name: str, card: ModelCard | None, runtime: str = _LIBTORCH) -> str:
    """Triton's configuration of the model; without a card where nothing is traced yet."""
    backend, parameters = _BACKENDS[runtime]
    if card is not None:
        parameters += (
            f'parameters {{\n  key: "card"\n  value {{ string_value: {card.to_pbtxt()} }}\n}}\n'
        )
    return f"""\
# Written by triton/trace_model.py together with model.json; a card below is the same.
name: "{name}"
{backend}
max_batch_size: {MAX_BATCH}
input {{
  name: "INPUT__0"
  data_type: TYPE_UINT8
  dims: [ 3, 160, 160 ]
}}
output {{
  name: "OUTPUT__0"
  data_type: TYPE_FP32
  dims: [ {DIMENSION} ]
}}
instance_group {{
  kind: KIND_AUTO
  count: 1
}}
# What finds the model free is computed at once; what has to wait, together.
dynamic_batching {{
  max_queue_delay_microseconds: 0
}}
{parameters}"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="casia-webface", help="casia-webface, vggface2, PATH")
    parser.add_argument("--name", help="the model's name; default: facenet-<weights>")
    parser.add_argument("--repository", type=Path, default=ROOT / "models")
    parser.add_argument("--cache", type=Path, default=ROOT.parent / ".cache" / "weights")
    parser.add_argument("--runtime", default=_LIBTORCH, choices=list(_BACKENDS))
    parser.add_argument("--if-missing", action="store_true", help="do nothing if it is traced")
    parser.add_argument("--no-model", action="store_true", help="only config.pbtxt and model.json")
    args = parser.parse_args()
    name = args.name or f"facenet-{Path(args.weights).stem.lower()}"
    served_as = name if args.runtime == _LIBTORCH else f"{name}-{args.runtime}"
    if args.if_missing and weights_in(args.repository / served_as):
        print(f"{served_as} is traced already.")
        return 0
    try:
        if args.no_model:
            print(write_without_model(args.repository, name, args.weights))
            return 0
        print(f"Loading the weights {args.weights} …", flush=True)
        net = load_network(args.weights, args.cache)
        check_known_answer(net, args.weights)
        known = [
            folder / title / "model.json"
            for title in (served_as, name)
            for folder in (args.repository, ROOT / "models")
        ]
        card = card_of(net, name, args.weights, known, served_as)
        print("Tracing, and comparing with the eager network …", flush=True)
        traced = trace(net)
        module = convert(traced) if args.runtime == _OPENVINO else traced
        folder = write_model(args.repository, card, module)
    except (WeightsError, OSError) as error:
        print(f"trace_model: {error}", file=sys.stderr)
        return 1
    print(f"{card.id} -> {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
