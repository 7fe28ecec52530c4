"""Any history of a gallery, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from serving.gallery.segment import Kind, Operation
from tests.support.people import DIMENSION, unit_rows

IDS = st.integers(0, 5)
_TIMES = st.floats(1, 1000)
_PHOTOS = st.builds(
    lambda n, seed: unit_rows(n, DIMENSION, seed=seed), st.integers(1, 3), st.integers(0, 50)
)
_DETAILS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([None, "Ada", "Eve"]),
        "metadata": st.sampled_from([None, {"desk": 4}]),
        "expires_at": st.sampled_from([None, "2027-01-31T00:00:00Z", "2028-01-31T00:00:00Z"]),
        "legal_basis": st.sampled_from(
            [
                None,
                {"kind": "contract"},
                {"kind": "consent", "withdrawn_at": "2027-06-01T00:00:00Z"},
            ]
        ),
    },
)

OPERATIONS = st.one_of(
    st.builds(
        lambda kind, p, time, rows, details: Operation(kind, p, time, rows, details=details),
        st.sampled_from([Kind.PUT, Kind.APPEND]),
        IDS,
        _TIMES,
        _PHOTOS,
        _DETAILS,
    ),
    st.builds(lambda p, time: Operation(Kind.DELETE, p, time), IDS, _TIMES),
    st.builds(
        lambda p, time, sources: Operation(Kind.MERGE, p, time, sources=sources),
        IDS,
        _TIMES,
        st.lists(IDS, min_size=1, max_size=3),
    ),
    st.builds(
        lambda p, time, details: Operation(Kind.DESCRIBE, p, time, details=details),
        IDS,
        _TIMES,
        _DETAILS,
    ),
    st.builds(
        lambda p, time, sources: Operation(Kind.SPLIT, p, time, sources=sources),
        IDS,
        _TIMES,
        st.lists(IDS, max_size=2),
    ),
    st.builds(
        lambda p, time, other, threshold: Operation(
            Kind.DISTINCT, p, time, sources=[other], details={"threshold": threshold}
        ),
        IDS,
        _TIMES,
        IDS,
        st.sampled_from([None, 0.5, 0.75]),
    ),
    st.builds(lambda time: Operation(Kind.CLEAR, 0, time), _TIMES),
)
SEGMENTS = st.lists(st.lists(OPERATIONS, min_size=1, max_size=6), max_size=6)
