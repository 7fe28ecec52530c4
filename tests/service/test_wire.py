"""What a commit says, what a reader gets, and what the audit keeps, when the network fails in the
middle of a request."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from serving.errors import Unavailable
from serving.gallery import Gallery, Kind, Operation, Store
from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.s3 import S3Store, connect
from serving.gallery.stored import StoredGallery
from serving.gallery.sweep import sweep
from serving.trail import people, reading
from serving.trail.reading import Query
from serving.trail.retention import expire
from tests.service.wire import (
    Fault,
    Wire,
    answer,
    cut_body,
    late,
    lose_reply,
    lose_request,
    proxied,
    reset_body,
    reset_reply,
    reset_request,
)
from tests.support import seaweed
from tests.support.people import DIMENSION, LOCATION, unit_rows
from tests.support.trails import DAY_S, Trails, looked_up, wait_until

MANIFEST = "manifest.json"
SEGMENTS = "/segments/"
TIMEOUT_S = 0.5
TRIES = 3  # of one request in the store, and of the store in one commit

ON_WRITES = {
    "the request is lost": lose_request,
    "the request is reset": reset_request,
    "the reply is lost": lose_reply,
    "the reply is reset": reset_reply,
    "the request is late": late(2 * TIMEOUT_S, request=True),
    "the reply is late": late(2 * TIMEOUT_S),
    "503": answer(503, "SlowDown"),
    "503 of a proxy": answer(503, "<html><p>no server<br></html>"),
    "409": answer(409, "ConditionalRequestConflict"),
    "500 though it was done": answer(500, "InternalError", after_doing_it=True),
}
ON_READS = {
    "the request is reset": reset_request,
    "the reply is lost": lose_reply,
    "the body is cut": cut_body,
    "the body is reset": reset_body,
    "the reply is late": late(2 * TIMEOUT_S),
    "503": answer(503, "SlowDown"),
}
on_writes = pytest.mark.parametrize("fault", ON_WRITES.values(), ids=ON_WRITES.keys())
on_reads = pytest.mark.parametrize("fault", ON_READS.values(), ids=ON_READS.keys())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[seaweed.Seaweed]:
    with (
        seaweed.running(tmp_path_factory.mktemp("wire"), seaweed.PORT + 10) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in server.keys.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="module")
def straight(server: seaweed.Seaweed) -> S3Store:
    return connect(server.settings)


@pytest.fixture(scope="module")
def proxy(server: seaweed.Seaweed) -> Iterator[Wire]:
    with proxied(server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def store(server: seaweed.Seaweed, proxy: Wire) -> S3Store:
    """Through the proxy."""
    changes = {"endpoint": proxy.url, "read_timeout_s": TIMEOUT_S}
    return connect(server.settings.model_copy(update=changes))


@pytest.fixture
def wire(proxy: Wire) -> Iterator[Wire]:
    """The proxy, to which nothing happens any more when a test is over."""
    yield proxy
    proxy.settle()


@pytest.fixture
def prefix() -> str:
    return f"galleries-{uuid.uuid4().hex}"


@pytest.fixture
def gallery(store: Store, prefix: str) -> Gallery:
    return Gallery(store, prefix, LOCATION)


@pytest.fixture
def truth(straight: Store, prefix: str) -> Gallery:
    """The same gallery, straight from the server."""
    return Gallery(straight, prefix, LOCATION)


@pytest.fixture
def maintenance(store: Store, prefix: str) -> StoredGallery:
    return StoredGallery(store, prefix, LOCATION)


def append(photo: int) -> Operation:
    """One photo more: if it were done twice, there would be two."""
    return Operation(Kind.APPEND, 7, 0.0, unit_rows(1, DIMENSION, seed=photo))


def photos(gallery: Gallery) -> int:
    person = gallery.refresh().get(7)
    return person.photos if person else 0


@on_writes
@pytest.mark.parametrize("part", [MANIFEST, SEGMENTS])
def test_a_commit_is_done_once_whatever_happens_to_one_of_its_requests(
    part: str, fault: Fault, wire: Wire, gallery: Gallery, truth: Gallery
) -> None:
    for version in (1, 2):  # the first one makes the manifest, the second one replaces it
        wire.next("PUT", part, fault)
        assert gallery.commit([append(version)]) == version
        wire.settle()
        assert (truth.refresh().version, photos(truth)) == (version, version)
        assert photos(gallery) == version


def test_a_commit_that_was_never_sent_says_that_nothing_was_written(
    wire: Wire, gallery: Gallery, truth: Gallery
) -> None:
    wire.next("PUT", SEGMENTS, lose_request, times=TRIES * TRIES)
    with pytest.raises(Unavailable, match="Nothing was written"):
        gallery.commit([append(1)])
    assert truth.refresh().version == 0


@pytest.mark.parametrize(("fault", "done"), [(lose_reply, 1), (lose_request, 0)])
def test_a_commit_that_cannot_ask_whether_it_was_done_says_so(
    fault: Fault, done: int, wire: Wire, gallery: Gallery, truth: Gallery
) -> None:
    wire.next("PUT", MANIFEST, fault)
    wire.next("GET", MANIFEST, reset_request, times=1 + TRIES * (TRIES - 1))
    with pytest.raises(Unavailable, match="not confirmed"):
        gallery.commit([append(1)])
    assert truth.refresh().version == done


@on_reads
@pytest.mark.parametrize("part", [MANIFEST, SEGMENTS])
def test_a_reader_asks_again(
    part: str, fault: Fault, wire: Wire, gallery: Gallery, truth: Gallery
) -> None:
    truth.commit([append(1)])
    wire.next("GET", part, fault)
    assert photos(gallery) == 1


@pytest.mark.parametrize("part", [MANIFEST, SEGMENTS])
def test_a_body_that_breaks_off_each_time_is_not_taken_for_a_short_one(
    part: str, wire: Wire, gallery: Gallery, truth: Gallery
) -> None:
    truth.commit([append(1)])
    wire.next("GET", part, cut_body, times=TRIES)
    with pytest.raises(Unavailable, match="cannot be reached"):
        gallery.refresh()
    assert not gallery.loaded
    assert photos(gallery) == 1


def test_a_listing_that_breaks_off_is_not_taken_for_a_short_one(
    wire: Wire, store: Store, prefix: str
) -> None:
    for n in range(9):
        store.put(f"{prefix}/{n}", b"x")
    wire.next("GET", "list-type", cut_body)
    assert len(list(store.list(prefix))) == 9
    wire.next("GET", "list-type", cut_body, times=TRIES)
    with pytest.raises(Unavailable):
        list(store.list(prefix))


@pytest.mark.parametrize("fault", [lose_request, lose_reply, answer(503, "SlowDown")])
def test_sweeping_goes_on_whatever_happens_to_one_of_its_requests(
    fault: Fault, wire: Wire, truth: Gallery, maintenance: StoredGallery
) -> None:
    for photo in range(3):
        truth.commit([append(photo)])
    compact(maintenance)
    wire.next("DELETE", SEGMENTS, fault)
    # The segments, and the list of them that a compaction leaves.
    assert len(sweep(maintenance, grace_s=0).removed) == 4
    wire.settle()
    assert check(maintenance).orphans == []
    assert photos(truth) == 3


def test_a_store_that_knows_no_versions_is_purged_all_the_same(
    wire: Wire, store: Store, prefix: str
) -> None:
    for n in range(TRIES):
        store.put(f"{prefix}/{n}", b"x")
    wire.next("GET", "versions", answer(501, "NotImplemented"), times=TRIES)
    for n in range(TRIES):
        store.purge(f"{prefix}/{n}")
    assert list(store.list(prefix)) == []


@pytest.fixture
def trails(store: S3Store, prefix: str) -> Trails:
    return Trails(store, prefix)


@on_writes
@pytest.mark.parametrize("part", ["/records/", "/people/"])
def test_a_record_of_the_audit_is_written_once_whatever_happens_to_one_of_its_requests(
    part: str, fault: Fault, wire: Wire, trails: Trails
) -> None:
    wire.next("PUT", part, fault)
    trails.write([looked_up(7)], [looked_up(7), looked_up(None)])
    wire.settle()
    (report,), _ = reading.check(trails.places)
    assert (report.records, report.lost, report.problems, report.ended) == (3, 0, [], True)
    assert [record["ids"] for record in reading.search(trails.places, Query())] == [[7], [7], []]


def test_records_wait_while_the_store_is_away(wire: Wire, trails: Trails) -> None:
    trail = trails.start(flush_s=0.01, buffer_bytes=2**16)
    added = 0
    with wire.during("PUT", "/records/", reset_request):
        with contextlib.suppress(Unavailable):
            while added < 1000:
                trail.require_room()
                trail.add(looked_up(7))
                added += 1
        assert 0 < added < 1000
        wait_until(lambda: trails.watched.problem)
    trail.close(30)
    (report,), _ = reading.check(trails.places)
    assert (report.records, report.lost, report.problems) == (added, 0, [])


def test_an_erasure_reaches_the_audit_and_the_chain_stays_whole(trails: Trails) -> None:
    trails.write([looked_up(7), looked_up(8)])
    assert people.forget(trails.places, "default", 7) == 1
    assert list(reading.search(trails.places, Query(person=7))) == []
    assert len(list(reading.search(trails.places, Query(person=8)))) == 2
    (report,), _ = reading.check(trails.places)
    assert report.problems == []


def test_the_retention_removes_records_and_ids(trails: Trails, store: S3Store) -> None:
    trails.now -= 99 * DAY_S
    trails.write([looked_up(7)])
    trails.now += 99 * DAY_S
    trails.write([looked_up(7)])
    removed = expire(trails.places, 30, clock=lambda: trails.now)
    assert (removed.objects, removed.people) == (2, 2)
    reports, expired = reading.check(trails.places)
    assert ([r.problems for r in reports], expired) == ([[]], "2026-10-29")
    assert len(list(store.list(trails.places.people_of()))) == 2


def test_a_locked_record_cannot_be_removed_and_its_ids_can(
    server: seaweed.Seaweed, straight: S3Store, prefix: str
) -> None:
    locked = f"locked-{uuid.uuid4().hex[:8]}"
    client = straight._client
    client.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    records = connect(server.settings.model_copy(update={"bucket": locked}))
    trails = Trails(straight, prefix, records=records)
    trails.now = time.time()
    trails.write([looked_up(7)], lock="compliance", retention_days=1, bucket=locked)
    versions = client.list_object_versions(Bucket=locked, Prefix=prefix)["Versions"]
    assert len(versions) == 2  # the record, and the end of the chain
    for version in versions:
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(Bucket=locked, Key=version["Key"], VersionId=version["VersionId"])
    assert people.forget(trails.places, "default", 7) == 1
    (record,) = reading.search(trails.places, Query())
    assert record["ids"][0].startswith("p-")


def test_a_bucket_without_locks_is_a_problem_and_nothing_is_lost(
    wire: Wire, trails: Trails
) -> None:
    trail = trails.start(flush_s=0.01, lock="governance", retention_days=1, bucket="other")
    trail.add(looked_up(7))
    wait_until(lambda: trails.watched.problem)
    assert trails.watched.records == {"written": 0, "lost": 0}
    trail.close(0)
    assert trails.watched.records == {"written": 0, "lost": 1}
