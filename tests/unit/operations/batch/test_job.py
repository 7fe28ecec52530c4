"""Where a job is, and a place for results that holds something else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from serving.errors import CommitConflict, InvalidInput, StoreUnfit, Unavailable
from serving.gallery.store import PreconditionFailed
from serving.operations.batch.job import Folder, Place, begin, is_begun
from tests.support.memory_store import MemoryStore
from tests.unit.operations.batch.results import JOB, OUT


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("s3://photos", Folder("photos", "")),
        ("s3://photos/", Folder("photos", "")),
        ("s3://photos/2026", Folder("photos", "2026/")),
        ("s3://photos/2026/ä b//", Folder("photos", "2026/ä b/")),
        ("s3://my.Photos_1/a+%20\n", Folder("my.Photos_1", "a+%20\n/")),
    ],
)
def test_folders(uri: str, folder: Folder) -> None:
    assert Folder.parse(uri) == folder
    assert Folder.parse(str(folder)) == folder


@pytest.mark.parametrize("uri", ["photos/2026", "s3://", "s3:///x", "s3://a b/x", "s3://a/\udce9"])
def test_what_is_no_folder(uri: str) -> None:
    with pytest.raises(ValueError, match="is not of the form s3://BUCKET/PREFIX"):
        Folder.parse(uri)


@pytest.fixture
def out() -> Place:
    return Place(MemoryStore(), OUT)


def test_a_job_is_begun_once(out: Place) -> None:
    assert not is_begun(out, JOB)
    begin(out, JOB)
    assert is_begun(out, JOB)
    first = out.store.get("out/job.json")
    begin(out, JOB)
    assert out.store.get("out/job.json") == first


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"source": "s3://photos/x/"}, 'source is "s3://photos/in/", not "s3://photos/x/"'),
        ({"top_k": 3}, "top_k is null, not 3"),
        ({"threshold": 0.5, "collection": "shop"}, "collection is null, not"),
        ({"part_photos": 4}, "part_photos is 3, not 4"),
    ],
)
def test_another_job_is_refused(out: Place, other: dict[str, object], told: str) -> None:
    begin(out, JOB)
    another = dataclasses.replace(JOB, **other)  # type: ignore[arg-type]
    assert another.digest() != JOB.digest()
    for refused in (is_begun, begin):
        with pytest.raises(InvalidInput, match="Give another --out") as caught:
            refused(out, another)
        assert told in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_job_is_not_touched(out: Place, data: bytes) -> None:
    out.store.put("out/job.json", data)
    with pytest.raises(InvalidInput, match="is no job of this command"):
        begin(out, JOB)
    assert out.store.get("out/job.json").data == data


def test_of_two_jobs_at_once_one_gets_the_place() -> None:
    store = MemoryStore()
    out, other = Place(store, OUT), dataclasses.replace(JOB, top_k=2)
    entered = False

    def meanwhile(request: str, key: str) -> None:
        nonlocal entered
        if request == "put" and not entered:
            entered = True
            begin(out, other)

    store.before = meanwhile
    with pytest.raises(InvalidInput, match="top_k is 2, not null"):
        begin(out, JOB)
    assert is_begun(out, other)


def test_a_store_without_conditions_is_refused() -> None:
    class Ignoring(MemoryStore):
        def put(self, key: str, data: bytes, **condition: object) -> str:
            return super().put(key, data)

    with pytest.raises(StoreUnfit, match="ignores If-None-Match"):
        begin(Place(Ignoring(), OUT), JOB)


class Troubled(MemoryStore):
    """Does as it is told with the first writes: refuses them, or loses their replies."""

    def __init__(self, *troubles: str) -> None:
        super().__init__()
        self.troubles = list(troubles)

    def _put(
        self,
        key: str,
        data: bytes,
        metadata: Mapping[str, str],
        if_match: str | None,
        if_absent: bool,
    ) -> str:
        trouble = self.troubles.pop(0) if self.troubles else ""
        if trouble == "refused":
            raise PreconditionFailed("ConditionalRequestConflict")
        etag = super()._put(key, data, metadata, if_match, if_absent)
        if trouble == "lost":
            raise Unavailable("The object store cannot be reached (ConnectionClosedError).")
        return etag


@pytest.mark.parametrize("troubles", [("refused",), ("refused", "refused"), ("lost",)])
def test_a_write_that_met_another_one_or_whose_reply_got_lost_begins_the_job(
    troubles: tuple[str, ...],
) -> None:
    out = Place(Troubled(*troubles), OUT)
    begin(out, JOB, sleep=lambda seconds: None)
    assert is_begun(out, JOB)


def test_a_store_that_refuses_every_write_of_a_new_job_is_told() -> None:
    with pytest.raises(CommitConflict, match=r"job\.json is refused, and is not there"):
        begin(Place(Troubled(*["refused"] * 4), OUT), JOB, sleep=lambda seconds: None)
