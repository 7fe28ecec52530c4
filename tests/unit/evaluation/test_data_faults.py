"""Faults of the photos: the same one in two folders, and twice in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from serving.evaluation.data_faults import DataFaults, data_faults
from serving.evaluation.sample import Sample
from serving.evaluation.verification import pairs_of
from tests.support.samples import sample_of


def faults(sample: Sample, **options: int) -> DataFaults:
    return data_faults(sample, pairs_of(sample, np.random.default_rng(0)), **options)


def saved(tmp_path: Path, contents: list[tuple[str, bytes]]) -> list[Path]:
    paths = []
    for n, (person, content) in enumerate(contents):
        path = tmp_path / person / f"{n}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    return paths


def test_the_same_file(tmp_path: Path) -> None:
    paths = saved(
        tmp_path, [("7", b"one"), ("7", b"two"), ("7", b"two"), ("8", b"one"), ("9", b"six")]
    )
    rows = [[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]
    sample = replace(sample_of(rows, [7, 7, 7, 8, 9]), photos=paths)
    found = faults(sample, unknown_in_groups=3)
    assert (found.in_two_people, found.repeated, found.one_photo) == (2, 1, 2)
    assert found.alike == 0  # they are the same file, and told once
    assert found.unknown_in_groups == 3
    assert found.details == (
        "The same file in the folders of 2 people: 7/0.jpg, 8/3.jpg.",
        "The same file more than once: 7/1.jpg, 7/2.jpg.",
    )


def test_nearly_the_same_photo_of_two_people(tmp_path: Path) -> None:
    paths = saved(tmp_path, [("7", b"a"), ("7", b"bb"), ("8", b"ccc"), ("8", b"dddd")])
    rows = [[1, 0, 0], [0, 1, 0], [1, 0.01, 0], [0, 0, 1]]
    sample = replace(sample_of(rows, [7, 7, 8, 8]), photos=paths, names=["anna", "bob"])
    found = faults(sample)
    assert (found.in_two_people, found.repeated, found.alike) == (0, 0, 1)
    sentence = "Nearly the same photo of two people (1.000): anna/0.jpg, bob/2.jpg."
    assert found.details == (sentence,)


def test_files_that_are_gone_are_passed_over() -> None:
    sample = sample_of(np.eye(3), [1, 1, 2])
    assert faults(sample) == DataFaults(0, 0, 0, 1)
