from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.errors import (
    CommitConflict,
    GalleryCorrupt,
    ModelMismatch,
    Unavailable,
    UnknownIdentity,
)
from serving.gallery import Gallery
from serving.gallery.limits import DEFAULT_LIMITS, Limits
from serving.gallery.location import Location
from serving.gallery.manifest import Manifest
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.store import PreconditionFailed, StoredObject
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, FOLDER, MANIFEST, MODEL, put, whole_manifest


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def open_gallery(
    store: MemoryStore, model: str = MODEL, limits: Limits = DEFAULT_LIMITS
) -> Gallery:
    location = Location("default", model, DIMENSION)
    return Gallery(
        store, "galleries", location, clock=lambda: 1.0, sleep=lambda s: None, limits=limits
    )


def manifest_of(store: MemoryStore) -> Manifest:
    return whole_manifest(store, store.objects[MANIFEST].data)


def everybody(store: MemoryStore) -> list[int]:
    return [p.id for p in open_gallery(store).refresh().list(1000)]


class LoseReply:
    """Loses the replies to the first ``times`` writes of the manifest: they are done."""

    def __init__(self, times: int = 1) -> None:
        self.left = times

    def __call__(self, request: str, key: str) -> None:
        if request == "put" and key == MANIFEST and self.left:
            self.left -= 1
            raise Unavailable("The reply got lost.")


def test_a_gallery_that_nobody_wrote_is_empty(store: MemoryStore) -> None:
    snapshot = open_gallery(store).refresh()
    assert (snapshot.version, len(snapshot)) == (0, 0)
    assert not store.objects


def test_forgetting_everybody_where_nobody_was_begins_no_gallery(store: MemoryStore) -> None:
    gallery, clear = open_gallery(store), Operation(Kind.CLEAR, 0, 1.0)
    assert gallery.commit([clear]) == gallery.commit([clear, clear]) == 0
    assert not store.objects
    assert gallery.commit([clear, put(1)]) == 1
    assert everybody(store) == [1]
    assert gallery.commit([clear]) == 2
    assert everybody(store) == []


def test_a_gallery_that_was_looked_at_before_it_began_shows_its_first_people(
    store: MemoryStore,
) -> None:
    writer, reader = open_gallery(store), open_gallery(store)
    assert len(reader.refresh()) == 0
    assert writer.commit([Operation(Kind.CLEAR, 0, 1.0)]) == 0
    assert len(reader.refresh()) == 0
    version = writer.commit([put(1)])
    assert [p.id for p in reader.refresh(at_least=version).list(10)] == [1]


def test_others_see_a_commit(store: MemoryStore) -> None:
    writer, reader = open_gallery(store), open_gallery(store)
    assert writer.commit([put(1, name="Ada"), put(2)]) == 1
    assert writer.commit([put(3)]) == 2
    snapshot = reader.refresh()
    assert snapshot.version == 2
    assert [p.id for p in snapshot.list(9)] == [1, 2, 3]
    assert manifest_of(store).segments[0].first == manifest_of(store).segments[0].last == 1


def test_following_costs_one_request_while_nothing_changes(store: MemoryStore) -> None:
    open_gallery(store).commit([put(1)])
    reader = open_gallery(store)
    reader.refresh()
    store.requests.clear()
    reader.refresh()
    assert store.requests == [("get", MANIFEST)]
    reader.refresh(at_least=1)
    assert len(store.requests) == 1


def test_only_new_segments_are_read(store: MemoryStore) -> None:
    writer, reader = open_gallery(store), open_gallery(store)
    for n in range(5):
        writer.commit([put(n)])
    reader.refresh()
    store.requests.clear()
    writer_requests = len(store.requests)
    writer.commit([put(9)])
    mine = len(store.requests) - writer_requests
    reader.refresh()
    assert mine == 3  # manifest, segment, manifest
    assert len(store.requests) - mine == 2  # manifest, segment


def test_no_commit_of_many_processes_is_lost(store: MemoryStore) -> None:
    galleries = [open_gallery(store) for _ in range(4)]

    def work(n: int) -> int:
        return galleries[n % 4].commit([put(n)])

    with ThreadPoolExecutor(16) as pool:
        versions = list(pool.map(work, range(64)))
    assert everybody(store) == list(range(64))
    assert max(versions) == manifest_of(store).version


def test_commits_that_meet_are_joined(store: MemoryStore) -> None:
    gallery = open_gallery(store)
    started, go_on = threading.Event(), threading.Event()

    def hold(request: str, key: str) -> None:
        if request == "put":
            started.set()
            assert go_on.wait(10)

    store.before = hold
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(gallery.commit, [put(0)])
        assert started.wait(10)
        others = [pool.submit(gallery.commit, [put(n)]) for n in range(1, 9)]
        while gallery.waiting < 8:
            pass
        go_on.set()
        assert first.result(10) == 1
        assert {f.result(10) for f in others} == {2}
    assert everybody(store) == list(range(9))


def test_merging_nobody_enrols_nobody_for_those_who_are_joined(store: MemoryStore) -> None:
    gallery = open_gallery(store)
    started, go_on = threading.Event(), threading.Event()

    def hold(request: str, key: str) -> None:
        if request == "put":
            started.set()
            assert go_on.wait(10)

    store.before = hold
    with ThreadPoolExecutor(3) as pool:
        pool.submit(gallery.commit, [put(0)])
        assert started.wait(10)
        merge = pool.submit(gallery.commit, [Operation(Kind.MERGE, 1, 5.0, sources=(2,))])
        while gallery.waiting < 1:
            pass
        append = pool.submit(gallery.commit, [put(3)], [1])
        while gallery.waiting < 2:
            pass
        go_on.set()
        assert merge.result(10) == 2
        with pytest.raises(UnknownIdentity):
            append.result(10)
    assert everybody(store) == [0]


def test_a_writer_that_is_stopped_leaves_nobody_waiting(store: MemoryStore) -> None:
    gallery = open_gallery(store)
    reading, go_on = threading.Event(), threading.Event()

    def stop(request: str, key: str) -> None:
        reading.set()
        assert go_on.wait(10)
        if request == "put":
            store.before = lambda request, key: None
            raise KeyboardInterrupt

    store.before = stop
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(gallery.commit, [put(0)])
        assert reading.wait(10)
        second = pool.submit(gallery.commit, [put(1)])
        while gallery.waiting < 2:
            pass
        go_on.set()
        with pytest.raises(KeyboardInterrupt):
            first.result(10)
        with pytest.raises(Unavailable, match="look whether it is there"):
            second.result(10)
    assert gallery.commit([put(2)]) == 1


def test_all_waiting_callers_get_the_error_of_a_store_that_is_away(store: MemoryStore) -> None:
    gallery = open_gallery(store)
    asked, go_on = threading.Event(), threading.Event()

    def away(request: str, key: str) -> None:
        asked.set()
        assert go_on.wait(10)
        raise Unavailable("The store is away.")

    store.before = away
    with ThreadPoolExecutor(5) as pool:
        commits = [pool.submit(gallery.commit, [put(n)]) for n in range(5)]
        assert asked.wait(10)
        while gallery.waiting < 5:
            pass
        go_on.set()
        for commit in commits:
            with pytest.raises(Unavailable, match="Nothing was written"):
                commit.result(10)
    assert len(store.requests) == 3


def test_a_bad_commit_fails_alone(store: MemoryStore) -> None:
    gallery = open_gallery(store)
    bad = put(1)
    assert bad.embeddings is not None
    bad.embeddings[0] = 0
    with pytest.raises(ValueError, match="unit length"):
        gallery.commit([bad])
    assert not store.objects


@pytest.mark.parametrize("earlier", [0, 1], ids=["first commit", "later commit"])
def test_a_lost_reply_is_recognised(store: MemoryStore, earlier: int) -> None:
    gallery = open_gallery(store)
    for n in range(earlier):
        gallery.commit([put(n)])
    store.after = LoseReply()
    assert gallery.commit([put(7)]) == earlier + 1
    assert manifest_of(store).version == earlier + 1


def test_a_lost_reply_is_recognised_after_others_wrote(store: MemoryStore) -> None:
    gallery, other = open_gallery(store), open_gallery(store)
    lose = LoseReply()

    def after(request: str, key: str) -> None:
        if lose.left:
            try:
                lose(request, key)
            except Unavailable:
                other.commit([put(8)])
                raise

    store.after = after
    assert gallery.commit([put(7)]) == 1
    assert everybody(store) == [7, 8]
    assert manifest_of(store).version == 2


def test_a_write_that_the_store_carries_out_late_is_not_done_twice(store: MemoryStore) -> None:
    """The request times out, and lands only after the writer has tried again."""
    gallery = open_gallery(store)
    gallery.commit([put(1)])
    late: list[tuple[str, bytes]] = []
    real = store.put

    def slow(key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        if key == MANIFEST and not late:
            assert if_match is not None
            late.append((if_match, data))
            raise Unavailable("Timed out.")
        return real(key, data, if_match=if_match, if_absent=if_absent)

    store.put = slow  # type: ignore[method-assign]
    assert gallery.commit([put(2)]) == 2
    with pytest.raises(PreconditionFailed):
        real(MANIFEST, late[0][1], if_match=late[0][0])
    assert manifest_of(store).version == 2


def test_a_store_that_stays_away_after_the_write_leaves_the_outcome_open(
    store: MemoryStore,
) -> None:
    gallery = open_gallery(store)
    away = False

    def after(request: str, key: str) -> None:
        nonlocal away
        if request == "put" and key == MANIFEST:
            away = True
        if away:
            raise Unavailable("The store is away.")

    store.after = after
    with pytest.raises(Unavailable, match="not confirmed"):
        gallery.commit([put(1)])


def test_a_store_that_is_away_before_the_write(store: MemoryStore) -> None:
    def away(request: str, key: str) -> None:
        raise Unavailable("The store is away.")

    store.before = away
    with pytest.raises(Unavailable, match="Nothing was written"):
        open_gallery(store).commit([put(1)])
    assert not store.objects


def test_a_short_failure_of_the_store_is_survived(store: MemoryStore) -> None:
    failures = iter([True, False, True, False, False, False])

    def sometimes(request: str, key: str) -> None:
        if next(failures, False):
            raise Unavailable("The store is away.")

    store.before = sometimes
    assert open_gallery(store).commit([put(1)]) == 1


def test_a_writer_that_always_loses_gives_up(store: MemoryStore) -> None:
    other = open_gallery(store)

    def faster(request: str, key: str) -> None:
        if request == "put" and key == MANIFEST:
            store.before = lambda request, key: None
            other.commit([put(5)])
            store.before = faster

    store.before = faster
    with pytest.raises(CommitConflict, match="nothing was written"):
        open_gallery(store).commit([put(1)])
    assert everybody(store) == [5]


@pytest.mark.parametrize("lost", ["request", "reply"])
def test_a_writer_that_gives_up_after_a_lost_write_does_not_deny_it(
    store: MemoryStore, lost: str
) -> None:
    def lose(request: str, key: str) -> None:
        if key == MANIFEST and request == "put":
            raise Unavailable("Lost.")

    setattr(store, "before" if lost == "request" else "after", lose)
    with pytest.raises(Unavailable, match="not confirmed"):
        open_gallery(store, limits=Limits(commit_tries=1)).commit([put(1)])


def test_a_process_that_dies_before_the_manifest_leaves_nothing_to_see(store: MemoryStore) -> None:
    def die(request: str, key: str) -> None:
        if request == "put" and key == MANIFEST:
            raise KeyboardInterrupt

    store.before = die
    with pytest.raises(KeyboardInterrupt):
        open_gallery(store).commit([put(1)])
    store.before = lambda request, key: None
    assert everybody(store) == []


def fence(store: MemoryStore) -> None:
    """What sweeping does: a fence, then the segments that no manifest refers to are removed."""
    manifest = manifest_of(store)
    version = manifest.version + 1
    fenced = manifest.model_copy(update={"version": version, "fence": version})
    store.put(MANIFEST, fenced.to_bytes())
    used = {f"{FOLDER}/segments/{s.name}.safetensors" for s in manifest.segments}
    for key in [k for k in store.objects if "/segments/" in k and k not in used]:
        del store.objects[key]


def test_a_writer_that_stalled_before_a_fence_uploads_again(store: MemoryStore) -> None:
    gallery = open_gallery(store)
    gallery.commit([put(1)])
    stalled = False

    def stall(request: str, key: str) -> None:
        nonlocal stalled
        if request == "put" and key == MANIFEST and not stalled:
            stalled = True
            fence(store)

    store.before = stall
    assert gallery.commit([put(2)]) == 3
    assert everybody(store) == [1, 2]


def test_a_reader_inside_a_folded_range_reloads(store: MemoryStore) -> None:
    writer, reader = open_gallery(store), open_gallery(store)
    writer.commit([put(1)])
    reader.refresh()
    writer.commit([put(2)])
    writer.commit([put(3)])
    # Fold the three into one, as a compaction would.
    folded = open_gallery(store)
    store_of_folded = MemoryStore()
    other = open_gallery(store_of_folded)
    other.commit([put(1), put(2), put(3)])
    ref = manifest_of(store_of_folded).segments[0].model_copy(update={"first": 1, "last": 3})
    key = f"{FOLDER}/segments/{ref.name}.safetensors"
    store.objects[key] = store_of_folded.objects[key]
    manifest = manifest_of(store).model_copy(update={"segments": (ref,), "version": 4})
    store.put(MANIFEST, manifest.to_bytes())
    assert [p.id for p in reader.refresh().list(9)] == [1, 2, 3]
    assert reader.snapshot.version == 4
    assert [p.id for p in folded.refresh().list(9)] == [1, 2, 3]


def test_a_gallery_restored_from_a_backup_is_reloaded(store: MemoryStore) -> None:
    gallery = open_gallery(store)
    gallery.commit([put(1)])
    backup = store.objects[MANIFEST].data
    gallery.commit([put(2)])
    gallery.refresh()
    store.put(MANIFEST, backup)
    assert [p.id for p in gallery.refresh().list(9)] == [1]


def test_after_more_commits_than_are_remembered_only_the_new_segments_are_read(
    store: MemoryStore,
) -> None:
    writer = open_gallery(store, limits=Limits(remembered_commits=4))
    reader = open_gallery(store)
    writer.commit([put(1)])
    writer.commit([put(2)])
    reader.refresh()
    for n in range(3, 12):
        writer.commit([put(n)])
    store.requests.clear()
    assert [p.id for p in reader.refresh().list(99)] == list(range(1, 12))
    assert sum("/segments/" in key for _, key in store.requests) == 9


@pytest.mark.parametrize("what", ["damaged", "sound"])
def test_a_large_import_is_followed_part_by_part_or_not_at_all(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("serving.gallery.following._FEW_BYTES", 1000)
    monkeypatch.setattr("serving.gallery.objects._AHEAD_BYTES", 1000)
    writer, reader = open_gallery(store), open_gallery(store)
    writer.commit([put(n, name=f"N{n}") for n in range(5)])
    before = reader.refresh()
    known = set(store.objects)
    parts = [Segment.of([put(10 * n + i) for i in range(10)], DIMENSION) for n in range(5)]
    writer.commit_segments(lambda: parts)
    if what == "sound":
        assert len(reader.refresh()) == 50
    else:
        last = [key for key in store.objects if key not in known][-1]
        sound = store.objects[last]
        store.objects[last] = StoredObject(damage(sound.data), '"x"')
        with pytest.raises(GalleryCorrupt):
            reader.refresh()
        assert reader.snapshot is before
        store.objects[last] = sound
        assert len(reader.refresh()) == 50
    assert [p.name for p in before.list(99)] == [f"N{n}" for n in range(5)]
    assert [p.name for p in reader.snapshot.list(5)] == [f"N{n}" for n in range(5)]


def damage(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("what", ["damaged", "cut off", "missing"])
def test_a_bad_segment_is_named_and_never_served(store: MemoryStore, what: str) -> None:
    gallery, follower = open_gallery(store), open_gallery(store)
    gallery.commit([put(1)])
    follower.refresh()
    gallery.commit([put(2)])
    name = manifest_of(store).segments[1].name
    key = f"{FOLDER}/segments/{name}.safetensors"
    if what == "missing":
        del store.objects[key]
    else:
        data = store.objects[key].data
        data = damage(data) if what == "damaged" else data[:-4]
        store.objects[key] = StoredObject(data, '"x"')
    for reader in (open_gallery(store), follower):
        with pytest.raises(GalleryCorrupt, match=name):
            reader.refresh()
    assert [p.id for p in follower.snapshot.list(9)] == [1]


def test_a_segment_that_was_just_swept_makes_a_reader_look_again(store: MemoryStore) -> None:
    writer, reader = open_gallery(store), open_gallery(store)
    writer.commit([put(1)])
    good = manifest_of(store)
    gone = good.segments[0].model_copy(update={"name": "0" * 32})
    store.put(MANIFEST, good.model_copy(update={"segments": (gone,)}).to_bytes())

    def compaction_ends(request: str, key: str) -> None:
        if "/segments/" in key:
            store.before = lambda request, key: None
            store.put(MANIFEST, good.to_bytes())

    store.before = compaction_ends
    assert [p.id for p in reader.refresh().list(9)] == [1]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format": "gallery"}'])
def test_a_damaged_manifest_is_named(store: MemoryStore, data: bytes) -> None:
    store.put(MANIFEST, data)
    with pytest.raises(GalleryCorrupt, match=r"manifest\.json"):
        open_gallery(store).refresh()
    with pytest.raises(GalleryCorrupt, match=r"manifest\.json"):
        open_gallery(store).commit([put(1)])
    assert store.objects[MANIFEST].data == data


def test_a_manifest_that_vanished_is_no_empty_gallery(store: MemoryStore) -> None:
    gallery = open_gallery(store)
    gallery.commit([put(1)])
    gallery.refresh()
    del store.objects[MANIFEST]
    with pytest.raises(GalleryCorrupt, match="gone"):
        gallery.refresh()
    assert len(gallery.snapshot) == 1


def test_another_models_gallery_is_refused_by_name(store: MemoryStore) -> None:
    open_gallery(store).commit([put(1)])
    other = "facenet-other@ffffffffffff"
    key = MANIFEST.replace(MODEL, other)
    store.put(key, store.objects[MANIFEST].data)
    with pytest.raises(ModelMismatch, match=f"{MODEL}.*{other}"):
        open_gallery(store, model=other).refresh()
