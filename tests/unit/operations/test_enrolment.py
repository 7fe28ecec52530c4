"""A person's photos in several requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from serving.operations.enrolment import (
    BATCH_BYTES,
    Answer,
    ChangedMeanwhile,
    NoneUsable,
    Photo,
    batches,
    enrol,
)


def photos(*sizes: int) -> list[Photo]:
    return [Photo(f"{n}.jpg", b"", size) for n, size in enumerate(sizes)]


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (50, [50]), (101, [50, 50, 1])])
def test_requests_by_count(count: int, sizes: list[int]) -> None:
    given = photos(*[1] * count)
    parts = list(batches(iter(given)))
    assert [len(part) for part in parts] == sizes
    assert [photo for part in parts for photo in part] == given


def test_requests_by_bytes() -> None:
    third = BATCH_BYTES // 3
    sizes = [third, third, third, 1, BATCH_BYTES * 2]
    assert [len(part) for part in batches(photos(*sizes))] == [4, 1]
    sizes[3] = third
    assert [len(part) for part in batches(photos(*sizes))] == [3, 1, 1]


def test_no_more_than_one_request_and_a_photo_is_read_ahead() -> None:
    read: list[int] = []

    def each() -> Any:
        for photo in photos(*[1] * 120):
            read.append(1)
            yield photo

    next(batches(each()))
    assert len(read) == 51


class Service:
    """Knows how many photos it has; ``outcomes`` of the requests: how many are used."""

    def __init__(self, *outcomes: int, there: int = 0) -> None:
        self.outcomes = list(outcomes)
        self.there = there
        self.modes: list[bool] = []

    def send(self, photos: Sequence[Photo], append: bool) -> Answer:
        self.modes.append(append)
        used = self.outcomes.pop(0)
        if not used:
            raise NoneUsable("No photo is usable.")
        self.there = used + self.there * append
        reports = [{"used": n < used} for n in range(len(photos))]
        return {"images": reports, "photos": self.there}


def test_the_first_usable_request_replaces() -> None:
    service = Service(0, 50, 0, 20, there=9)
    enrolled = enrol(batches(photos(*[1] * 170)), service.send, append=False)
    assert enrolled is not None
    assert service.modes == [False, False, True, True]
    assert service.there == 70
    assert str(enrolled.refused) == "No photo is usable."


def test_appending_appends_from_the_first_on() -> None:
    service = Service(50, 1, there=9)
    assert enrol(batches(photos(*[1] * 51)), service.send, append=True) is not None
    assert service.modes == [True, True]
    assert service.there == 60


def test_nothing_usable_and_nothing_at_all() -> None:
    with pytest.raises(NoneUsable):
        enrol(batches(photos(1)), Service(0).send, append=False)
    assert enrol([], Service().send, append=False) is None


def test_a_request_of_somebody_else_in_between_is_noticed() -> None:
    service = Service(50, 50)

    def send(photos: Sequence[Photo], append: bool) -> Answer:
        answer = service.send(photos, append)
        service.there += 1
        return answer

    with pytest.raises(ChangedMeanwhile, match="101 photos are enrolled, and 100 of them"):
        enrol(batches(photos(*[1] * 100)), send, append=False)
