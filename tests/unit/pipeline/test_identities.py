from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from serving.errors import BadRequest, OtherModel, UnknownIdentity
from serving.gallery import Operation
from serving.gallery.location import Location
from serving.pipeline.freshness import Versions
from serving.pipeline.identities import Identities
from serving.settings import GallerySettings
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, MODEL
from tests.support.pipeline import FakeEmbedder
from tests.support.stages import FakeMatch


class Matcher(FakeMatch):
    def __init__(self) -> None:
        self.operations: list[Operation] = []

    async def change(
        self, location: Location, operations: Sequence[Operation], require: Sequence[int]
    ) -> int:
        self.operations += operations
        return 1


@pytest.fixture
def matcher() -> Matcher:
    return Matcher()


def add(matcher: Matcher, rows: list[list[float]], model: str = MODEL) -> int:
    versions = Versions(GallerySettings(), connect=lambda settings, observer: MemoryStore())
    identities = Identities(matcher, FakeEmbedder(), versions)
    vectors = np.array(rows, np.float32)
    return asyncio.run(identities.add("default", 7, model, vectors, replace=False))


@pytest.mark.parametrize("value", [1e-3, 1.0, 1e30, 3e38])
def test_embeddings_of_any_length_become_unit_length(matcher: Matcher, value: float) -> None:
    add(matcher, [[value] * DIMENSION])
    (operation,) = matcher.operations
    assert operation.embeddings is not None
    assert operation.embeddings.dtype == np.float32
    assert np.linalg.norm(operation.embeddings, axis=1) == pytest.approx(1)


def test_what_are_no_embeddings_of_the_model_are_refused(matcher: Matcher) -> None:
    with pytest.raises(BadRequest):
        add(matcher, [[0.0] * DIMENSION])
    with pytest.raises(BadRequest):
        add(matcher, [[1.0] * (DIMENSION + 1)])
    with pytest.raises(OtherModel):
        add(matcher, [[1.0] * DIMENSION], "facenet-other@0123456789ab")
    assert matcher.operations == []


def test_a_merge_that_is_sent_again_says_what_it_looks_like() -> None:
    class Gone(FakeMatch):
        async def change(self, *args: object) -> int:
            raise UnknownIdentity("Nobody is enrolled under the id 8.")

    versions = Versions(GallerySettings(), connect=lambda settings, observer: MemoryStore())
    identities = Identities(Gone(), FakeEmbedder(), versions)
    with pytest.raises(
        UnknownIdentity, match=r"id 8\. One that was merged already looks like this"
    ):
        asyncio.run(identities.merge("default", 7, [8]))
