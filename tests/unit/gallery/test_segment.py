from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gallery.segment import Kind, Operation, Segment
from tests.support.people import DIMENSION, put, unit_rows

OPERATIONS = [
    put(5, photos=3, name="Ada"),
    Operation(Kind.APPEND, 5, 101.0, unit_rows(2, DIMENSION)),
    Operation(Kind.MERGE, 5, 102.0, sources=(7, 8)),
    Operation(Kind.DESCRIBE, 5, 103.0, details={"name": None, "metadata": {"desk": "4ü"}}),
    Operation(Kind.DELETE, 2**63 - 1, 104.0),
    Operation(Kind.CLEAR, 0, 105.0),
]


def test_survives_the_store() -> None:
    segment = Segment.of(OPERATIONS, DIMENSION)
    read = Segment.from_bytes(segment.to_bytes())
    for field in dataclasses.fields(Segment):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(segment, field.name))
    assert list(read.each_details()) == [o.details for o in OPERATIONS]
    assert read.row_starts().tolist() == [0, 3, 5, 5, 5, 5, 5]
    assert read.source_starts().tolist() == [0, 0, 0, 2, 2, 2, 2]


def test_people_in_bulk_are_the_same_as_one_by_one() -> None:
    people = [put(3, photos=2, name="Ada"), put(1), put(2, photos=4)]
    rows = np.concatenate([p.embeddings for p in people if p.embeddings is not None])
    times = np.full(3, 100.0)
    bulk = Segment.of_people(
        Kind.PUT,
        np.array([3, 1, 2]),
        np.array([2, 1, 4], np.int32),
        rows,
        created=times,
        updated=times,
        details=[{"name": "Ada"}, {}, {}],
    )
    assert bulk.to_bytes() == Segment.of(people, DIMENSION).to_bytes()


def test_joined_segments_are_their_operations_in_order() -> None:
    parts = [Segment.of(part, DIMENSION) for part in (OPERATIONS[:2], OPERATIONS[2:])]
    whole = Segment.of(OPERATIONS, DIMENSION)
    assert Segment.joined(parts).to_bytes() == whole.to_bytes()


@pytest.mark.parametrize("details", [{"name": 7}, {"metadata": "x"}, {"metadata": [1]}])
def test_details_are_a_name_and_metadata(details: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="name, metadata and an origin"):
        Segment.of([Operation(Kind.DESCRIBE, 1, 0.0, details=details)], DIMENSION)


@pytest.mark.parametrize(
    "rows",
    [
        np.full((1, DIMENSION), np.nan, np.float32),
        np.zeros((1, DIMENSION), np.float32),
        2 * unit_rows(1, DIMENSION),
        np.empty((0, DIMENSION), np.float32),
    ],
    ids=["nan", "zero", "long", "none"],
)
def test_what_is_no_embedding_is_refused(rows: Any) -> None:
    with pytest.raises(ValueError, match=r"unit length|without a photo"):
        Segment.of([Operation(Kind.PUT, 1, 0.0, rows)], DIMENSION)


def test_another_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="dimension"):
        Segment.of([put(1)], DIMENSION + 1)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("kind", np.array([9], np.uint8)),
        ("count", np.array([2], np.int32)),
        ("count", np.array([-1], np.int32)),
        ("id", np.array([-1], np.int64)),
        ("id", np.array([1, 2], np.int64)),
        ("details", np.frombuffer(b"{}", np.uint8)),
        ("sources", np.array([1], np.int64)),
    ],
)
def test_columns_that_do_not_fit_together_are_refused(column: str, value: Any) -> None:
    segment = dataclasses.replace(Segment.of([put(1)], DIMENSION), **{column: value})
    with pytest.raises(ValueError, match=r"."):
        Segment.from_bytes(segment.to_bytes())


def test_details_that_are_no_object_are_refused() -> None:
    segment = dataclasses.replace(
        Segment.of([put(1)], DIMENSION),
        details=np.frombuffer(b"[]", np.uint8),
        details_length=np.array([2], np.int32),
    )
    with pytest.raises(ValueError, match="name, metadata and an origin"):
        segment.check_details()


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a segment"):
        Segment.from_bytes(data)


@given(st.data())
def test_a_cut_off_segment_is_refused(data: st.DataObject) -> None:
    whole = Segment.of(OPERATIONS, DIMENSION).to_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError, match=r"."):
        Segment.from_bytes(whole[:length])


def test_only_where_a_retention_ends_the_format_is_one_that_earlier_versions_refuse() -> None:
    """They would go on naming the person."""

    def written(**details: Any) -> tuple[bytes, float | None]:
        segment = Segment.of([Operation(Kind.DESCRIBE, 1, 0.0, details=details)], DIMENSION)
        read = Segment.from_bytes(segment.to_bytes())
        assert list(read.each_details()) == [details]
        return segment.to_bytes(), read.first_end

    consent = {"kind": "consent", "reference": "12"}
    for details in (
        {"name": "Ada"},
        {"metadata": {"expires_at": "2027-01-31T00:00:00Z"}},
        {"expires_at": None, "legal_basis": consent},
    ):
        data, end = written(**details)
        assert b"faces-segment/1" in data
        assert end is None
    data, end = written(expires_at="2027-01-31T00:00:00Z", legal_basis=consent)
    assert b"faces-segment/2" in data
    assert end == 1801353600
    data, end = written(legal_basis={**consent, "withdrawn_at": "2027-01-31T00:00:00Z"})
    assert b"faces-segment/2" in data
    assert end == 1801353600


@pytest.mark.parametrize(
    "details", [{"expires_at": "tomorrow"}, {"expires_at": 5}, {"legal_basis": {"kind": "mine"}}]
)
def test_a_retention_that_is_none_is_not_written(details: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a retention is wrong"):
        Segment.of([Operation(Kind.DESCRIBE, 1, 0.0, details=details)], DIMENSION)
