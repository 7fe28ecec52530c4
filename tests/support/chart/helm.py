"""Real helm over a chart: renders values into objects, and caches recent renderings."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.chart.tools import FOLDER

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "helm" / "facenet-serving"
RELEASE = "faces"
NAMESPACE = "vision"

Object = dict[str, Any]
Values = Mapping[str, Any]

_NO_CLUSTER = "/nonexistent/kubeconfig"
_KEPT = 40


class HelmError(Exception):
    """Helm failed; the message is helm's."""


@dataclass(frozen=True)
class Helm:
    """One version of helm; every method raises HelmError when helm fails."""

    major: int

    @property
    def binary(self) -> Path:
        return FOLDER / f"helm{self.major}" / "helm"

    def __str__(self) -> str:
        return f"helm{self.major}"

    def template(
        self,
        values: Values | None = None,
        *,
        chart: Path = CHART,
        files: Sequence[Path] = (),
        release: str = RELEASE,
        namespace: str = NAMESPACE,
        flags: Sequence[str] = (),
    ) -> tuple[Object, ...]:
        """The rendered objects, hooks included. They are shared: do not change them.

        Args:
            values: laid over ``files``, and these over the chart's own.
        """
        command = ("template", release, str(chart), "--namespace", namespace, *flags)
        return parse(self.run(*command, values=values, files=files))

    def lint(self, values: Values | None = None, *, files: Sequence[Path] = ()) -> str:
        return self.run("lint", str(CHART), "--strict", values=values, files=files)

    def run(self, *command: str, values: Values | None = None, files: Sequence[Path] = ()) -> str:
        """Run any command of helm that takes values."""
        return _run(self, command, tuple(files), json.dumps(values or {}))


# Enough for the renderings that many tests use; the others are used once.
@functools.lru_cache(_KEPT)
def _run(helm: Helm, command: tuple[str, ...], files: tuple[Path, ...], values: str) -> str:
    named = [part for file in files for part in ("--values", str(file))]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [helm.binary, *command, *named, "--values", "-"],
            input=values,
            capture_output=True,
            text=True,
            # Nothing of the user's environment: no cluster, no plugins, no repositories.
            # A rendering is over before Go's garbage collector, half of its work, is of use.
            env={
                "PATH": os.environ["PATH"],
                "HOME": home,
                "KUBECONFIG": _NO_CLUSTER,
                "GOGC": "off",
            },
        )
    if done.returncode:
        raise HelmError(done.stderr.strip() or done.stdout.strip())
    return done.stdout


@functools.lru_cache(_KEPT)
def parse(text: str) -> tuple[Object, ...]:
    """The objects of a stream of YAML. Raises yaml.YAMLError for a duplicate key."""
    return tuple(document for document in yaml.load_all(text, _Loader) if document)


class _Loader(yaml.CSafeLoader):
    pass


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    if twice := {str(key) for key in keys if keys.count(key) > 1}:
        raise yaml.constructor.ConstructorError(
            None, None, f"{', '.join(sorted(twice))} is there twice", node.start_mark
        )
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
# Kubernetes knows no timestamps in YAML: they are strings.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: str(node.value))
