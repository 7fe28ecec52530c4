"""Every command that a pod runs is there, with the options that it is given."""

from __future__ import annotations

import shlex

import click
import pytest
from ray.scripts.scripts import start

from serving.cli import cli
from serving.stack.serve import MEMORY_ALONE
from tests.support.chart.helm import Helm
from tests.support.chart.objects import only, pods
from tests.support.chart.values import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_command_line_takes_them(
    helm4: Helm, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACES_CONFIG", __file__)  # a file that is there
    for pod in pods(helm4.template(files=[VARIANTS[variant]])):
        for container in pod.containers:
            program, *words = container.get("command", ["-"])
            if program == "faces":
                parse(cli, words)


@pytest.mark.parametrize("variant", VARIANTS)
def test_ray_takes_its_parameters(helm4: Helm, variant: str) -> None:
    """KubeRay makes `ray start --NAME=VALUE …` of them, for a shell."""
    cluster = only(helm4.template(files=[VARIANTS[variant]]), "RayService")["spec"][
        "rayClusterConfig"
    ]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        line = " ".join(f"--{name}={value}" for name, value in group["rayStartParams"].items())
        parse(start, shlex.split(line))
    head = cluster["headGroupSpec"]["rayStartParams"]
    with start.make_context(
        "start", shlex.split(f"--system-config={head['system-config']}")
    ) as made:
        # As on one machine.
        assert made.params["system_config"] == MEMORY_ALONE


def parse(command: click.Command, words: list[str]) -> None:
    """Raises click.UsageError when the command or one of its options is not there."""
    while isinstance(command, click.Group):
        with click.Context(command) as context:
            name, found, words = command.resolve_command(context, words)
        assert found is not None, name
        command = found
    with command.make_context(command.name, words):
        pass


def test_a_command_or_option_that_is_not_there() -> None:
    for words in (["galery"], ["gallery", "fold"], ["gallery", "sweep", "--gracious", "1"]):
        with pytest.raises(click.UsageError):
            parse(cli, words)
