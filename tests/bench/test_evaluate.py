"""`faces evaluate` on a folder of real photos, with each model that is traced.

    PHOTOS=FOLDER python -m pytest tests/bench/test_evaluate.py

FOLDER has a folder of photos for each person.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from serving.cli import cli
from serving.evaluation.schema import schema
from serving.model.repository import ModelError, TracedModel

MODELS = Path(__file__).resolve().parents[2] / "triton" / "models"
PHOTOS = os.environ.get("PHOTOS")


@pytest.mark.skipif(PHOTOS is None, reason="no folder of photos: PHOTOS=FOLDER")
@pytest.mark.parametrize("model", ["facenet-casia-webface", "sface"])
def test_a_report_on_real_photos(model: str, tmp_path: Path) -> None:
    try:
        TracedModel.read(MODELS, model)
    except ModelError as error:
        pytest.skip(str(error))
    words = ["evaluate", str(PHOTOS), "--model", model, "--repository", str(MODELS)]
    files = ["--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html")]
    done = CliRunner().invoke(cli, [*words, "--splits", "20", "--bootstrap", "100", *files])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "a.json").read_text())
    Draft202012Validator(schema()).validate(report)
    for at in report["identification"]:
        for answers in (at["of_known"], at["of_unknown"]):
            assert sum(v for k, v in answers.items() if k != "lookups") == answers["lookups"]
        assert at["fnir"]["value"] + at["identification_rate"]["value"] == pytest.approx(1)
        assert at["rank1"]["value"] > 0.8
    # The service's own promise holds on photos that its card was calibrated on, or like them.
    assert report["identification"][-1]["fpir"]["low"] <= report["fpir"]
    for size in report["growth"]["sizes"]:
        assert size["fpir"]["value"] <= size["fpir_cautious"]["value"] + 0.01
