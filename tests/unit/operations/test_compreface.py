"""Moving from CompreFace: from a server that speaks its routes, to the real routes of this one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.errors import InvalidInput, Unavailable
from serving.operations.compreface import Outcome, move
from serving.operations.compreface_api import CompreFaceApi
from tests.support.api import Api
from tests.support.compreface import PEOPLE, Target, photos_by_name
from tests.support.compreface_source import KEY, Source, serving
from tests.support.listening import listening
from tests.support.stages import faces


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    with listening(made.api.app) as made.url:
        yield made


@pytest.fixture
def source() -> Iterator[Source]:
    with serving(PEOPLE) as made:
        yield made


def moved(source: Source, target: Target, report: Path, again: bool = False) -> Outcome:
    def no_sleep(seconds: float) -> None:
        pass

    with (
        CompreFaceApi(source.url, KEY, "CompreFace", sleep=no_sleep) as there,
        CompreFaceApi(target.url, "", "This service", sleep=no_sleep) as here,
    ):
        return move(there, here, report, again=again)


def lines(report: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in report.read_text().splitlines()]


def test_everybody_with_a_picture_is_here(source: Source, target: Target, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    outcome = moved(source, target, report)
    assert photos_by_name(target.gallery) == {"Ada": 2, "Zoë & Co": 1}
    assert dict(outcome.counts) == {"enrolled": 3, "refused": 1, "no-picture": 1}
    assert (outcome.faces, outcome.empty, outcome.twice) == (5, ["Nobody"], [])
    assert [line.partition(": ")[0] for line in outcome.refused] == ["Eve", "Eve"]
    states = [entry.get("state") for entry in lines(report)]
    assert states.count("enrolled") == 3
    assert KEY not in report.read_text()


def test_a_second_run_has_nothing_to_do(source: Source, target: Target, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    first = moved(source, target, report)
    source.asked.clear()
    second = moved(source, target, report)
    assert (second.counts, second.refused) == (first.counts, [])
    assert not [path for path in source.asked if "static" in path]
    del target.pipeline.reports[b"no face"]
    target.pipeline.found[b"no face"] = faces((0, 0, 90, 90))
    third = moved(source, target, report, again=True)
    assert third.counts["enrolled"] == 4
    assert photos_by_name(target.gallery) == {"Ada": 2, "Zoë & Co": 1, "Eve": 1}


def test_one_that_was_broken_off_enrols_no_picture_twice(
    source: Source, target: Target, tmp_path: Path
) -> None:
    """The answer to a picture got lost: the report has that it was begun."""
    report = tmp_path / "report.jsonl"
    moved(source, target, report)
    kept = report.read_text().splitlines()
    places = [n for n, line in enumerate(kept) if '"state": "enrolled"' in line]
    report.write_text("\n".join(kept[: places[1]]) + '\n{"image_id": "cut')
    outcome = moved(source, target, report)
    assert photos_by_name(target.gallery) == {"Ada": 2, "Zoë & Co": 2}
    assert outcome.counts["enrolled"] == 3
    assert outcome.twice == []


def test_what_is_away_for_a_moment_is_asked_again(
    source: Source, target: Target, tmp_path: Path
) -> None:
    source.failures = [503, 500]
    assert moved(source, target, tmp_path / "report.jsonl").counts["enrolled"] == 3
    source.failures = [503] * 50
    with pytest.raises(Unavailable, match="CompreFace"):
        moved(source, target, tmp_path / "report.jsonl")


def test_the_report_of_another_import_is_not_gone_on_with(
    source: Source, target: Target, tmp_path: Path
) -> None:
    for text in ('{"source": "http://x", "target": "http://y"}\n', "[1]\n"):
        report = tmp_path / "report.jsonl"
        report.write_text(text)
        with pytest.raises(InvalidInput):
            moved(source, target, report)
        assert report.read_text() == text
    assert photos_by_name(target.gallery) == {}


def test_a_service_without_the_routes_is_told(source: Source, tmp_path: Path) -> None:
    with listening(Api().app) as url:
        other = Target()
        other.url = url
        with pytest.raises(InvalidInput, match=r"404.*setting compreface"):
            moved(source, other, tmp_path / "report.jsonl")
    assert not (tmp_path / "report.jsonl").exists()
