"""Turn FaceNet, or OpenCV's SFace, into a model that Triton serves.

    python triton/trace_model.py --weights casia-webface
    python triton/trace_model.py --weights vggface2
    python triton/trace_model.py --weights sface
    python triton/trace_model.py --weights my_weights.pt --name my-facenet
    python triton/trace_model.py --weights casia-webface --runtime openvino
    python triton/trace_model.py --weights casia-webface --runtime fp16
    python triton/trace_model.py --weights vggface2 --no-model    # without a download

Writes ``<repository>/<model>/1/model.pt`` (TorchScript), ``config.pbtxt`` and ``model.json`` (the
card). Before it writes any of them, it verifies the export: TorchScript must give the embeddings of
the eager network, and known weights their known embedding. The card is also in ``config.pbtxt``,
where a client of Triton can read it.

For OpenVINO it writes ``<model>-openvino/1/model.xml`` and ``model.bin``, and with ``fp16``
``<model>-fp16/1/model.pt``, TorchScript that computes in float16, for GPUs. The model's id is the
same, since weights and preprocessing are: embeddings of all three belong in one gallery.

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
import warnings
from pathlib import Path
from typing import Any

import facenet
import openvino as ov
import sface
import torch
from network import Half, Network, Origin
from torch import nn

from serving.model.card import ModelCard, model_id
from serving.model.repository import weights_in
from serving.model.runtime import core
from serving.torchscript import converted
from serving.wheel_file import WeightsError

ROOT = Path(__file__).resolve().parent
MAX_BATCH = 32

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
_LIBTORCH, _OPENVINO, _HALF = "torchscript", "openvino", "fp16"
_PLATFORM = 'platform: "pytorch_libtorch"'
# Of embeddings in float16 to those in float32; bfloat16 may move one by as much, see _BACKENDS.
_LEAST_COSINE = 0.9998
# The lines of config.pbtxt for each runtime. HINT_BF16: where the processor has bfloat16, FaceNet
# is twice as fast, and no embedding moves by more than 0.0002 in cosine.
_BACKENDS = {
    _LIBTORCH: (_PLATFORM, ""),
    _HALF: (_PLATFORM, ""),
    _OPENVINO: (
        'backend: "openvino"',
        "".join(
            f'parameters {{\n  key: "{key}"\n  value {{ string_value: "{value}" }}\n}}\n'
            for key, value in (("PERFORMANCE_HINT", "LATENCY"), ("HINT_BF16", "YES"))
        ),
    ),
}


def load(weights: str, cache: Path) -> Network:
    """The network with weights by name, or of a file; see `facenet.load` and `sface.load`."""
    return sface.load(cache) if weights == sface.NAME else facenet.load(weights, cache)


def origin_of(weights: str) -> Origin:
    return sface.ORIGIN if weights == sface.NAME else facenet.origin_of(weights)


def name_of(weights: str) -> str:
    """The name of a model that is given none."""
    return sface.NAME if weights == sface.NAME else f"facenet-{Path(weights).stem.lower()}"


def trace(module: nn.Module, size: int, most: float = 1e-5) -> torch.jit.ScriptModule:
    """Frozen TorchScript of a network, equal to the eager one at any batch size.

    Args:
        module: takes crops, uint8 RGB (N, 3, size, size).
        most: how far a number of an embedding may be off.
    """
    module = module.eval().to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)

    def crops(batch: int) -> torch.Tensor:
        shape = (batch, 3, size, size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    with torch.inference_mode(), warnings.catch_warnings():
        # Triton's PyTorch backend runs TorchScript, so its deprecation does not matter.
        warnings.filterwarnings("ignore", r"`torch\.jit", FutureWarning)
        traced: torch.jit.ScriptModule = torch.jit.freeze(
            torch.jit.trace(module, crops(2))  # type: ignore[no-untyped-call]
        )
        for batch in (1, 3, 8):
            some = crops(batch)
            difference = (traced(some) - module(some)).abs().max().item()
            if not difference <= most:
                raise WeightsError(f"The traced model is off by {difference:g} at batch {batch}.")
    return traced


def trace_half(network: Network) -> torch.jit.ScriptModule:
    """`trace` of the network with layers in float16, nearly equal to the eager one in float32."""
    # Freezing folds batch norms into weights, which float16 rounds once more.
    traced = trace(Half(network.module), network.origin.size, most=2e-3)
    check_half(traced, network)
    return traced


def check_half(traced: torch.jit.ScriptModule, network: Network) -> None:
    """Raises WeightsError when embeddings in float16 are not those of the network in float32."""
    generator = torch.Generator().manual_seed(1)
    for batch in (1, 3):
        shape = (batch, 3, network.origin.size, network.origin.size)
        crops = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        with torch.inference_mode():
            cosine = (traced(crops) * network.module(crops)).sum(1).min().item()
        if not cosine >= _LEAST_COSINE:
            raise WeightsError(f"In float16 the embeddings are others: cosine {cosine:.4f}.")


def convert(traced: torch.jit.ScriptModule, size: int) -> ov.Model:
    """The same network for OpenVINO, equal to the TorchScript in float32 at any batch size."""
    model = converted(traced)
    model.inputs[0].get_node().set_element_type(ov.Type.u8)
    model.reshape([-1, 3, size, size])
    model.inputs[0].get_tensor().set_names({"INPUT__0"})
    model.outputs[0].get_tensor().set_names({"OUTPUT__0"})
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    generator = torch.Generator().manual_seed(0)
    for batch in (1, 3, 8):
        shape = (batch, 3, size, size)
        crops = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        with torch.inference_mode():
            expected = traced(crops).numpy()
        difference = abs(compiled(crops.numpy())["OUTPUT__0"] - expected).max().item()
        if difference > 1e-5:
            raise WeightsError(f"The converted model is off by {difference:g} at batch {batch}.")
    return model


def exported(network: Network, runtime: str) -> torch.jit.ScriptModule | ov.Model:
    """The network for a runtime, a key of `_BACKENDS`. Raises WeightsError: it is another one."""
    if runtime == _HALF:
        return trace_half(network)
    traced = trace(network.module, network.origin.size)
    return convert(traced, network.origin.size) if runtime == _OPENVINO else traced


def card_of(
    network: Network, name: str, known: list[Path], served_as: str | None = None
) -> ModelCard:
    """The card. Measured values come from the first card file of ``known`` with the same weights.

    Args:
        served_as: Triton's name of the model, if not the card's.
    """
    origin = network.origin
    id_ = model_id(name, network.tensors, origin.preprocessing)
    measured = next((card for card in map(_read_card, known) if card.get("id") == id_), UNMEASURED)
    card = {
        "name": served_as or name,
        "id": id_,
        "source": origin.source,
        "licence": origin.licence,
        "dimension": origin.dimension,
        "preprocessing": origin.preprocessing,
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
    runtime = _OPENVINO if isinstance(module, ov.Model) else _LIBTORCH  # in float16, too
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
        config = config_pbtxt(card.name, card.preprocessing["size"], card.dimension, card, runtime)
        (folder / "config.pbtxt").write_text(config)
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
    origin = origin_of(weights)
    known = {
        "name": name,
        "id": None,
        "missing": "model.pt, and the id, which is a hash of the weights: run "
        f"triton/trace_model.py --weights {weights} where they can be had",
        "source": origin.source,
        "licence": origin.licence,
        "dimension": origin.dimension,
        "preprocessing": origin.preprocessing,
        **UNMEASURED,
    }
    (folder / "model.json").write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n")
    (folder / "config.pbtxt").write_text(config_pbtxt(name, origin.size, origin.dimension, None))
    return folder


def config_pbtxt(
    name: str, size: int, dimension: int, card: ModelCard | None, runtime: str = _LIBTORCH
) -> str:
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
  dims: [ 3, {size}, {size} ]
}}
output {{
  name: "OUTPUT__0"
  data_type: TYPE_FP32
  dims: [ {dimension} ]
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
    parser.add_argument(
        "--weights", default="casia-webface", help="casia-webface, vggface2, sface, PATH"
    )
    parser.add_argument("--name", help="the model's name; default: sface, facenet-<weights>")
    parser.add_argument("--repository", type=Path, default=ROOT / "models")
    parser.add_argument("--cache", type=Path, default=ROOT.parent / ".cache" / "weights")
    parser.add_argument("--runtime", default=_LIBTORCH, choices=list(_BACKENDS))
    parser.add_argument("--if-missing", action="store_true", help="do nothing if it is traced")
    parser.add_argument("--no-model", action="store_true", help="only config.pbtxt and model.json")
    args = parser.parse_args()
    name = args.name or name_of(args.weights)
    served_as = name if args.runtime == _LIBTORCH else f"{name}-{args.runtime}"
    if args.if_missing and weights_in(args.repository / served_as):
        print(f"{served_as} is traced already.")
        return 0
    try:
        if args.no_model:
            print(write_without_model(args.repository, name, args.weights))
            return 0
        print(f"Loading the weights {args.weights} …", flush=True)
        network = load(args.weights, args.cache)
        known = [
            folder / title / "model.json"
            for title in (served_as, name)
            for folder in (args.repository, ROOT / "models")
        ]
        card = card_of(network, name, known, served_as)
        print("Tracing, and comparing with the eager network …", flush=True)
        folder = write_model(args.repository, card, exported(network, args.runtime))
    except (WeightsError, OSError) as error:
        print(f"trace_model: {error}", file=sys.stderr)
        return 1
    print(f"{card.id} -> {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
