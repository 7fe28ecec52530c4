"""The real tritonserver of the one-machine stack, from the pip package nvidia-pytriton.

It listens on a Unix socket in the stack's folder, which only the user can open. A caller of Triton
can run code in it: Triton loads models from requests, and knows no keys. Through a port every
account of the machine could call it, and so could any page in a browser.

The package has the Python backend only. `triton/backends` has stand-ins for the PyTorch and the
OpenVINO backend, so the model repository is served unchanged.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import platform
import shutil
import socket
import sys
import sysconfig
from pathlib import Path

import httpx

from serving.model.repository import MODEL, needs_torch, weights_in
from serving.stack.process import CALM_THREADS, LOOPBACK, Process, StackError, make_private

_GLIBC = (2, 35)
_SOCKET = "triton.sock"
_LONGEST_SOCKET = 107  # bytes of a path, of unix(7)


def ports_of(first: int) -> dict[str, int]:
    """The page for Prometheus has the port after ``first``, as with Triton's defaults."""
    return {"Triton's metrics": first + 1}


def url_of(folder: Path) -> str:
    """The address of the Triton of a stack's folder, as `TritonSettings.url` takes it."""
    return f"unix:{_path_in(folder)}"


def _path_in(folder: Path) -> str:
    return str(folder.resolve() / _SOCKET)


def start(
    folder: Path,
    logs: Path,
    first_port: int,
    repository: Path,
    model: str,
    threads: int,
    beside: str | None = None,
) -> Process:
    """Start tritonserver with one or two models of the repository, for this user alone.

    Args:
        threads: for one inference.
        beside: a second model, which this project has not traced.

    Raises:
        StackError: something is missing; the sentence says what.
    """
    if weights_in(repository / model) is None:
        raise StackError(
            f"The model {model} is not traced yet; run make model MODEL={model} "
            f"(the repository is {repository})."
        )
    if weights_in(repository / model) == MODEL and importlib.util.find_spec("torch") is None:
        raise StackError(needs_torch(model))
    if weights_in(repository / model) == MODEL and not str(folder.resolve()).isascii():
        # Where torch is loaded in Triton's process for Python, it ends that.
        raise StackError(
            f"TorchScript models cannot be served from {str(folder)!r}, whose path has letters "
            "that are not ASCII; choose another folder with faces up --folder, or "
            f"{model}-openvino."
        )
    if beside is not None and not (repository / beside / "config.pbtxt").is_file():
        raise StackError(
            f"The liveness model {beside} is not in {repository}: put its folder with config.pbtxt "
            "there, or set liveness.url to where it is served; see docs/liveness.md."
        )
    if len(os.fsencode(_path_in(folder))) > _LONGEST_SOCKET:
        raise StackError(
            f"The path {folder} is too long for a Unix socket in it; choose another one with "
            "faces up --folder."
        )
    server = _server()
    backends = _backends(folder, server, repository.parent / "backends")
    # A server that was killed leaves its socket.
    (folder / _SOCKET).unlink(missing_ok=True)
    command = [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={repository.resolve()}",
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in (model, beside) if name is not None),
        # Relative to the folder: the Python backend starts its processes by a shell, in which a
        # blank or a quote of a path has a meaning.
        f"--backend-directory={backends.name}",
        # libevhtp, its HTTP server, understands such an address, and then ignores the port.
        f"--http-address={url_of(folder)}",
        "--allow-grpc=false",
        f"--metrics-address={LOOPBACK}",
        f"--metrics-port={first_port + 1}",
        "--exit-timeout-secs=3",
        # The configuration is complete; to complete it would cost a second start of the backend.
        "--disable-auto-complete-config",
    ]
    env = {
        "LD_LIBRARY_PATH": os.pathsep.join(_library_path(server)),
        # The backend's processes embed Python and find its packages through python3 on PATH.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "OMP_NUM_THREADS": str(threads),
        **CALM_THREADS,
    }
    return Process("Triton", command, log=logs / "triton.log", env=env, folder=folder)


def client(folder: Path) -> httpx.Client:
    """A plain HTTP client of the Triton of a stack's folder."""
    transport = httpx.HTTPTransport(uds=_path_in(folder), verify=False)  # it is plain HTTP
    return httpx.Client(transport=transport, base_url="http://triton")


def is_ready(folder: Path, model: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        # Tried first, since httpx leaks a socket that it cannot connect.
        if probe.connect_ex(_path_in(folder)) != 0:
            return False
    try:
        with client(folder) as http:
            return http.get(f"/v2/models/{model}/ready").is_success
    except httpx.TransportError:
        return False


def _server() -> Path:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise StackError("The tritonserver package is not installed; run make install.")
    libc, version = platform.libc_ver()
    if libc != "glibc" or tuple(int(v) for v in version.split(".")[:2]) < _GLIBC:
        raise StackError(
            f"tritonserver needs glibc {_GLIBC[0]}.{_GLIBC[1]} or newer, and this system has "
            f"{libc or 'no glibc'} {version}."
        )
    return Path(spec.origin).parent / "tritonserver"


def _library_path(server: Path) -> list[str]:
    bundled = [str(server.parents[1] / "nvidia_pytriton.libs")]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(sysconfig.get_config_var("LIBDIR") or "")
    if any(folder.glob(f"libpython{version}.so*")):
        return [str(folder), *bundled]
    if ctypes.util.find_library(f"python{version}"):  # on the loader's own path
        return bundled
    raise StackError(
        f"tritonserver needs libpython{version}.so, and this Python comes without it; install it "
        f"(Debian, Ubuntu: apt-get install libpython{version})."
    )


def _backends(folder: Path, server: Path, ours: Path) -> Path:
    """Fill a backend folder: the Python backend, with this Python's stub, and our stand-ins."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        raise StackError(f"tritonserver's package has no Python backend for Python {version}.")
    backends = folder / "triton-backends"
    shutil.rmtree(backends, ignore_errors=True)
    shutil.copytree(server / "backends" / "python", backends / "python")
    shutil.copy2(stub, backends / "python")
    for name in ("pytorch", "openvino"):
        (backends / name).mkdir()
        shutil.copyfile(ours / f"{name}_model.py", backends / name / "model.py")
        shutil.copy(ours / "batch.py", backends / name)
    make_private(backends)
    return backends
