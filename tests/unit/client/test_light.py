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


def imported_by(*modules: str) -> set[str]:
    """What a new process has imported when it has imported these."""
    script = f"import sys\nimport {', '.join(modules)}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert imported.issuperset(modules)
    return imported


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("serving.cli", {*HEAVY, "numpy", "PIL", "serving.gallery"} - {"pydantic"}),
        ("serving.stages.decode", {"faiss"}),
        ("serving.app", {"torch", "torchvision", "kserve"}),
        ("serving.api.ingress", {"faiss", "httpx", "numba", "openvino"}),
    ],
)
def test_other_modules_import_no_more_than_they_need(module: str, heavy: set[str]) -> None:
    assert not imported_by(module) & heavy


def test_no_command_imports_what_is_slow() -> None:
    places = {place.partition(":")[0] for place in PLACES.values()}
    if imported_by(*places) & SLOW:  # which of them it is takes a process for each
        assert {place: found for place in places if (found := imported_by(place) & SLOW)} == {}
