"""Groups of people: the file that names them, their rates, and when they are not compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.evaluation.groups import (
    NOT_STATED,
    Differential,
    Groups,
    differential,
    labels_of,
    read_groups,
)
from serving.evaluation.identification import answers_to
from serving.evaluation.lookups import Lookups, Trial
from serving.evaluation.metrics import Floats
from serving.evaluation.sample import NotMeasurable, Sample
from tests.support.samples import crowd

PEOPLE = ["7", "8", "anna", "b,c"]


def read(tmp_path: Path, text: str | bytes) -> Groups:
    path = tmp_path / "groups.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_groups(path, PEOPLE)


class TestFile:
    def test_a_column_is_an_attribute(self, tmp_path: Path) -> None:
        found = read(tmp_path, '\ufeffid,sex,age\n007,f,20-39\n"b,c",m,\n\nanna,f,60+\n')
        assert found.by["sex"] == {"7": "f", "b,c": "m", "anna": "f"}
        assert found.by["age"] == {"7": "20-39", "anna": "60+"}
        assert found.unknown == []

    def test_names_of_nobody_are_told(self, tmp_path: Path) -> None:
        found = read(tmp_path, "id,sex\n7,f\n99,m\nbob\x07,m\n")
        assert found.by == {"sex": {"7": "f"}}
        assert found.unknown == ["99", "bob?"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "no column 'id'"),
            ("person,sex\n7,f\n", "no column 'id'"),
            ("id\n7\n", "no column with groups"),
            ("id,sex,sex\n7,f,m\n", "a name of its own"),
            ("id,\n7,f\n", "a name of its own"),
            ("id,sex\n7\n", "row 2: 1 cells, not 2"),
            ("id,sex\n7,f\n007,m\n", "row 3: '007' is there twice"),
            ("id,sex\n99,f\n", "a group for nobody"),
            ("id,sex\n7,\n", "a group for nobody"),
            ('id,sex\n"7,f\n', "is no CSV"),
            (b"id,sex\n7,\xff\n", "is not UTF-8"),
        ],
    )
    def test_what_is_unclear_is_refused(
        self, tmp_path: Path, text: str | bytes, message: str
    ) -> None:
        with pytest.raises(NotMeasurable, match=message):
            read(tmp_path, text)

    def test_a_column_of_names_is_no_grouping(self, tmp_path: Path) -> None:
        path = tmp_path / "groups.csv"
        path.write_text("id,name\n" + "".join(f"{n},name {n}\n" for n in range(60)))
        with pytest.raises(NotMeasurable, match="no grouping"):
            read_groups(path, [str(n) for n in range(60)])

    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(NotMeasurable, match="cannot be read"):
            read_groups(tmp_path, PEOPLE)


def looked_up(sample: Sample, best: Floats, right: NDArray[np.bool_]) -> Lookups:
    n = len(sample.person)
    nothing = np.full(n, -np.inf)
    return Lookups(
        sample.person,
        np.arange(n),
        best,
        right,
        np.full(n, 10),
        nothing,
        nothing,
        right.astype(int),
    )


def measured(wrong: dict[str, int], named: dict[str, int], sizes: dict[str, int]) -> Differential:
    """Groups of people with 4 photos each; ``wrong`` and ``named``: how many of a group's photos
    are not found, and found though unknown."""
    labels = [group for group, size in sizes.items() for _ in range(size)]
    sample = crowd(len(labels), 4)
    of = np.array(labels)[sample.person]
    place = np.concatenate([np.arange(4 * size) for size in sizes.values()])
    missed = np.array([p < wrong.get(g, 0) for g, p in zip(of, place, strict=True)])
    found = np.array([p < named.get(g, 0) for g, p in zip(of, place, strict=True)])
    known = looked_up(sample, np.where(missed, 0.1, 0.9), ~missed)
    unknown = looked_up(sample, np.where(found, 0.9, 0.1), np.zeros(len(of), bool))
    trial = Trial(1, known, unknown)
    told = (answers_to(x, lambda n: 0.5, None, sample) for x in (known, unknown))
    return differential("sex", labels, sample, trial, *told)


class TestDifferential:
    def test_counts_rates_and_ratio(self) -> None:
        found = measured({"f": 8, "m": 2}, {"f": 3}, {"f": 20, "m": 10})
        f, m = found.groups
        assert (f.group, f.people, f.photos) == ("f", 20, 80)
        assert (f.fnir.errors, f.fnir.lookups, f.fnir.value) == (8, 80, 0.1)
        assert (m.fnir.errors, m.fnir.lookups, m.fnir.value) == (2, 40, 0.05)
        assert (f.fpir.errors, f.fpir.people_with_errors) == (3, 1)
        assert found.fnir_ratio.value == pytest.approx(2)
        assert (found.fnir_ratio.worst, found.fnir_ratio.best) == ("f", "m")
        assert not found.fnir_ratio.shown  # the intervals overlap
        # A ratio to nothing is none; the worst group is named.
        assert found.fpir_ratio.value is None
        assert found.fpir_ratio.worst == "f"
        assert found.fpir_ratio.note == "no error in m, so there is no ratio"

    def test_a_difference_that_is_shown(self) -> None:
        found = measured({"f": 300, "m": 20}, {}, {"f": 100, "m": 100})
        assert found.fnir_ratio.shown
        assert found.fpir_ratio.note == "no group has an error"

    def test_small_groups_are_in_no_ratio(self) -> None:
        found = measured({"x": 4}, {"x": 4}, {"f": 12, "m": 12, "x": 3})
        small = found.groups[-1]
        assert small.too_small == "too small: 3 of at least 10 people"
        assert small.fnir.errors == 4  # the number is told
        assert found.fnir_ratio.worst is None
        assert found.fnir_ratio.note == "no group has an error"

    def test_one_group_is_compared_with_nothing(self) -> None:
        found = measured({"f": 4}, {}, {"f": 12, NOT_STATED: 12})
        assert found.fnir_ratio.note == "fewer than two groups with 10 people or more"


def test_who_has_no_group() -> None:
    groups = Groups({"sex": {"0": "f", "2": "m"}})
    assert labels_of(groups, "sex", crowd(3, 2)) == ["f", NOT_STATED, "m"]
