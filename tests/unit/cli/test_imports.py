"""`faces import`: a path without the name of a command, and the commands by their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from serving.cli import cli


@pytest.mark.parametrize(
    "arguments",
    [
        ["PATH"],
        ["--append", "PATH"],
        ["--made-by", "facenet-test@0123456789ab", "PATH"],
        ["file", "PATH"],
    ],
)
def test_a_path_is_imported_as_a_file(tmp_path: Path, arguments: list[str]) -> None:
    missing = tmp_path / "nothing.safetensors"
    given = [str(missing) if argument == "PATH" else argument for argument in arguments]
    result = CliRunner().invoke(cli, ["import", *given])
    assert result.exit_code == 2
    assert "nothing.safetensors' does not exist" in result.output.replace("\n", " ")


def test_help_is_of_the_group_and_of_each() -> None:
    assert "compreface" in CliRunner().invoke(cli, ["import", "--help"]).output
    assert "--api-key" in CliRunner().invoke(cli, ["import", "compreface", "--help"]).output
    assert "--made-by" in CliRunner().invoke(cli, ["import", "file", "--help"]).output
