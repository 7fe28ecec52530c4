"""From embeddings to candidates; on a gallery in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serving.gallery import Gallery, Kind, Operation
from serving.matching.records import Matches
from serving.matching.search import nearest
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, put, unit_rows

NOW = 1000.0


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def gallery(store: MemoryStore) -> Gallery:
    return open_gallery(store)


class TestNearest:
    def test_candidates_come_best_first_with_their_names(self, gallery: Gallery) -> None:
        gallery.commit([put(1, name="Ada"), put(2), put(3, name="Eve")])
        probe = unit_rows(1, DIMENSION, seed=3)
        (found,) = nearest(gallery.refresh(), [probe], 2, NOW)
        assert found.gallery_version == 1
        (candidates,) = found.candidates
        assert len(candidates) == 2
        assert (candidates[0].id, candidates[0].name) == (3, "Eve")
        assert candidates[0].similarity == pytest.approx(1, abs=1e-3)
        assert candidates[1].similarity < candidates[0].similarity

    def test_nobody_is_found_from_the_end_of_the_retention_on(self, gallery: Gallery) -> None:
        ada = put(1, name="Ada")
        gallery.commit([replace(ada, details={"expires_at": "1970-01-01T00:20:00Z"}), put(2)])
        probe = unit_rows(1, DIMENSION, seed=1)
        people = gallery.refresh()

        def found(now: float) -> tuple[list[int], int]:
            (matches,) = nearest(people, [probe], 5, now)
            return [c.id for c in matches.candidates[0]], matches.people

        assert found(1199.9) == ([1, 2], 2)
        assert found(1200) == ([2], 1)
        assert found(1199.9) == ([1, 2], 2)  # the clock was wrong

    def test_the_best_candidate_comes_with_those_who_are_known_to_be_others(
        self, gallery: Gallery
    ) -> None:
        details = {"threshold": 0.75}
        pair = Operation(Kind.DISTINCT, 1, 2.0, sources=[3], details=details)
        gallery.commit([put(1), put(2), put(3), pair])
        probes = np.concatenate([unit_rows(1, DIMENSION, seed=n) for n in (1, 2, 3)])
        (found,) = nearest(gallery.refresh(), [probes], 2, NOW)
        cosine = float(probes[0] @ probes[2])
        for probe, rivals in ((0, 1), (1, 0), (2, 1)):
            best, second = found.candidates[probe]
            assert len(best.rivals) == rivals
            assert second.rivals == ()
            if rivals:
                similarity, threshold = best.rivals[0]
                assert similarity == pytest.approx(cosine, abs=1e-3)
                assert threshold == 0.75

    def test_each_probe_has_its_own(self, gallery: Gallery) -> None:
        gallery.commit([put(1), put(2)])
        probes = np.concatenate([unit_rows(1, DIMENSION, seed=n) for n in (2, 1, 2)])
        (found,) = nearest(gallery.refresh(), [probes], 1, NOW)
        assert [c.id for (c,) in found.candidates] == [2, 1, 2]

    def test_each_photo_has_its_own(self, gallery: Gallery) -> None:
        gallery.commit([put(1), put(2), put(3)])
        people = gallery.refresh()
        photos = [
            np.concatenate([unit_rows(1, DIMENSION, seed=n) for n in ids]).reshape(-1, DIMENSION)
            for ids in ((2, 1), (3,))
        ]
        photos.insert(1, np.empty((0, DIMENSION), np.float32))
        found = nearest(people, photos, 2, NOW)
        assert [[best.id for best, _ in photo.candidates] for photo in found] == [[2, 1], [], [3]]
        for probes, together in zip(photos, found, strict=True):
            (alone,) = nearest(people, [probes], 2, NOW)
            assert (alone.gallery_version, alone.people) == (together.gallery_version, 3)
            for one, other in zip(alone.candidates, together.candidates, strict=True):
                assert [c.id for c in one] == [c.id for c in other]
                assert [c.similarity for c in one] == pytest.approx([c.similarity for c in other])

    def test_nobody_enrolled(self, gallery: Gallery) -> None:
        found = nearest(gallery.refresh(), [unit_rows(2, DIMENSION)], 5, NOW)
        assert found == [Matches(((), ()), 0, 0)]

    def test_no_probe(self, gallery: Gallery) -> None:
        gallery.commit([put(1)])
        found = nearest(gallery.refresh(), [np.empty((0, DIMENSION), np.float32)], 5, NOW)
        assert found == [Matches((), 1, 1)]

    def test_numbers_are_plain_ones(self, gallery: Gallery) -> None:
        gallery.commit([put(1)])
        (found,) = nearest(gallery.refresh(), [unit_rows(1, DIMENSION)], 1, NOW)
        ((candidate,),) = found.candidates
        assert type(candidate.id) is int
        assert type(candidate.similarity) is float
