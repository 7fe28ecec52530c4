from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from serving.gallery.fold import fold
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.snapshot import Person
from serving.gallery.state import People
from tests.support.fuzzing import examples
from tests.support.people import DIMENSION, put, unit_rows
from tests.unit.gallery.strategies import SEGMENTS


def segment(*operations: Operation) -> Segment:
    return Segment.of(operations, DIMENSION)


def kinds_and_ids(segments: Sequence[Segment]) -> list[tuple[Kind, int]]:
    return [
        (Kind(k), i) for s in segments for k, i in zip(s.kind.tolist(), s.id.tolist(), strict=True)
    ]


def state(segments: Sequence[Segment]) -> tuple[list[Person], Any]:
    """Everybody, and where everybody's centroid points."""
    people = People(DIMENSION)
    for s in segments:
        people.apply(s)
    snapshot = people.snapshot(1)
    everybody = snapshot.list(999)
    _, similarities, _ = snapshot.search(unit_rows(4, DIMENSION, seed=5), len(everybody) or 1)
    return everybody, similarities


def run(*segments: Segment, from_nothing: bool, max_rows: int = 1000) -> list[Segment]:
    return list(fold(segments, from_nothing=from_nothing, max_rows=max_rows))


DELETE = Operation(Kind.DELETE, 1, 5.0)


def test_what_was_replaced_falls_away() -> None:
    folded = run(segment(put(1, 3), put(2)), segment(put(1, 2, seed=9)), from_nothing=True)
    assert kinds_and_ids(folded) == [(Kind.PUT, 1), (Kind.PUT, 2)]
    assert [len(s.embeddings) for s in folded] == [3]


def test_from_nothing_a_deleted_person_leaves_no_trace() -> None:
    assert run(segment(put(1)), segment(DELETE), from_nothing=True) == []


def test_on_top_of_others_a_deletion_stays() -> None:
    assert kinds_and_ids(run(segment(put(1)), segment(DELETE), from_nothing=False)) == [
        (Kind.DELETE, 1)
    ]


def test_on_top_of_others_an_append_stays_one() -> None:
    append = Operation(Kind.APPEND, 1, 5.0, unit_rows(1, DIMENSION))
    folded = run(segment(append), segment(append), from_nothing=False)
    assert kinds_and_ids(folded) == [(Kind.APPEND, 1)]
    assert folded[0].count.tolist() == [2]


def test_a_merge_that_needs_earlier_photos_stays_in_its_place() -> None:
    merge = Operation(Kind.MERGE, 1, 5.0, sources=(2,))
    folded = run(segment(put(2)), segment(merge), segment(put(2, seed=7)), from_nothing=False)
    assert kinds_and_ids(folded) == [(Kind.PUT, 2), (Kind.MERGE, 1), (Kind.PUT, 2)]


def test_after_everybody_was_forgotten_nothing_before_counts() -> None:
    clear = Operation(Kind.CLEAR, 0, 5.0)
    for times in (1, 2):
        clears = [segment(clear)] * times
        folded = run(segment(put(1), put(2)), *clears, segment(put(3)), from_nothing=False)
        assert kinds_and_ids(folded) == [(Kind.CLEAR, 0), (Kind.PUT, 3)]


def test_large_results_are_cut() -> None:
    folded = run(segment(*(put(n, 3) for n in range(10))), from_nothing=True, max_rows=7)
    assert [len(s.embeddings) for s in folded] == [6, 6, 6, 6, 6]


@pytest.mark.fuzz
@settings(max_examples=examples(100))
@given(SEGMENTS)
def test_folding_any_run_changes_nothing(history: list[list[Operation]]) -> None:
    segments = [Segment.of(operations, DIMENSION) for operations in history]
    expected_people, expected_similarities = state(segments)
    for start, end in itertools.combinations(range(len(segments) + 1), 2):
        folded = fold(segments[start:end], from_nothing=start == 0, max_rows=4)
        kept = [Segment.from_bytes(s.to_bytes()) for s in folded]
        people, similarities = state([*segments[:start], *kept, *segments[end:]])
        assert [dataclasses.asdict(p) for p in people] == [
            dataclasses.asdict(p) for p in expected_people
        ]
        np.testing.assert_allclose(similarities, expected_similarities, atol=2e-3)
