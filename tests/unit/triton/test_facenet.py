"""FaceNet's weights: which are taken, what is refused, and that known ones are recognised."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from safetensors.torch import save_file

from serving.vision.faces import MARGIN
from serving.vision.records import CROP_SIZE

ROOT = Path(__file__).resolve().parents[3]
# The folder is no package, and must not be: torch imports a compiler package named triton.
sys.path.insert(0, str(ROOT / "triton"))

import facenet  # noqa: E402

from serving.wheel_file import WeightsError  # noqa: E402

CACHE = ROOT / ".cache" / "weights"


@pytest.fixture(scope="module")
def net() -> InceptionResnetV1:
    """The network with random weights."""
    torch.manual_seed(0)
    return InceptionResnetV1().eval()


@pytest.fixture(scope="module")
def state(net: InceptionResnetV1) -> dict[str, torch.Tensor]:
    return {k: v for k, v in net.state_dict().items() if not k.startswith("logits.")}


def saved(path: Path, state: Any) -> str:
    torch.save(state, path)
    return str(path)


class TestLoadNetwork:
    def test_a_state_dict(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        loaded = facenet.load_network(saved(tmp_path / "w.pt", state), tmp_path)
        assert torch.equal(loaded.last_linear.weight, state["last_linear.weight"])
        assert not loaded.training

    def test_safetensors(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        save_file(state, tmp_path / "w.safetensors")
        loaded = facenet.load_network(str(tmp_path / "w.safetensors"), tmp_path)
        assert torch.equal(loaded.last_bn.bias, state["last_bn.bias"])

    def test_the_classifier_and_the_counters_may_be_there_or_not(
        self, tmp_path: Path, state: dict[str, torch.Tensor]
    ) -> None:
        few = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        facenet.load_network(saved(tmp_path / "few.pt", few), tmp_path)
        more = state | {"logits.weight": torch.zeros(9, 512), "logits.bias": torch.zeros(9)}
        facenet.load_network(saved(tmp_path / "more.pt", more), tmp_path)

    def test_a_missing_tensor(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        less = {k: v for k, v in state.items() if k != "last_bn.running_mean"}
        with pytest.raises(WeightsError, match=r"1 tensors are missing.*last_bn\.running_mean"):
            facenet.load_network(saved(tmp_path / "w.pt", less), tmp_path)

    def test_an_unknown_tensor(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        more = state | {"extra.weight": torch.zeros(1)}
        with pytest.raises(WeightsError, match=r"1 are unknown.*extra\.weight"):
            facenet.load_network(saved(tmp_path / "w.pt", more), tmp_path)

    def test_a_wrong_shape(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        wrong = state | {"last_linear.weight": torch.zeros(256, 1792)}
        with pytest.raises(WeightsError, match=r"wrong shape.*last_linear\.weight"):
            facenet.load_network(saved(tmp_path / "w.pt", wrong), tmp_path)

    @pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(3)])
    def test_no_state_dict(self, tmp_path: Path, content: Any) -> None:
        with pytest.raises(WeightsError, match="holds no state_dict"):
            facenet.load_network(saved(tmp_path / "w.pt", content), tmp_path)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="casia-webface, vggface2"):
            facenet.load_network(str(tmp_path / "none.pt"), tmp_path)

    @pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
    def test_a_file_of_something_else(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(WeightsError, match="read safely"):
            facenet.load_network(str(tmp_path / name), tmp_path)

    def test_a_pickle_that_runs_code_is_refused(self, tmp_path: Path) -> None:
        mark = tmp_path / "ran"

        class Malicious:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (mark,)

        (tmp_path / "w.pkl").write_bytes(pickle.dumps({"last_bn.bias": Malicious()}, protocol=2))
        for path in (str(tmp_path / "w.pkl"), saved(tmp_path / "w.pt", {"a": Malicious()})):
            with pytest.raises(WeightsError, match="read safely"):
                facenet.load_network(path, tmp_path)
        assert not mark.exists()

    def test_vggface2_that_cannot_be_downloaded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def offline(pretrained: str | None = None) -> InceptionResnetV1:
            if pretrained:
                raise OSError("no route to host")
            return InceptionResnetV1()

        monkeypatch.setattr(facenet, "InceptionResnetV1", offline)
        with pytest.raises(WeightsError, match=r"no route to host.*casia-webface"):
            facenet.load_network("vggface2", tmp_path)


class TestKnownAnswer:
    def test_other_weights_do_not_give_the_known_answer(self, net: InceptionResnetV1) -> None:
        with pytest.raises(WeightsError, match="another embedding"):
            facenet.check_known_answer(net, "casia-webface")
        facenet.check_known_answer(net, "my_weights.pt")  # nothing is known of them

    @pytest.mark.skipif(
        not (CACHE / "graph_final.pb").is_file(), reason="not downloaded: make torchscript"
    )
    def test_one_altered_weight_is_noticed(self) -> None:
        casia = facenet.load_network("casia-webface", CACHE)
        facenet.check_known_answer(casia, "casia-webface")
        with torch.no_grad():
            casia.last_linear.weight[0] *= 1.01
        with pytest.raises(WeightsError, match="another embedding"):
            facenet.check_known_answer(casia, "casia-webface")


def test_the_preprocessing_is_that_of_the_stages() -> None:
    assert facenet.PREPROCESSING["margin"] == MARGIN
    assert facenet.PREPROCESSING["size"] == CROP_SIZE
