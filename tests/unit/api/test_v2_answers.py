"""Answers of the Open Inference Protocol are, byte for byte, what kserve's own types write."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from kserve import InferOutput, InferResponse
from kserve.protocol.infer_type import RequestedOutput
from numpy.typing import NDArray

from serving.api.v2_answers import with_tensors

FIELDS = {"id": "7", "model_name": "m", "model_version": "1", "parameters": {"more": False, "n": 3}}
TENSORS: list[tuple[str, str, NDArray[Any]]] = [
    ("ID", "INT64", np.array([3, -1], np.int64)),
    ("BOX", "FP32", np.array([[0.1, 2, 3.5, 4], [5, 6, 7, 8]], np.float32)),
    ("NAME", "BYTES", np.array(["Zoë".encode(), b""], np.object_)),
]
EMPTY: list[tuple[str, str, NDArray[Any]]] = [
    ("ID", "INT64", np.array([], np.int64)),
    ("BOX", "FP32", np.empty((0, 4), np.float32)),
    ("NAME", "BYTES", np.array([], np.object_)),
]


@pytest.mark.parametrize("tensors", [TENSORS, EMPTY], ids=["two", "none"])
@pytest.mark.parametrize("binary", [[], ["ID", "BOX", "NAME"], ["NAME"], ["BOX"]])
def test_an_answer_is_what_kserve_writes(
    tensors: list[tuple[str, str, NDArray[Any]]], binary: list[str]
) -> None:
    theirs = InferResponse(
        response_id="7",
        model_name="m",
        model_version="1",
        infer_outputs=[InferOutput(n, list(v.shape), kind, v) for n, kind, v in tensors],
        requested_outputs=[RequestedOutput(n, {"binary_data": n in binary}) for n, _, _ in tensors],
        parameters=FIELDS["parameters"],
    )
    body, length = with_tensors(FIELDS, [(n, kind, v, n in binary) for n, kind, v in tensors])
    their_body, their_length = theirs.to_rest()
    if length is None:
        assert body == their_body
        return
    assert isinstance(body, bytes)
    assert body[length:] == their_body[their_length:]
    assert json.loads(body[:length]) == json.loads(their_body[:their_length])
