"""What the benchmark of a GPU writes down."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.bench import gpu


def test_where_the_model_computes_is_read_from_the_log_of_tritonserver(tmp_path: Path) -> None:
    log = tmp_path / "triton.log"
    log.write_text('I1 model.py:1] "sface computes on cpu"\nI1 "sface computes on cuda:0"\n')
    assert gpu.device_of(log) == "cuda:0"
    log.write_text("")
    assert gpu.device_of(log) == "unknown"


def test_refusals_are_told_apart_from_answers() -> None:
    found = gpu.Answers([10.0, 20.0, 30.0], Counter({503: 4, 429: 1}))
    assert gpu.told(found, 2.0) == "1.5 | 20 ms | 29 ms | 1 x 429, 4 x 503"
    assert gpu.told(gpu.Answers([], Counter({503: 4})), 2.0) == "0 | | | 4 x 503"


def test_without_a_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["gpu"])
    with pytest.raises(SystemExit, match="no GPU here"):
        gpu.main()
