from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from serving.errors import BadRequest, OtherModel, Unavailable, UnknownIdentity, UnusableRetention
from serving.gallery import Kind, Operation, Person
from serving.gallery.erasure import Erasure
from serving.gallery.location import Location
from serving.gallery.retention import end_of, seconds_of
from serving.matching.records import PeoplePage
from serving.pipeline.freshness import Versions
from serving.pipeline.identities import Identities
from serving.settings import GallerySettings, RetentionSettings
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, MODEL
from tests.support.pipeline import FakeEmbedder
from tests.support.stages import FakeMatch

NOW = seconds_of("2026-11-29T12:00:00Z")


class Matcher(FakeMatch):
    """Holds ``record``, if any; an erasure raises ``failure``, if any."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.record: Person | None = None
        self.failure: Exception | None = None
        self.erased: list[tuple[str, int]] = []
        self.default_end: str | None = None

    async def people(
        self,
        location: Location,
        limit: int,
        after: int,
        at_least: int | None,
        ending: float | None = None,
    ) -> PeoplePage:
        return PeoplePage([self.record] if self.record else [], 1, 17)

    async def erase(self, collection: str, person: int) -> Erasure:
        if self.failure is not None:
            raise self.failure
        self.erased.append((collection, person))
        return Erasure([])

    async def change(
        self,
        location: Location,
        operations: Sequence[Operation],
        require: Sequence[int],
        default_end: str | None = None,
    ) -> int:
        self.operations += operations
        self.default_end = default_end
        return 1


@pytest.fixture
def matcher() -> Matcher:
    return Matcher()


def of(matcher: Matcher) -> Identities:
    versions = Versions(GallerySettings(), connect=lambda settings, observer: MemoryStore())
    return Identities(matcher, FakeEmbedder(), versions)


def add(matcher: Matcher, rows: list[list[float]], model: str = MODEL) -> int:
    vectors = np.array(rows, np.float32)
    return asyncio.run(of(matcher).add("default", 7, model, vectors, replace=False))


def test_added_embeddings_come_with_the_end_of_the_settings(
    matcher: Matcher,
) -> None:
    versions = Versions(GallerySettings(), connect=lambda settings, observer: MemoryStore())
    keeping = RetentionSettings(collections={"shop": 30})
    identities = Identities(matcher, FakeEmbedder(), versions, keeping)
    vectors = np.eye(1, DIMENSION, dtype=np.float32)

    def ending(collection: str) -> Any:
        matcher.operations.clear()
        asyncio.run(identities.add(collection, 7, MODEL, vectors, replace=False))
        (operation,) = matcher.operations
        assert operation.details == {}
        return matcher.default_end

    assert ending("default") is None
    before = time.time()
    assert 0 <= seconds_of(ending("shop")) - (int(before) + 30 * 86_400) <= 60
    assert (identities.days_kept("shop"), identities.days_kept("default")) == (30, None)


def withdraw(matcher: Matcher) -> None:
    asyncio.run(of(matcher).withdraw("default", 7, NOW))


def record(**more: Any) -> Person:
    return Person(7, 1, "Ada", {}, 0.0, 0.0, **more)


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


class TestWithdraw:
    @pytest.mark.parametrize("basis", [None, {"kind": "consent", "reference": "12"}])
    def test_it_is_noted_before_the_person_is_erased(
        self, matcher: Matcher, basis: dict[str, Any] | None
    ) -> None:
        """So the person is not named any more, whatever becomes of the erasure."""
        matcher.record, matcher.failure = record(legal_basis=basis), Unavailable("It is away.")
        with pytest.raises(Unavailable):
            withdraw(matcher)
        (noted,) = matcher.operations
        expected = {**(basis or {"kind": "consent"}), "withdrawn_at": "2026-11-29T12:00:00Z"}
        assert (noted.kind, noted.id) == (Kind.DESCRIBE, 7)
        assert noted.details == {"legal_basis": expected}
        assert end_of(noted.details) <= NOW
        matcher.failure = None
        withdraw(matcher)
        assert matcher.erased == [("default", 7)]

    def test_of_another_basis_nothing_is_withdrawn(self, matcher: Matcher) -> None:
        matcher.record = record(legal_basis={"kind": "contract"})
        with pytest.raises(UnusableRetention, match="is contract: only a consent"):
            withdraw(matcher)
        assert (matcher.operations, matcher.erased) == ([], [])

    def test_who_is_deleted_or_over_is_erased_all_the_same(self, matcher: Matcher) -> None:
        withdraw(matcher)
        matcher.record = record(expires_at="2026-11-29T12:00:00Z")
        withdraw(matcher)
        assert (matcher.operations, matcher.erased) == ([], [("default", 7)] * 2)
