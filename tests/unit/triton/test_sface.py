"""SFace: the layers in torch are its ONNX file, its card is the committed one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from serving.model import runtime
from serving.model.card import ModelCard
from serving.model.repository import TracedModel
from serving.vision.align import alignment_of

ROOT = Path(__file__).resolve().parents[3]
# The folder is no package, and must not be: torch imports a compiler package named triton.
sys.path.insert(0, str(ROOT / "triton"))

import sface  # noqa: E402
import trace_model  # noqa: E402
from network import Network  # noqa: E402
from onnx_file import Graph, Node  # noqa: E402

from serving.wheel_file import WeightsError  # noqa: E402

MODELS = ROOT / "triton" / "models"
CACHE = ROOT / ".cache" / "weights"
FILE = CACHE / Path(sface.FILE.path).name

# The embeddings that onnxruntime 1.32 computes of the ONNX file itself, brought to unit length: of
# crops (a c + b y + d x) modulo 256 by a, b and d the first numbers, and the sum of all magnitudes.
ONNXRUNTIME = {
    (85, 2, 1): ((0.018453, 0.151280, 0.066525, 0.067480, -0.111789, 0.016981), 9.03563),
    (40, 3, 5): ((0.199646, 0.131650, -0.025777, 0.003870, -0.116454, -0.026691), 8.84259),
    (10, 1, 7): ((0.042125, -0.006041, -0.023126, 0.046718, 0.122189, 0.126898), 8.96373),
}

fetched = pytest.mark.skipif(
    not FILE.is_file(), reason="SFace is not downloaded: make model MODEL=sface"
)


@pytest.fixture(scope="module")
def network() -> Network:
    return sface.load(CACHE)


@pytest.fixture(scope="module")
def traced(network: Network) -> torch.jit.ScriptModule:
    return trace_model.trace(network.module, 112)


def crops(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, 112, 112), dtype=torch.uint8, generator=generator)


def card(name: str) -> ModelCard:
    return ModelCard.from_json((MODELS / name / "model.json").read_text())


@fetched
class TestNetwork:
    def test_the_layers_are_those_of_the_file(self, network: Network) -> None:
        (layers,) = network.module.children()
        kinds = [type(layer).__name__ for layer in layers.children()]
        assert [kinds.count(kind) for kind in ("Conv2d", "PReLU", "Linear")] == [27, 27, 1]
        assert sum(t.size for t in network.tensors.values()) > 9_000_000

    def test_any_number_of_faces_gets_what_the_file_gives_each_alone(
        self, network: Network
    ) -> None:
        channel, row, column = np.ogrid[:3, :112, :112]
        ramps = [(a * channel + b * row + c * column) % 256 for a, b, c in ONNXRUNTIME]
        with torch.inference_mode():
            found = network.module(torch.from_numpy(np.stack(ramps).astype(np.uint8))).numpy()
        assert found.shape == (3, 128)
        assert np.allclose(found[:, :6], [first for first, _ in ONNXRUNTIME.values()], atol=2e-6)
        assert np.allclose(
            np.abs(found).sum(axis=1), [total for _, total in ONNXRUNTIME.values()], atol=5e-5
        )

    def test_traced_is_eager_at_any_batch(
        self, network: Network, traced: torch.jit.ScriptModule
    ) -> None:
        with torch.inference_mode():
            found, wanted = traced(crops(5)), network.module(crops(5))
        assert torch.allclose(found, wanted, atol=1e-5)
        assert torch.allclose(found.norm(dim=1), torch.ones(5), atol=1e-5)

    def test_one_altered_weight_is_noticed(self) -> None:
        module = sface.load(CACHE).module
        linear = next(layer for layer in module.modules() if isinstance(layer, nn.Linear))
        with torch.no_grad():
            linear.weight[0] *= 1.02
        with pytest.raises(WeightsError, match="another embedding"):
            sface.check_known_answer(module)

    def test_tracing_again_keeps_the_committed_card(self, network: Network) -> None:
        known = [MODELS / "sface" / "model.json"]
        assert trace_model.card_of(network, "sface", known) == card("sface")

    def test_openvino_gives_the_same_embeddings_under_the_same_id(
        self, network: Network, traced: torch.jit.ScriptModule, tmp_path: Path
    ) -> None:
        known = [MODELS / "sface" / "model.json"]
        made = trace_model.card_of(network, "sface", known, "sface-openvino")
        trace_model.write_model(tmp_path, made, trace_model.convert(traced, 112))
        model = TracedModel.read(tmp_path, "sface-openvino")
        assert model.card == card("sface-openvino")
        committed = (MODELS / "sface-openvino" / "config.pbtxt").read_bytes()
        assert model.files["config.pbtxt"] == committed
        with torch.inference_mode():
            wanted = network.module(crops(3)).numpy()
        xml = tmp_path / "sface-openvino" / "1" / "model.xml"
        for precision, least in (("f32", 0.999999), ("bf16", 0.999)):
            compiled = runtime.core().compile_model(
                xml, "CPU", {"INFERENCE_PRECISION_HINT": precision}
            )
            found = compiled({"INPUT__0": crops(3).numpy()})["OUTPUT__0"]
            assert (found * wanted).sum(axis=1).min() > least


class TestCard:
    @pytest.mark.parametrize("name", ["sface", "sface-openvino"])
    def test_the_committed_card_is_the_served_one(self, name: str) -> None:
        runtime = name.partition("-")[2] or "torchscript"
        written = trace_model.config_pbtxt(name, 112, 128, card(name), runtime)
        assert (MODELS / name / "config.pbtxt").read_text() == written

    def test_both_runtimes_share_a_gallery_and_its_thresholds(self) -> None:
        one, other = card("sface"), card("sface-openvino")
        assert one == other.model_copy(update={"name": "sface"})
        assert one.id.startswith("sface@")
        assert one.impostors is not None
        assert one.threshold == round(one.impostors.threshold(1000, 0.01), 3)

    def test_the_stages_align_as_the_card_says(self) -> None:
        alignment = alignment_of(card("sface").preprocessing)
        assert alignment is not None
        assert (alignment.size, alignment.points[2]) == (112, (56.0252, 71.7366))
        assert card("sface").preprocessing == sface.ORIGIN.preprocessing

    def test_of_its_training_data_nothing_is_promised(self) -> None:
        assert "not disclosed" in card("sface").licence


class TestLayersOf:
    @pytest.mark.parametrize(
        ("nodes", "why"),
        [
            ([Node("Relu", ("x",), "y", {})], "unknown kind, Relu"),
            ([Node("Add", ("x", "y"), "z", {})], "no chain"),
            ([Node("Mul", ("c", "x"), "y", {})], "no chain"),
            (
                [Node("Mul", ("x", "c"), "y", {}), Node("Mul", ("x", "c"), "z", {})],
                "no chain",
            ),
            ([Node("Conv", ("x", "k"), "y", {"pads": [1, 1, 0, 0]})], "unequally"),
            ([Node("Conv", ("x", "k"), "y", {"dilations": [2, 2]})], "dilated"),
            ([Node("Gemm", ("x", "m"), "y", {"alpha": 2.0})], "scaled"),
        ],
    )
    def test_other_graphs_are_refused(self, nodes: list[Node], why: str) -> None:
        constants: dict[str, Any] = {
            "c": np.ones(1, np.float32),
            "k": np.ones((2, 3, 3, 3), np.float32),
            "m": np.ones((2, 3), np.float32),
        }
        with pytest.raises(WeightsError, match=why):
            sface.layers_of(Graph(nodes, constants))
