from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ObjectStoreFullError, OutOfDiskError

from serving.errors import NoRoom
from serving.matching.records import Candidate, Matches
from serving.stages import refs
from serving.stages.refs import Ref
from serving.vision.records import Faces
from tests.support.stages import GOOD, Held

MESSAGE = 4 * 2**20


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What went into Ray's object store."""
    kept: list[Any] = []

    def put(value: Any) -> Held:
        kept.append(value)
        return Held(value)

    monkeypatch.setattr("ray.put", put)
    return kept


@pytest.mark.parametrize(("nbytes", "small"), [(0, True), (2**20, True), (2**20 + 1, False)])
def test_what_is_large_is_put_into_the_store(stored: list[Any], nbytes: int, small: bool) -> None:
    async def carried() -> tuple[Ref[str], str]:
        ref = await refs.put("value", nbytes)
        return ref, await ref.get()

    ref, value = asyncio.run(carried())
    assert (ref.small, value) == (small, "value")
    assert stored == ([] if small else ["value"])


@pytest.mark.parametrize(
    ("nbytes", "small"), [(0, True), (2**20, True), (2**20 + 1, False), (None, False)]
)
def test_an_answer_says_whether_it_may_go_in_a_message(
    stored: list[Any], nbytes: int | None, small: bool
) -> None:
    made = refs.made("value", nbytes, 3.5)
    assert (made.small, made.work_ms, asyncio.run(made.get())) == (small, 3.5, "value")
    assert stored == []  # Ray does that


def test_what_is_called_small_fits_into_a_message() -> None:
    def faces(n: int) -> Faces:
        return Faces(
            np.zeros((n, 4), np.float32),
            np.zeros(n, np.float32),
            np.zeros((n, 5, 2), np.float32),
            np.zeros((n, 3, 160, 160), np.uint8),
            tuple(replace(GOOD) for _ in range(n)),
            np.zeros(n, np.int64),
        )

    def matches(faces: int, name: str) -> Matches:
        # Different objects, as they come from a gallery: what is the same is pickled once.
        row = [
            tuple(Candidate(n, "".join(list(name)), n / 7) for n in range(100))
            for _ in range(faces)
        ]
        return Matches(tuple(row), 1, 100)

    values: list[Faces | Matches] = [
        *map(faces, range(0, 30, 2)),
        *(
            matches(n, name)
            for n in (1, 20, 100)
            for name in ("", "Ada Lovelace", "\U0001f600" * 5000)
        ),
    ]
    sizes = [(value.nbytes, len(pickle.dumps(value))) for value in values]
    assert all(size < MESSAGE / 2 for told, size in sizes if told <= 2**20)
    assert any(told > 2**20 for told, _ in sizes)


@pytest.mark.parametrize("full", [ObjectStoreFullError("full"), OutOfDiskError("full")])
def test_what_finds_no_room_is_refused_and_told_when_to_come_again(
    monkeypatch: pytest.MonkeyPatch, full: Exception
) -> None:
    def put(value: Any) -> Held:
        raise full

    monkeypatch.setattr("ray.put", put)
    with pytest.raises(NoRoom, match="try again in a moment"):
        asyncio.run(refs.put("value", 2**21))
    assert NoRoom.retry_after is not None
