"""Conflicts of enrolments, in two dimensions: every person is an angle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.gallery import Gallery, Kind, Operation, Snapshot
from serving.matching import conflicts
from serving.matching.records import ConflictKind, Enrolment
from serving.model.card import Calibration, Verification
from serving.model.impostors import Impostors
from serving.settings import MatchSettings
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, LOCATION
from tests.support.stages import CARD as PLAIN

# Two photos are of one person from 60 degrees on; somebody is named from 30 degrees on.
CARD = PLAIN.model_copy(
    update={
        "threshold": math.cos(math.radians(30)),
        "verification": Verification(
            threshold=0.5, calibration=Calibration(slope=10, intercept=-4, measured_on="nobody")
        ),
    }
)


def at(*degrees: float) -> NDArray[np.float32]:
    """Embeddings at these angles: float32 (P, D)."""
    rows = np.zeros((len(degrees), DIMENSION), np.float32)
    rows[:, 0] = np.cos(np.radians(degrees))
    rows[:, 1] = np.sin(np.radians(degrees))
    return rows


def put(person: int, *degrees: float, name: str | None = None) -> Operation:
    details = {"name": name} if name else {}
    return Operation(Kind.PUT, person, 1.0, at(*degrees), details=details)


def gallery_of(*people: Operation) -> Snapshot:
    gallery = Gallery(MemoryStore(), "galleries", LOCATION)
    if people:
        gallery.commit(people)
    return gallery.refresh()


def enrolment(*degrees: float, append: bool = False) -> Enrolment:
    return Enrolment(7, at(*degrees), CARD, append=append)


def strangers(people: Snapshot, person: Enrolment, **matching: Any) -> list[int]:
    found = conflicts.before(people, (), person, MatchSettings(**matching))
    return [c.photos[0] for c in found if c.kind is ConflictKind.OTHER_PERSON]


@pytest.mark.parametrize(
    ("photos", "wrong"),
    [
        ((0,), []),
        ((0, 50), []),
        ((0, 70), [0, 1]),  # nobody knows which
        ((0, 10, 90), [2]),
        ((90, 0, 10, 20), [0]),
        ((0, 40, 100), [2]),  # the first is not wrong, though the third spoils the others
        ((0, 5, 120, 10, 240), [2, 4]),
        ((0, 180), [0, 1]),
        ((0, 120, 240), [0, 1, 2]),
    ],
)
def test_a_photo_of_somebody_else_among_those_of_a_request(
    photos: Sequence[float], wrong: list[int]
) -> None:
    assert strangers(gallery_of(), enrolment(*photos)) == wrong


@pytest.mark.parametrize("append", [True, False])
def test_photos_are_compared_with_what_is_enrolled(append: bool) -> None:
    people = gallery_of(put(7, 0, 10))
    assert strangers(people, enrolment(50, append=append)) == []
    assert strangers(people, enrolment(80, append=append)) == [0]
    # However many they are, and though they agree with each other.
    assert strangers(people, enrolment(80, 81, 82, 5, append=append)) == [0, 1, 2]


def test_it_is_known_which_of_two_is_wrong_where_somebody_is_enrolled() -> None:
    people = gallery_of(put(7, 0))
    assert strangers(people, enrolment(20, 110, append=True)) == [1]


def test_the_threshold_is_that_of_verification() -> None:
    assert strangers(gallery_of(), enrolment(0, 50), verify_threshold=0.9) == [0, 1]
    assert strangers(gallery_of(), enrolment(0, 80), verify_threshold=0.1) == []


def test_the_conflict_of_a_photo_of_somebody_else() -> None:
    (conflict,) = conflicts.before(
        gallery_of(put(7, 0)), (), enrolment(90, append=True), MatchSettings()
    )
    assert conflict.similarity == pytest.approx(0, abs=1e-3)
    assert conflict.confidence == pytest.approx(CARD.pairs.calibration.probability(0), abs=1e-3)
    assert (conflict.id, conflict.name) == (None, None)


def test_others_who_would_be_named_are_reported_the_most_similar_first() -> None:
    people = gallery_of(put(1, 25), put(2, 10, name="Eve"), put(3, 90), put(7, 0))
    found = conflicts.before(people, (), enrolment(0, 30, append=True), MatchSettings())
    reported = [(c.id, c.name, c.photos) for c in found]
    assert reported == [(1, None, (0, 1)), (2, "Eve", (0, 1))]
    assert found[1].similarity == pytest.approx(math.cos(math.radians(10)), abs=1e-3)
    assert found[1].confidence == CARD.confidence(found[1].similarity, 4)


def test_only_the_photos_that_show_the_other_count() -> None:
    people = gallery_of(put(1, 40))
    (found,) = conflicts.before(people, (), enrolment(0, 40), MatchSettings())
    assert (found.id, found.photos) == (1, (1,))


def test_the_threshold_is_that_of_naming() -> None:
    people = gallery_of(put(1, 20))
    assert conflicts.before(people, (), enrolment(0), MatchSettings(threshold=0.95)) == ()
    assert conflicts.before(people, (), enrolment(0), MatchSettings(threshold=0.9)) != ()


def test_it_follows_the_gallery_where_naming_does() -> None:
    matching = MatchSettings(threshold="auto")
    measured = Impostors(mean=0.02, dimensions=40, measured_on="nobody")
    card = CARD.model_copy(update={"impostors": measured})
    threshold = math.degrees(math.acos(measured.threshold(1, matching.fpir)))
    people = gallery_of(put(1, 0))
    for degrees, count in ((threshold - 2, 1), (threshold + 2, 0)):
        person = Enrolment(7, at(degrees), card)
        assert len(conflicts.before(people, (), person, matching)) == count
    # Without that measurement nobody is named, and the card's own threshold has to do.
    assert len(conflicts.before(people, (), enrolment(25), matching)) == 1


def test_what_is_committed_just_before_counts() -> None:
    earlier = [put(5, 0, 10, name="Eve"), Operation(Kind.DELETE, 9, 1.0), put(7, 0)]
    (found,) = conflicts.before(gallery_of(), earlier, enrolment(0), MatchSettings())
    assert (found.id, found.name, found.photos) == (5, "Eve", (0,))


class TestAfter:
    def test_added_photos_are_compared_with_those_from_before(self) -> None:
        person = enrolment(80, 81, 82, append=True)
        people = gallery_of(put(7, 0, 10, 80, 81, 82))
        found = conflicts.after(people, gallery_of(), person, MatchSettings())
        assert [c.photos for c in found] == [(0,), (1,), (2,)]

    def test_those_of_somebody_new_have_nothing_to_be_compared_with(self) -> None:
        for append in (True, False):
            person = enrolment(80, append=append)
            found = conflicts.after(gallery_of(put(7, 80)), gallery_of(), person, MatchSettings())
            assert found == ()

    def test_replacing_photos_are_compared_with_the_snapshot_from_before(self) -> None:
        known = gallery_of(put(7, 0))
        found = conflicts.after(gallery_of(put(7, 80)), known, enrolment(80), MatchSettings())
        assert [c.photos for c in found] == [(0,)]
