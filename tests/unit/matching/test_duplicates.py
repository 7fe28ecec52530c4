"""Pairs of people who may be one person; on a gallery in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serving import deadline
from serving.errors import TimedOut
from serving.gallery import Gallery
from serving.matching.duplicates import compare_people
from serving.matching.records import Enrolment
from serving.settings import MatchSettings
from tests.support.enrolments import alike, enrolled
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import put
from tests.support.stages import CARD


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def gallery(store: MemoryStore) -> Gallery:
    return open_gallery(store)


class TestComparePeople:
    def test_duplicates_come_with_names_and_the_threshold(self, gallery: Gallery) -> None:
        for person, seed in ((9, 0), (3, 0), (4, 1)):
            enrolled(gallery, Enrolment(person, alike(2, seed), CARD, name=f"p{person}"))
        page = compare_people(gallery.refresh(), CARD, None, 10, -1, MatchSettings(), now=1000.0)
        (pair,) = page.pairs
        assert (pair.a.name, pair.b.name, pair.a.photos) == ("p3", "p9", 2)
        assert pair.similarity == pytest.approx(1, abs=1e-3)
        assert (page.threshold, page.people, page.next, page.found) == (CARD.threshold, 3, None, 1)

    def test_whose_retention_has_ended_is_in_no_pair(self, gallery: Gallery) -> None:
        ends = {"expires_at": "1970-01-01T00:20:00Z"}
        gallery.commit([put(1), replace(put(2, seed=1), details=ends)])

        def pairs(now: float) -> tuple[int, int]:
            page = compare_people(gallery.refresh(), CARD, 0.9, 10, -1, MatchSettings(), now=now)
            return len(page.pairs), page.people

        assert pairs(1199.0) == (1, 2)
        assert pairs(1200.0) == (0, 1)

    def test_a_large_gallery_is_compared_in_parts(self, gallery: Gallery) -> None:
        gallery.commit([put(n, seed=n % 3) for n in range(7)])
        found: list[tuple[int, int]] = []
        after: int | None = -1
        while after is not None:
            page = compare_people(
                gallery.refresh(),
                CARD,
                0.9,
                10,
                after,
                MatchSettings(),
                now=1000.0,
                comparisons=0,
                least=2,
            )
            found += [(p.a.id, p.b.id) for p in page.pairs]
            after = page.next
        assert sorted(found) == [(0, 3), (0, 6), (1, 4), (2, 5), (3, 6)]

    def test_it_stops_once_the_deadline_has_passed(self, gallery: Gallery) -> None:
        gallery.commit([put(1), put(2)])
        with deadline.until(0.0), pytest.raises(TimedOut):
            compare_people(gallery.refresh(), CARD, 0.9, 10, -1, MatchSettings(), now=1000.0)
