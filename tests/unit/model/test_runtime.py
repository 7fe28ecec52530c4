"""A traced model, run in this process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from serving.model import runtime
from serving.model.repository import REPOSITORY, ModelError
from serving.settings import DEFAULT_MODEL

OPENVINO, TORCH_SCRIPT = REPOSITORY / DEFAULT_MODEL, REPOSITORY / "facenet-casia-webface"
pytestmark = pytest.mark.skipif(
    not ((OPENVINO / "1").is_dir() and (TORCH_SCRIPT / "1").is_dir()),
    reason="not traced: make model torchscript",
)


def test_both_runtimes_make_the_same_embeddings() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 3, 160, 160), np.uint8)
    ours, torchs = runtime.load(OPENVINO)(crops), runtime.load(TORCH_SCRIPT)(crops)
    assert ours.shape == torchs.shape == (3, 512)
    assert ours.dtype == torchs.dtype == np.float32
    # bfloat16, where the processor has it.
    assert (ours * torchs).sum(axis=1).min() > 0.9995


def test_torchscript_without_torch_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError, match=r"facenet-serving\[torch\].*-openvino\.$"):
        runtime.load(TORCH_SCRIPT)


def test_openvino_needs_no_torch() -> None:
    code = (
        "import sys, pathlib, serving.operations.offline as offline\n"
        f"offline.LocalModel(pathlib.Path({str(REPOSITORY)!r}), {DEFAULT_MODEL!r})\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
