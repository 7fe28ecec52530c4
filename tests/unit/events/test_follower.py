"""The follower: every change of a gallery is queued, or the gap is told."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from serving.errors import Unavailable
from serving.events.event import KINDS
from serving.events.follower import Cursor, Follower
from serving.events.queue import Queue
from serving.gallery import Gallery
from serving.gallery.compaction import compact
from serving.gallery.erasure import erase
from serving.gallery.location import Location
from serving.gallery.manifest import Index, index_name, key_of
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.sweep import sweep
from tests.support.people import DIMENSION, FOLDER, LOCATION, MANIFEST, put
from tests.unit.gallery.bucket import Bucket, delete, merge


class Followed(Bucket):
    """A bucket whose galleries are followed."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(self.store, "events", lambda: self.now)
        self.follower = self.another()

    def another(self, kinds: Any = KINDS, collections: Any = None) -> Follower:
        return Follower(
            self.queue,
            "galleries",
            kinds,
            collections,
            clock=lambda: self.now,
            monotonic=lambda: self.now,
        )

    def events(self) -> list[dict[str, Any]]:
        found = [self.queue.read(key) for key in self.queue.listed()]
        return [event for batch in found if batch is not None for event in batch.events]

    def told(self) -> list[tuple[str, int | None]]:
        """Kinds and ids of the events, which are taken out of the queue."""
        events = self.events()
        for key in self.queue.listed():
            self.queue.remove(key)
        return [(e["type"].rpartition(".")[2], e["data"].get("id")) for e in events]

    def cursor(self) -> Cursor:
        return Cursor.model_validate_json(
            self.store.objects[f"events/cursors/{LOCATION}.json"].data
        )

    def follow(self) -> list[tuple[str, int | None]]:
        self.now += 20
        self.follower.follow()
        return self.told()


@pytest.fixture
def followed() -> Followed:
    return Followed()


def test_what_was_there_before_is_no_event(followed: Followed) -> None:
    followed.write(put(1))
    assert followed.follow() == []
    followed.write(put(2), delete(1))
    assert followed.follow() == [("enrolled", 2), ("deleted", 1)]
    assert followed.follow() == []


def test_of_a_new_gallery_all_is_an_event(followed: Followed) -> None:
    assert followed.follow() == []
    followed.write(put(1), put(2), merge(1, 2))
    assert followed.follow() == [
        ("enrolled", 1),
        ("enrolled", 2),
        ("changed", 1),
        ("deleted", 2),
    ]


def test_events_have_the_version_of_their_commit(followed: Followed) -> None:
    followed.follow()
    followed.write(put(1), put(2), put(3))
    followed.now += 20
    followed.follower.follow()
    events = followed.events()
    assert [e["data"]["gallery_version"] for e in events] == [1, 2, 3]
    assert [e["sequence"] for e in events] == sorted(e["sequence"] for e in events)
    assert {e["source"] for e in events} == {"/collections/default"}


def test_an_erasure_is_told_after_the_deletion(followed: Followed) -> None:
    followed.write(put(1), put(2))
    followed.follow()
    erase(followed.stored(), [1])
    assert followed.follow() == [("deleted", 1), ("erased", 1)]
    assert followed.follow() == []


def test_an_erasure_that_ends_later_is_told_later(followed: Followed) -> None:
    followed.write(put(1), put(2))
    followed.follow()
    followed.write(delete(1))
    assert followed.follow() == [("deleted", 1)]
    erase(followed.stored(), [1])
    assert followed.follow() == [("deleted", 1), ("erased", 1)]


def test_ids_of_the_deleted_are_kept_for_a_day(followed: Followed) -> None:
    followed.write(put(1), put(2))
    followed.follow()
    followed.now = 100_000.0
    followed.write(Operation(Kind.DELETE, 1, followed.now))
    followed.follow()
    assert followed.cursor().deleted == ((1, 100_000.0),)
    followed.now += 90_000
    followed.write(put(3))
    followed.follow()
    assert followed.cursor().deleted == ()


def test_an_erasure_that_breaks_off_is_told_only_when_it_is_done(followed: Followed) -> None:
    followed.write(put(1), put(2))
    followed.follow()
    purge = followed.store.purge

    def away(key: str) -> None:
        raise Unavailable("The store is away.")

    followed.store.purge = away  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        erase(followed.stored(), [1])
    followed.store.purge = purge  # type: ignore[method-assign]
    assert followed.follow() == [("deleted", 1)]
    erase(followed.stored(), [1])
    assert followed.follow() == [("deleted", 1), ("erased", 1)]


def test_another_process_goes_on_from_the_cursor(followed: Followed) -> None:
    followed.follow()
    followed.write(put(1))
    assert followed.follow() == [("enrolled", 1)]
    followed.write(put(2))
    followed.follower = followed.another()
    assert followed.follow() == [("enrolled", 2)]


def test_killed_before_the_cursor_is_written_it_tells_again_with_the_same_ids(
    followed: Followed,
) -> None:
    followed.follow()
    followed.write(put(1), put(2))

    def killed(request: str, key: str) -> None:
        if request == "put" and "/cursors/" in key:
            raise Unavailable("killed")

    followed.store.before = killed
    followed.now += 20
    with suppress(Unavailable):
        followed.follower.follow()
    first = [e["id"] for e in followed.events()]
    followed.told()
    followed.store.before = lambda request, key: None
    followed.follower = followed.another()
    followed.now += 20
    followed.follower.follow()
    assert [e["id"] for e in followed.events()] == first
    assert len(first) == 2


def test_of_two_at_once_one_moves_the_cursor(followed: Followed) -> None:
    followed.follow()
    other = followed.another()
    followed.write(put(1))
    followed.now += 20
    followed.meanwhile(2, "put", lambda: other.follow())
    followed.follower.follow()
    ids = [e["id"] for e in followed.events()]
    assert len(set(ids)) == 1
    followed.told()
    followed.write(put(2))
    followed.now += 20
    followed.follower.follow()
    other.follow()
    assert {e["data"]["id"] for e in followed.events()} == {2}


def test_what_was_compacted_since_is_told_from_the_index_before(followed: Followed) -> None:
    followed.write(put(1))
    followed.follow()
    followed.write(put(2), delete(2), put(3))
    compact(followed.stored())
    followed.write(put(4))
    assert followed.follow() == [
        ("enrolled", 2),
        ("deleted", 2),
        ("enrolled", 3),
        ("enrolled", 4),
    ]
    assert followed.follower.gaps == 0


def test_what_was_compacted_twice_since_is_told_from_both(followed: Followed) -> None:
    followed.write(put(1))
    followed.follow()
    followed.write(put(2), put(3))
    compact(followed.stored())
    followed.write(put(4), delete(3))
    compact(followed.stored())
    assert followed.follow() == [
        ("enrolled", 2),
        ("enrolled", 3),
        ("enrolled", 4),
        ("deleted", 3),
    ]
    assert followed.follower.gaps == 0


def test_an_index_of_a_commit_that_failed_tells_nothing(followed: Followed) -> None:
    followed.write(put(1))
    followed.follow()
    before = followed.manifest()
    followed.write(put(2), put(3))
    lost = followed.stored().objects.write(Segment.of([put(9)], DIMENSION), 2, 2)
    index = Index(nonce="a", segments=(*before.segments, lost), dropped=())
    data = index.model_dump_json().encode()
    followed.store.put(key_of(FOLDER, index_name(data)), data)
    compact(followed.stored())
    assert followed.follow() == [("enrolled", 2), ("enrolled", 3)]


def test_what_was_swept_since_is_a_gap(followed: Followed) -> None:
    followed.write(put(1))
    followed.follow()
    followed.write(put(2), put(3))
    compact(followed.stored())
    sweep(followed.stored(), 0.0)
    followed.now += 20
    followed.follower.follow()
    (event,) = followed.events()
    assert event["type"] == "faces.gallery.gap"
    assert event["data"] == {
        "collection": "default",
        "model": LOCATION.model,
        "from_version": 1,
        "to_version": followed.manifest().version,
    }
    assert followed.follower.gaps == 1
    followed.told()
    followed.write(put(4))
    assert followed.follow() == [("enrolled", 4)]


def test_a_manifest_from_a_backup_is_a_gap(followed: Followed) -> None:
    followed.write(put(1))
    backup = followed.store.objects[MANIFEST].data
    followed.write(put(2))
    followed.follow()
    followed.store.put(MANIFEST, backup)
    followed.write(put(3))
    assert followed.follow() == [("gap", None)]
    followed.write(put(4))
    assert followed.follow() == [("enrolled", 4)]


def test_many_commits_since_are_no_gap(followed: Followed) -> None:
    followed.write(put(1))
    followed.follow()
    people = range(2, 200)
    followed.write(*(put(n) for n in people))
    assert followed.follow() == [("enrolled", n) for n in people]


def test_everybody_deleted(followed: Followed) -> None:
    followed.write(put(1))
    followed.follow()
    followed.write(put(2), Operation(Kind.CLEAR, 0, 5.0), put(3))
    assert followed.follow() == [("deleted", None), ("enrolled", 3)]


def test_only_what_the_settings_want(followed: Followed) -> None:
    followed.follower = followed.another(["deleted"], ["default"])
    followed.follow()
    other = Gallery(followed.store, "galleries", Location("other", LOCATION.model, DIMENSION))
    other.commit([put(9), delete(9)])
    followed.write(put(1), delete(1))
    assert followed.follow() == [("deleted", 1)]


def test_a_damaged_gallery_does_not_hold_up_the_others(followed: Followed) -> None:
    other = Gallery(followed.store, "galleries", Location("other", LOCATION.model, DIMENSION))
    other.commit([put(1)])
    followed.write(put(1))
    followed.follow()
    followed.write(put(2))
    key = next(k for k in reversed(followed.segments()) if k.startswith("galleries/default/"))
    kept = followed.store.objects[key].data
    followed.store.put(key, b"damaged")
    other.commit([put(3)])
    assert followed.follow() == [("enrolled", 3)]
    assert followed.follower.problem
    followed.store.put(key, kept)
    assert followed.follow() == [("enrolled", 2)]
    assert not followed.follower.problem


def test_a_manifest_that_was_damaged_before_it_was_found_is_told(followed: Followed) -> None:
    followed.write(put(1))
    followed.follow()
    other = Gallery(followed.store, "galleries", Location("other", LOCATION.model, DIMENSION))
    other.commit([put(2)])
    key = f"galleries/other/{LOCATION.model}/manifest.json"
    kept = followed.store.objects[key].data
    followed.store.put(key, b"damaged")
    followed.write(put(3))
    assert followed.follow() == [("enrolled", 3)]
    assert followed.follower.problem
    followed.store.put(key, kept)
    assert followed.follow() == [("enrolled", 2)]
    assert not followed.follower.problem


def test_a_fence_is_no_event(followed: Followed) -> None:
    followed.write(put(1), put(2))
    followed.follow()
    compact(followed.stored())
    sweep(followed.stored(), 0.0)
    assert followed.follow() == []
    followed.write(put(3))
    assert followed.follow() == [("enrolled", 3)]


def test_who_has_lost_the_lease_stops(followed: Followed) -> None:
    followed.follow()
    followed.write(put(1))
    followed.now += 20
    followed.follower.follow(lambda: False)
    assert followed.events() == []
    assert followed.follow() == [("enrolled", 1)]


def test_an_import_is_one_event(followed: Followed) -> None:
    followed.follow()
    many = Segment.of([put(n) for n in range(1500)], DIMENSION)
    followed.gallery().commit_segments(lambda: [many])
    assert followed.follow() == [("bulk", None)]
