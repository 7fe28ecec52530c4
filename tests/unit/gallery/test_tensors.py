from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.gallery.tensors import view

ARRAYS: dict[str, NDArray[Any]] = {
    "rows": np.arange(12, dtype=np.float16).reshape(3, 4),
    "single": np.ones(3, np.float32),
    "times": np.array([1.5]),
    "ids": np.array([7, 8], np.int64),
    "counts": np.array([1, 2], np.int32),
    "text": np.frombuffer(b"abc", np.uint8),
    "none": np.empty((0, 4), np.float16),
}
WHOLE = safetensors.numpy.save(ARRAYS, metadata={"format": "x"})


def test_the_tensors_are_those_of_the_library_and_views() -> None:
    metadata, tensors = view(WHOLE)
    expected = safetensors.numpy.load(WHOLE)
    assert metadata == {"format": "x"}
    assert tensors.keys() == expected.keys() == ARRAYS.keys()
    whole = np.frombuffer(WHOLE, np.uint8)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[name])
        assert tensor.dtype == expected[name].dtype
        assert not len(tensor) or np.shares_memory(tensor, whole)
        assert not tensor.flags.writeable


def of(header: Any, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(**changed: Any) -> dict[str, Any]:
    return {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4], **changed}}


@pytest.mark.parametrize(
    "data",
    [
        of(entry(), b"123"),
        of(entry(), b"12345"),
        of(entry(shape=[5]), b"1234"),
        of(entry(shape=[-4]), b"1234"),
        of(entry(shape=[-2, -2]), b"1234"),
        of(entry(data_offsets=[-4, 0]), b"1234"),
        of(entry(data_offsets=[1, 5]), b"1234"),
        of(entry(dtype="BOOL"), b"1234"),
        of(entry(shape="four"), b"1234"),
        of({"a": [1]}, b""),
        of([1], b""),
        b"",
    ],
)
def test_what_does_not_fit_together_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        view(data)


@given(st.data())
def test_a_changed_byte_of_the_header_is_no_other_error(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, WHOLE.index(b"}}") + 1))
    changed = bytearray(WHOLE)
    changed[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        view(bytes(changed))
