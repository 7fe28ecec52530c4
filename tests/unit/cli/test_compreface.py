"""`faces import compreface`: what it prints, and its exit codes."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from serving.cli import cli
from tests.support.compreface import PEOPLE, Target, photos_by_name
from tests.support.compreface_source import KEY, serving
from tests.support.listening import listening


def ran(*arguments: str, key: str = KEY) -> Result:
    command = ["import", "compreface", *arguments]
    return CliRunner().invoke(cli, command, env={"COMPREFACE_API_KEY": key})


def test_people_are_moved_and_what_is_not_is_told(tmp_path: Path) -> None:
    target, report = Target(), str(tmp_path / "report.jsonl")
    with serving(PEOPLE) as source, listening(target.api.app) as url:
        result = ran(source.url, "--url", url, "--report", report)
    assert result.exit_code == 1, result.output
    assert "3 of 5 faces are enrolled" in result.output
    assert "2 could not be enrolled" in result.output
    assert "Nobody: it has no face" in result.output
    assert photos_by_name(target.gallery) == {"Ada": 2, "Zoë & Co": 1}


def test_all_is_well_where_all_are_there(tmp_path: Path) -> None:
    target, report = Target(), str(tmp_path / "report.jsonl")
    with serving({"Ada": [b"photo 1"]}) as source, listening(target.api.app) as url:
        arguments = [source.url, "--url", url, "--report", report, "--collection", "default"]
        result = ran(*arguments)
    assert (result.exit_code, photos_by_name(target.gallery)) == (0, {"Ada": 1}), result.output


def test_a_collection_that_cannot_be_is_told(tmp_path: Path) -> None:
    result = ran("http://127.0.0.1:9", "--collection", "-")
    assert result.exit_code == 1
