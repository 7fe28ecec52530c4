"""A record whose retention has ended is not changed any more."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from serving.errors import RetentionEnded, UnknownIdentity
from serving.gallery import Gallery, Kind, Operation
from serving.gallery.retention import text_of
from serving.matching import retention
from tests.support.clock import Clock
from tests.support.memory_store import MemoryStore
from tests.support.people import LOCATION, put

END = 2000.0


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def gallery(clock: Clock) -> Gallery:
    made = Gallery(MemoryStore(), "galleries", LOCATION, sleep=lambda s: None, clock=clock)
    made.commit([put(1), put(2)])
    made.commit([Operation(Kind.DESCRIBE, 1, 5.0, details={"expires_at": text_of(END)})])
    made.refresh()
    return made


def describe(person: int) -> Operation:
    return Operation(Kind.DESCRIBE, person, 6.0, details={"expires_at": text_of(9000)})


def test_until_its_end_a_record_can_be_changed(gallery: Gallery, clock: Clock) -> None:
    clock.now = END - 0.1
    retention.commit(gallery, [describe(1)], [1])
    person = gallery.refresh().get(1)
    assert person is not None
    assert person.expires_at == text_of(9000)


@pytest.mark.parametrize(
    ("operation", "require"),
    [
        (describe(1), [1]),
        (Operation(Kind.MERGE, 1, 6.0, sources=(2,)), [1, 2]),
        (Operation(Kind.MERGE, 2, 6.0, sources=(1,)), [2, 1]),
        (put(1), []),
        (put(1), [1]),
    ],
)
def test_from_its_end_on_it_cannot(
    gallery: Gallery, clock: Clock, operation: Operation, require: list[int]
) -> None:
    clock.now = END
    before = gallery.refresh().version
    with pytest.raises(RetentionEnded, match="erase the record before the id is used again"):
        retention.commit(gallery, [operation], require)
    assert gallery.refresh().version == before


def test_it_is_deleted_and_others_are_changed(gallery: Gallery, clock: Clock) -> None:
    clock.now = END
    retention.commit(gallery, [describe(2)], [2])
    retention.commit(gallery, [Operation(Kind.DELETE, 1, 6.0)], [1])
    retention.commit(gallery, [put(1)], [])
    assert 1 in gallery.refresh()
    with pytest.raises(UnknownIdentity):
        retention.commit(gallery, [describe(7)], [7])


def test_an_end_that_another_process_wrote_counts(gallery: Gallery, clock: Clock) -> None:
    """A change of a person is checked against the version that it replaces."""
    stale = Gallery(
        gallery._stored.file._store, "galleries", LOCATION, sleep=lambda s: None, clock=clock
    )
    stale.refresh()
    gallery.commit([Operation(Kind.DESCRIBE, 2, 6.0, details={"expires_at": text_of(END)})])
    clock.now = END
    with pytest.raises(RetentionEnded):
        retention.commit(stale, [describe(2)], [2])


def test_an_end_by_default_is_for_who_has_none(gallery: Gallery) -> None:
    def after(person: int) -> str | None:
        retention.commit_with_end(gallery, put(person), text_of(9000))
        found = gallery.refresh().get(person)
        assert found is not None
        return found.expires_at

    assert [after(person) for person in (1, 2, 3)] == [text_of(END), text_of(9000), text_of(9000)]


@pytest.mark.parametrize(
    ("earlier", "has"),
    [
        ([], False),
        ([describe(2)], True),
        ([describe(3)], False),
        ([describe(2), Operation(Kind.DELETE, 2, 7.0)], False),
        ([describe(2), Operation(Kind.CLEAR, 0, 7.0)], False),
        ([describe(2), Operation(Kind.DESCRIBE, 2, 7.0, details={"expires_at": None})], False),
    ],
)
def test_an_end_that_others_give_at_the_same_moment_stays(
    gallery: Gallery, earlier: list[Operation], has: bool
) -> None:
    check = retention.without_end(2)
    with pytest.raises(retention.HasEnd) if has else nullcontext():
        check(gallery.snapshot, earlier)
