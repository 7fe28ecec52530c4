"""The export of a network: that it is proven, and what Triton is told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from google.protobuf import text_format  # type: ignore[import-untyped]
from torch import nn

from serving.model import runtime
from serving.model.card import Calibration, ModelCard
from serving.model.repository import ModelError, TracedModel
from serving.torchscript import converted
from serving.vision.records import CROP_SIZE
from tests.support.model_config import model_config_pb2

ROOT = Path(__file__).resolve().parents[3]
# The folder is no package, and must not be: torch imports a compiler package named triton.
sys.path.insert(0, str(ROOT / "triton"))

import facenet  # noqa: E402
import trace_model  # noqa: E402

from serving.wheel_file import WeightsError  # noqa: E402

CASIA = ROOT / "triton" / "models" / "facenet-casia-webface"
CACHE = ROOT / ".cache" / "weights"


@pytest.fixture(scope="module")
def net() -> InceptionResnetV1:
    """The network with random weights."""
    torch.manual_seed(0)
    return InceptionResnetV1().eval()


@pytest.fixture(scope="module")
def casia() -> InceptionResnetV1:
    return facenet.load_network("casia-webface", CACHE)


@pytest.fixture(scope="module")
def traced(net: InceptionResnetV1) -> torch.jit.ScriptModule:
    return trace_model.trace(facenet.TritonFaceNet(net), CROP_SIZE)


@pytest.fixture(scope="module")
def traced_casia(casia: InceptionResnetV1) -> torch.jit.ScriptModule:
    return trace_model.trace(facenet.TritonFaceNet(casia), CROP_SIZE)


def card_of(net: InceptionResnetV1, known: list[Path], served_as: str | None = None) -> ModelCard:
    network = facenet.network_of(net, "casia-webface")
    return trace_model.card_of(network, CASIA.name, known, served_as)


class TestTrace:
    def test_traced_is_eager_at_any_batch(
        self, net: InceptionResnetV1, traced: torch.jit.ScriptModule
    ) -> None:
        crops = torch.randint(0, 256, (5, 3, CROP_SIZE, CROP_SIZE), dtype=torch.uint8)
        with torch.inference_mode():
            found = traced(crops)
            wanted = net((crops.float() - 127.5) / 128)
        assert found.dtype == torch.float32
        assert torch.allclose(found, wanted, atol=1e-5)
        assert torch.allclose(found.norm(dim=1), torch.ones(5), atol=1e-5)


@pytest.mark.skipif(
    not (CACHE / "graph_final.pb").is_file(),
    reason="casia-webface is not downloaded: make torchscript",
)
class TestCasia:
    def test_the_id_is_the_one_of_the_committed_card(self, casia: InceptionResnetV1) -> None:
        card = card_of(casia, [])
        assert card.id == ModelCard.from_json((CASIA / "model.json").read_text()).id
        assert card.threshold == trace_model.UNMEASURED["threshold"]
        assert "nothing" in card.calibration.measured_on

    def test_tracing_again_keeps_what_was_measured(
        self, casia: InceptionResnetV1, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken.json"
        broken.write_text("{")
        other = tmp_path / "other.json"
        other.write_text(json.dumps({"id": "facenet-x@0123456789ab", "threshold": 0.1}))
        known = [tmp_path / "none.json", broken, other, CASIA / "model.json"]
        card = card_of(casia, known)
        assert card == ModelCard.from_json((CASIA / "model.json").read_text())

    @pytest.mark.skipif(
        not (CASIA / "1" / "model.pt").is_file(), reason="not traced: make torchscript"
    )
    @pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
    def test_the_traced_file_is_the_eager_network(self, casia: InceptionResnetV1) -> None:
        traced = torch.jit.load(str(CASIA / "1" / "model.pt"))  # type: ignore[no-untyped-call]
        crops = torch.randint(0, 256, (3, 3, CROP_SIZE, CROP_SIZE), dtype=torch.uint8)
        with torch.inference_mode():
            wanted = casia((crops.float() - 127.5) / 128)
            assert torch.allclose(traced(crops), wanted, atol=1e-5)

    def test_openvino_gives_the_same_embeddings_under_the_same_id(
        self, casia: InceptionResnetV1, traced_casia: torch.jit.ScriptModule, tmp_path: Path
    ) -> None:
        name = f"{CASIA.name}-openvino"
        card = card_of(casia, [CASIA / "model.json"], name)
        trace_model.write_model(tmp_path, card, trace_model.convert(traced_casia, CROP_SIZE))
        model = TracedModel.read(tmp_path, name)
        assert (model.weights, model.texts[0]) == ("1/model.bin", "1/model.xml")
        assert model.card.id == ModelCard.from_json((CASIA / "model.json").read_text()).id
        committed = CASIA.with_name(name)
        assert model.card == ModelCard.from_json((committed / "model.json").read_text())
        assert model.files["config.pbtxt"] == (committed / "config.pbtxt").read_bytes()
        config = TestFiles.parsed((committed / "config.pbtxt").read_text())
        assert (config.backend, config.platform) == ("openvino", "")
        assert config.parameters["HINT_BF16"].string_value == "YES"

        crops = torch.randint(0, 256, (3, 3, CROP_SIZE, CROP_SIZE), dtype=torch.uint8)
        with torch.inference_mode():
            wanted = casia((crops.float() - 127.5) / 128).numpy()
        xml = tmp_path / name / "1" / "model.xml"
        for precision, least in (("f32", 0.999999), ("bf16", 0.9995)):
            compiled = runtime.core().compile_model(
                xml, "CPU", {"INFERENCE_PRECISION_HINT": precision}
            )
            found = compiled({"INPUT__0": crops.numpy()})["OUTPUT__0"]
            assert (found * wanted).sum(axis=1).min() > least

    def test_float16_gives_nearly_the_same_embeddings_under_the_same_id(
        self, casia: InceptionResnetV1, tmp_path: Path
    ) -> None:
        name = f"{CASIA.name}-fp16"
        network = facenet.network_of(casia, "casia-webface")
        card = card_of(casia, [CASIA / "model.json"], name)
        trace_model.write_model(tmp_path, card, trace_model.exported(network, "fp16"))
        assert next(casia.parameters()).dtype == torch.float32  # another network, not this one
        model = TracedModel.read(tmp_path, name)
        assert model.weights == "1/model.pt"
        assert model.card.id == ModelCard.from_json((CASIA / "model.json").read_text()).id
        committed = CASIA.with_name(name)
        assert model.card == ModelCard.from_json((committed / "model.json").read_text())
        assert model.files["config.pbtxt"] == (committed / "config.pbtxt").read_bytes()
        # Half of the bytes.
        assert len(model.files["1/model.pt"]) < 60e6

        crops = torch.randint(0, 256, (3, 3, CROP_SIZE, CROP_SIZE), dtype=torch.uint8)
        found = runtime.load(tmp_path / name)(crops.numpy())
        assert found.dtype == np.float32
        with torch.inference_mode():
            wanted = casia((crops.float() - 127.5) / 128).numpy()
        assert (found * wanted).sum(axis=1).min() > 0.9998
        assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-6)

    def test_float16_that_is_another_network_is_noticed(
        self, casia: InceptionResnetV1, traced: torch.jit.ScriptModule
    ) -> None:
        network = facenet.network_of(casia, "casia-webface")
        with pytest.raises(WeightsError, match="In float16 the embeddings are others"):
            trace_model.check_half(traced, network)

    def test_a_conversion_that_is_another_network_is_noticed(
        self,
        traced_casia: torch.jit.ScriptModule,
        traced: torch.jit.ScriptModule,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(trace_model, "converted", lambda _: converted(traced))
        with pytest.raises(WeightsError, match="converted model is off"):
            trace_model.convert(traced_casia, CROP_SIZE)


class TestFiles:
    def card(self, **changes: Any) -> ModelCard:
        calibration = Calibration(slope=20, intercept=-10, measured_on='nobody: a "test" \\ ü')
        values: dict[str, Any] = {
            "name": "facenet-x",
            "id": "facenet-x@0123456789ab",
            "source": "line\nbreak, 'quotes', \"more\", \t and \\n",
            "licence": "—",
            "dimension": 512,
            "preprocessing": facenet.PREPROCESSING,
            "threshold": 0.5,
            "calibration": calibration,
        }
        return ModelCard(**(values | changes))

    @staticmethod
    def parsed(text: str) -> Any:
        return text_format.Parse(text, model_config_pb2.ModelConfig())

    def test_the_card_in_the_configuration_parses_back(self) -> None:
        card = self.card()
        config = self.parsed(trace_model.config_pbtxt(card.name, CROP_SIZE, 512, card))
        assert ModelCard.from_json(config.parameters["card"].string_value) == card
        assert config.name == "facenet-x"
        assert config.platform == "pytorch_libtorch"
        assert config.max_batch_size == 32
        assert list(config.input[0].dims) == [3, CROP_SIZE, CROP_SIZE]
        assert config.input[0].data_type == model_config_pb2.TYPE_UINT8
        assert list(config.output[0].dims) == [card.dimension]

    def test_what_is_written_is_read_as_a_whole_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = torch.jit.trace(nn.Identity(), torch.zeros(1))  # type: ignore[no-untyped-call]
        card = self.card()
        trace_model.write_model(tmp_path, card, module)
        assert TracedModel.read(tmp_path, card.name).card == card

        def die(*paths: Path) -> None:
            raise KeyboardInterrupt

        other = torch.jit.trace(nn.Softmax(0), torch.zeros(1))  # type: ignore[no-untyped-call]
        monkeypatch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            trace_model.write_model(tmp_path, self.card(id="facenet-x@ffffffffffff"), other)
        with pytest.raises(ModelError, match="half-written"):
            TracedModel.read(tmp_path, card.name)

    def test_without_a_model_there_is_no_card(self, tmp_path: Path) -> None:
        folder = trace_model.write_without_model(tmp_path, "facenet-vggface2", "vggface2")
        config = self.parsed((folder / "config.pbtxt").read_text())
        assert config.name == "facenet-vggface2"
        assert "card" not in config.parameters
        text = (folder / "model.json").read_text()
        assert json.loads(text)["id"] is None
        with pytest.raises(ValueError, match="id"):
            ModelCard.from_json(text)

    def test_a_traced_model_keeps_its_card(self, tmp_path: Path) -> None:
        (tmp_path / "facenet-x" / "1").mkdir(parents=True)
        (tmp_path / "facenet-x" / "1" / "model.pt").touch()
        with pytest.raises(WeightsError, match="must stay"):
            trace_model.write_without_model(tmp_path, "facenet-x", "vggface2")

    def test_the_committed_card_is_the_served_one(self) -> None:
        card = ModelCard.from_json((CASIA / "model.json").read_text())
        config = self.parsed((CASIA / "config.pbtxt").read_text())
        assert ModelCard.from_json(config.parameters["card"].string_value) == card
        written = trace_model.config_pbtxt(card.name, CROP_SIZE, card.dimension, card)
        assert (CASIA / "config.pbtxt").read_text() == written
        assert card.impostors is not None
        assert card.threshold == round(card.impostors.threshold(1000, 0.01), 3)
        assert card.margin is not None

    def test_the_folder_is_no_package(self) -> None:
        assert not (ROOT / "triton" / "__init__.py").exists()
