"""What tritonserver is given, and what happens without it."""

from __future__ import annotations

import ctypes.util
import http.server
import importlib.util
import platform
import socketserver
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from serving.stack import triton
from serving.stack.process import StackError

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def always(value: Any) -> Callable[..., Any]:
    return lambda *arguments: value


def test_a_model_that_is_not_traced_is_told_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "models" / "facenet-x").mkdir(parents=True)
    with pytest.raises(StackError, match=r"not traced yet; run make model MODEL=facenet-x"):
        triton.start(tmp_path, tmp_path, 9000, tmp_path / "models", "facenet-x", 1)
    assert not (tmp_path / "triton-backends").exists()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository with a model of TorchScript."""
    traced = tmp_path / "models" / "facenet-x" / "1" / "model.pt"
    traced.parent.mkdir(parents=True)
    traced.touch()
    return tmp_path / "models"


def test_a_liveness_model_that_is_not_there_is_told_with_the_setting(
    tmp_path: Path, models: Path
) -> None:
    with pytest.raises(StackError, match=r"The liveness model spoof is not in .*liveness\.url"):
        triton.start(tmp_path, tmp_path, 9000, models, "facenet-x", 1, "spoof")
    assert not (tmp_path / "triton-backends").exists()


def test_without_torch_a_model_of_torchscript_is_told_with_what_to_install(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", always(None))
    with pytest.raises(StackError, match=r"facenet-serving\[torch\].*facenet-x-openvino"):
        triton.start(tmp_path, tmp_path, 9000, models, "facenet-x", 1)
    assert not (tmp_path / "triton-backends").exists()


def test_torch_script_is_served_from_folders_of_ascii_alone(tmp_path: Path, models: Path) -> None:
    with pytest.raises(StackError, match=r"letters that are not ASCII.*facenet-x-openvino"):
        triton.start(tmp_path / "José", tmp_path, 9000, models, "facenet-x", 1)


def test_the_models_of_this_repository_can_be_asked_for() -> None:
    assert triton.ports_of(9001) == {"Triton's metrics": 9002}


@pytest.mark.parametrize("libc", [("glibc", "2.31"), ("", ""), ("glibc", "1.99")])
def test_a_system_that_is_too_old_is_told(
    monkeypatch: pytest.MonkeyPatch, libc: tuple[str, str]
) -> None:
    monkeypatch.setattr(platform, "libc_ver", always(libc))
    with pytest.raises(StackError, match=r"needs glibc 2\.35 or newer, and this system has"):
        triton._server()


@pytest.mark.parametrize("version", ["2.35", "2.39.9000", "3.0"])
def test_a_system_that_is_new_enough(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(platform, "libc_ver", always(("glibc", version)))
    assert (triton._server() / "bin" / "tritonserver").is_file()


class TestLibraries:
    def test_a_python_without_its_library_is_told_with_the_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sysconfig, "get_config_var", always(str(tmp_path)))
        monkeypatch.setattr(ctypes.util, "find_library", always(None))
        with pytest.raises(StackError, match=f"apt-get install libpython{PYTHON}"):
            triton._library_path(tmp_path / "pytriton" / "tritonserver")

    def test_this_pythons_own_library_comes_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / f"libpython{PYTHON}.so.1.0").touch()
        monkeypatch.setattr(sysconfig, "get_config_var", always(str(tmp_path)))
        found = triton._library_path(tmp_path / "site" / "pytriton" / "tritonserver")
        assert found == [str(tmp_path), str(tmp_path / "site" / "nvidia_pytriton.libs")]

    def test_what_the_loader_finds_needs_no_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sysconfig, "get_config_var", always(None))
        monkeypatch.setattr(ctypes.util, "find_library", always("libpython.so"))
        found = triton._library_path(tmp_path / "pytriton" / "tritonserver")
        assert found == [str(tmp_path / "nvidia_pytriton.libs")]


class TestBackends:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Path:
        server = tmp_path / "tritonserver"
        stubs = server / "python_backend_stubs"
        for version in (PYTHON, "2.7"):
            (stubs / version).mkdir(parents=True)
            (stubs / version / "triton_python_backend_stub").write_text(f"stub of {version}")
        (server / "backends" / "python").mkdir(parents=True)
        (server / "backends" / "python" / "libtriton_python.so").touch()
        return server

    @pytest.fixture
    def ours(self, tmp_path: Path) -> Path:
        (tmp_path / "ours").mkdir()
        (tmp_path / "ours" / "pytorch_model.py").write_text("new")
        (tmp_path / "ours" / "openvino_model.py").write_text("newer")
        (tmp_path / "ours" / "batch.py").write_text("shared")
        return tmp_path / "ours"

    def test_the_stub_is_that_of_this_python(
        self, tmp_path: Path, server: Path, ours: Path
    ) -> None:
        folder = triton._backends(tmp_path, server, ours)
        stub = folder / "python" / "triton_python_backend_stub"
        assert stub.read_text() == f"stub of {PYTHON}"
        assert (folder / "python" / "libtriton_python.so").is_file()

    def test_what_an_earlier_run_left_is_replaced(
        self, tmp_path: Path, server: Path, ours: Path
    ) -> None:
        left = triton._backends(tmp_path, server, ours) / "pytorch"
        (left / "model.py").write_text("old")
        (left / "removed.py").touch()
        folder = triton._backends(tmp_path, server, ours)
        held = {p.name: p.read_text() for p in (folder / "pytorch").iterdir()}
        assert held == {"model.py": "new", "batch.py": "shared"}
        held = {p.name: p.read_text() for p in (folder / "openvino").iterdir()}
        assert held == {"model.py": "newer", "batch.py": "shared"}

    def test_they_are_for_the_user_alone(self, tmp_path: Path, server: Path, ours: Path) -> None:
        folder = triton._backends(tmp_path, server, ours)
        assert [p for p in (folder, *folder.rglob("*")) if p.stat().st_mode & 0o077] == []

    def test_a_python_that_the_package_does_not_serve(
        self, tmp_path: Path, server: Path, ours: Path
    ) -> None:
        (server / "python_backend_stubs" / PYTHON / "triton_python_backend_stub").unlink()
        with pytest.raises(StackError, match=f"no Python backend for Python {PYTHON}"):
            triton._backends(tmp_path, server, ours)


class Ready(http.server.BaseHTTPRequestHandler):
    """What says whether a model is ready, on a socket."""

    status = 200
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        self.end_headers()

    def address_string(self) -> str:  # by a socket callers have no address
        return ""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_ready_is_what_triton_says(tmp_path: Path) -> None:
    assert not triton.is_ready(tmp_path, "facenet-x")
    path = triton.url_of(tmp_path).removeprefix("unix:")
    with socketserver.UnixStreamServer(path, Ready) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        assert triton.is_ready(tmp_path, "facenet-x")
        assert Ready.asked == ["/v2/models/facenet-x/ready"]
        Ready.status = 400
        assert not triton.is_ready(tmp_path, "facenet-x")
        server.shutdown()
        thread.join()
    # Of one that was killed the socket is still there.
    assert Path(path).exists()
    assert not triton.is_ready(tmp_path, "facenet-x")


def test_a_folder_whose_socket_nobody_could_open_is_told(tmp_path: Path) -> None:
    (tmp_path / "models" / "facenet-x" / "1").mkdir(parents=True)
    (tmp_path / "models" / "facenet-x" / "1" / "model.pt").touch()
    folder = tmp_path / ("long" * 30)
    with pytest.raises(StackError, match=r"too long for a Unix socket.*faces up --folder"):
        triton.start(folder, tmp_path, 9000, tmp_path / "models", "facenet-x", 1)
