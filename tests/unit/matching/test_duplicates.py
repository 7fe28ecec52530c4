"""Pairs of people who may be one person; on a gallery in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving import deadline
from serving.errors import TimedOut
from serving.gallery import Gallery
from serving.matching.duplicates import compare_people
from serving.matching.enrolment import enrol
from serving.matching.records import Enrolled, Enrolment
from serving.settings import MatchSettings
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, put, unit_rows
from tests.support.stages import CARD


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def gallery(store: MemoryStore) -> Gallery:
    return open_gallery(store)


def alike(photos: int, seed: int = 0) -> NDArray[np.float32]:
    """Embeddings of one person: float32 (P, D)."""
    rows = unit_rows(1, DIMENSION, seed=seed) + 0.3 * unit_rows(photos, DIMENSION, seed=seed + 1000)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def enrolled(gallery: Gallery, person: Enrolment, **settings: Any) -> Enrolled:
    done = enrol(gallery, person, MatchSettings(**settings))
    assert isinstance(done, Enrolled)
    return done


def enrolment(person: int = 7, photos: int = 2, **options: Any) -> Enrolment:
    return Enrolment(person, alike(photos), CARD, **options)


class TestComparePeople:
    def test_duplicates_come_with_names_and_the_threshold(self, gallery: Gallery) -> None:
        for person, seed in ((9, 0), (3, 0), (4, 1)):
            enrolled(gallery, Enrolment(person, alike(2, seed), CARD, name=f"p{person}"))
        page = compare_people(gallery.refresh(), CARD, None, 10, -1, MatchSettings())
        (pair,) = page.pairs
        assert (pair.a.name, pair.b.name, pair.a.photos) == ("p3", "p9", 2)
        assert pair.similarity == pytest.approx(1, abs=1e-3)
        assert (page.threshold, page.people, page.next, page.found) == (CARD.threshold, 3, None, 1)

    def test_a_large_gallery_is_compared_in_parts(self, gallery: Gallery) -> None:
        gallery.commit([put(n, seed=n % 3) for n in range(7)])
        found: list[tuple[int, int]] = []
        after: int | None = -1
        while after is not None:
            page = compare_people(
                gallery.refresh(), CARD, 0.9, 10, after, MatchSettings(), comparisons=0, least=2
            )
            found += [(p.a.id, p.b.id) for p in page.pairs]
            after = page.next
        assert sorted(found) == [(0, 3), (0, 6), (1, 4), (2, 5), (3, 6)]

    def test_it_stops_once_the_deadline_has_passed(self, gallery: Gallery) -> None:
        gallery.commit([put(1), put(2)])
        with deadline.until(1.0), pytest.raises(TimedOut):
            compare_people(gallery.refresh(), CARD, 0.9, 10, -1, MatchSettings())
