"""`make install` takes torch's CPU build where it can, and says which build it takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Notes what pip is called with, and the names in the lock that it is given.
PIP = """#!/bin/sh
echo "pip $*" >> pip.log
for last; do :; done
test -f "$last" && sed -nE 's/^([a-z0-9-]+)==.*/locked \\1/p' "$last" >> pip.log
exit 0
"""
PYTHON = """#!/bin/sh
if [ "$1" = -m ]; then mkdir -p .venv/bin && cp pip .venv/bin/pip; else exec {python} "$@"; fi
"""


class _Index(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/cpu/torch/" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def index() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/cpu"
        server.shutdown()
        thread.join()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "serving" / "locks", tmp_path / "serving" / "locks")
    for name, text in (("pip", PIP), ("python", PYTHON.format(python=sys.executable))):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def install(checkout: Path, index: str) -> tuple[str, list[str]]:
    """What make says, and the calls of pip with the names that it was to install."""
    command = ["make", ".venv/installed", "PYTHON=./python", f"TORCH_INDEX={index}"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, (checkout / "pip.log").read_text().splitlines()


def add_hash(checkout: Path) -> None:
    lock = checkout / "serving" / "locks" / "torch-cpu.txt"
    lock.write_text(f"torch==2.14.1+cpu \\\n    --hash=sha256:{'0' * 64}\n")


def test_the_cpu_build_comes_from_its_index_alone_and_by_hashes(checkout: Path, index: str) -> None:
    add_hash(checkout)
    said, calls = install(checkout, index)
    assert f"Torch: the CPU build, from {index}." in said
    torch, others, ours = (call for call in calls if call.startswith("pip"))
    assert f"--index-url {index} -r serving/locks/torch-cpu.txt" in torch
    assert "--index-url" not in others
    assert all("--require-hashes --no-deps" in call for call in (torch, others))
    assert ours.endswith("-e .")
    second = calls[calls.index(others) :]
    assert {"locked ray", "locked nvidia-pytriton", "locked sympy"} <= set(second)
    assert not {"locked torch", "locked nvidia-cublas", "locked triton"} & set(second)


@pytest.mark.parametrize("has_hash", [True, False])
def test_otherwise_all_comes_from_pips_index(checkout: Path, index: str, has_hash: bool) -> None:
    """The index does not answer, or nothing here says what it ought to give."""
    if has_hash:
        add_hash(checkout)
    said, calls = install(checkout, f"{index}/else" if has_hash else index)
    reason = "does not answer" if has_hash else "make lock-torch adds them"
    assert "Torch: PyPI's build, with CUDA" in said
    assert reason in said
    first, _ours = (call for call in calls if call.startswith("pip"))
    assert first.endswith("--require-hashes -r requirements.lock")
    assert "locked torch" in calls
