"""Every `faces` command that a pod runs is there, with the options that it is given."""

from __future__ import annotations

import click
import pytest

from serving.cli import cli
from tests.support.chart.helm import Helm
from tests.support.chart.objects import pods
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
