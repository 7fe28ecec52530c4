"""What an erasure reads, and what it writes in place of a large segment."""

from __future__ import annotations

from serving.gallery.check import check
from serving.gallery.erasure import erase, erase_everywhere
from serving.gallery.limits import Limits
from serving.gallery.segment import Segment
from serving.gallery.stored import StoredGallery
from tests.support.people import DIMENSION, LOCATION, put, unit_rows
from tests.unit.gallery.bucket import Bucket, delete


def test_every_segment_is_read_once_and_those_that_hold_the_person_once_more(
    bucket: Bucket,
) -> None:
    for start in range(0, 40, 10):
        segment = Segment.of([put(n) for n in range(start, start + 10)], DIMENSION)
        bucket.gallery().commit_segments(lambda segment=segment: [segment])  # type: ignore[misc]
    before = len(bucket.store.requests)
    erase(bucket.stored(), [17])
    read = [
        key
        for request, key in bucket.store.requests[before:]
        if request == "get" and "/segments/" in key
    ]
    # The last is that of the deletion.
    assert len(read) == 4 + 1 + 1


def test_of_what_a_matcher_has_read_only_what_holds_the_person_is_read_again(
    bucket: Bucket,
) -> None:
    for start in range(0, 40, 10):
        bucket.gallery().commit([put(n) for n in range(start, start + 10)])
    matcher = bucket.gallery()
    matcher.refresh()
    bucket.write(put(99))
    bucket.store.requests.clear()

    def segments_read() -> int:
        read = [k for r, k in bucket.store.requests if r == "get" and "/segments/" in k]
        bucket.store.requests.clear()
        return len(read)

    def erased(person: int) -> None:
        known = {LOCATION: matcher.owners}
        erase_everywhere(bucket.store, "galleries", "default", [person], known.__getitem__)
        assert not bucket.holds(unit_rows(1, DIMENSION, seed=person))

    erased(17)
    assert segments_read() == 3  # that of 99, the deletion's, and 17's once more
    assert 17 not in matcher.refresh()
    bucket.store.requests.clear()
    erased(99)
    assert segments_read() == 2  # the deletion's, and that of 99 once more
    assert bucket.people() == [n for n in range(40) if n != 17]


def test_a_segment_that_is_larger_than_they_are_now_is_rewritten_in_parts(bucket: Bucket) -> None:
    people = [put(n, 1 + n % 3, name=f"N{n}") for n in range(60)]
    whole = Segment.of([*people, delete(59)], DIMENSION)
    bucket.gallery().commit_segments(lambda: [whole])
    before = {p.id: p for p in bucket.gallery().refresh().list(99)}
    limits = Limits(segment_bytes=20 * 2 * DIMENSION)
    erase(StoredGallery(bucket.store, "galleries", LOCATION, limits=limits), [30])
    rewritten = [s for s in bucket.manifest().segments if s.rows]
    assert len(rewritten) > 4
    assert max(s.rows for s in rewritten) <= 20 + 2
    assert {(s.first, s.last) for s in rewritten} == {(1, 1)}
    del before[30]
    assert {p.id: p for p in bucket.gallery().refresh().list(99)} == before
    assert check(bucket.stored()).problems == []
