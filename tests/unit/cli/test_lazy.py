"""Groups whose commands are imported when they are called."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from serving.cli.lazy import LazyGroup
from tests.support.commands import children

GROUP = LazyGroup("group", places={"b": f"{__name__}:second", "a": f"{__name__}:first"})


@click.command()
def first() -> None:
    """The first one."""
    click.echo("one")


@click.command()
def second() -> None:
    click.echo("two")


def test_a_command_runs() -> None:
    assert CliRunner().invoke(GROUP, ["b"]).output == "two\n"


def test_all_are_listed_in_order() -> None:
    assert list(children(GROUP)) == [("a", first), ("b", second)]
    assert "a  The first one.\n  b" in CliRunner().invoke(GROUP, ["--help"]).output


def test_one_that_there_is_not() -> None:
    result = CliRunner().invoke(GROUP, ["c"])
    assert result.exit_code == 2
    assert "No such command 'c'" in result.output


def test_a_place_that_is_wrong_is_an_error() -> None:
    wrong = LazyGroup("group", places={"a": f"{__name__}:third"})
    with pytest.raises(AttributeError, match="third"):
        CliRunner().invoke(wrong, ["a"], catch_exceptions=False)
