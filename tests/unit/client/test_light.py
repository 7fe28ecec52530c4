"""What modules must not import: a client needs httpx, commands start fast, replicas stay small."""

from __future__ import annotations

import subprocess
import sys

import pytest

from serving.cli.root import PLACES

HEAVY = {"ray", "torch", "kserve", "fastapi", "pydantic", "boto3", "faiss", "openvino"}


def test_it_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from serving.client import AsyncClient, Client\n"
        "client = Client('http://127.0.0.1:1')\n"
        "from serving.client.calls import infer\n"
        "infer(b'photo', 1, None, None, None)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert "httpx" in imported
    assert not imported & (HEAVY | {"numpy", "PIL"})
    ours = {m for m in imported if m.split(".")[0] == "serving"}
    assert {m for m in ours if not m.startswith("serving.client")} == {"serving", "serving.errors"}


SLOW = {"ray", "torch", "cryptography", "trustme"}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("serving.cli", {*HEAVY, "numpy", "PIL", "serving.gallery"} - {"pydantic"}),
        *((place.partition(":")[0], SLOW) for place in PLACES.values()),
        ("serving.stages.decode", {"faiss"}),
        ("serving.app", {"torch", "torchvision"}),
    ],
)
def test_other_modules_import_no_more_than_they_need(module: str, heavy: set[str]) -> None:
    script = f"import sys\nimport {module}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert module in imported
    assert not imported & heavy
