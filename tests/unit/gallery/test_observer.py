"""What a gallery tells its observer: refreshes, commits, lost races, requests to S3."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from serving.errors import CommitConflict, GalleryCorrupt, StoreUnfit, Unavailable
from serving.gallery import Gallery
from serving.gallery.s3 import S3Store
from serving.gallery.store import NotFound, PreconditionFailed
from tests.support.memory_store import MemoryStore
from tests.support.people import LOCATION, MODEL, put

MANIFEST = f"galleries/default/{MODEL}/manifest.json"


class Notes:
    """Records its calls."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.refreshes: list[str] = []
        self.conflicts = 0
        self.commits: list[tuple[str, int]] = []

    def requested(self, operation: str, outcome: str, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.requests.append((operation, outcome))

    def refreshed(self, outcome: str, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.refreshes.append(outcome)

    def conflicted(self) -> None:
        self.conflicts += 1

    def committed(self, outcome: str, callers: int, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.commits.append((outcome, callers))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def gallery(store: MemoryStore, notes: Notes) -> Gallery:
    return Gallery(store, "galleries", LOCATION, sleep=lambda s: None, observer=notes)


class TestGallery:
    def test_a_commit_and_a_look_for_news(self, gallery: Gallery, notes: Notes) -> None:
        version = gallery.commit([put(1)])
        gallery.refresh()
        gallery.refresh(at_least=version)  # asks nobody, and is none
        assert notes.commits == [("ok", 1)]
        assert notes.refreshes == ["ok"]
        assert notes.conflicts == 0

    def test_lost_races(self, store: MemoryStore, gallery: Gallery, notes: Notes) -> None:
        lost = 2

        def stale(request: str, key: str) -> None:
            nonlocal lost
            if request == "put" and key == MANIFEST and lost:
                lost -= 1
                raise PreconditionFailed(key)

        store.before = stale
        gallery.commit([put(1)])
        assert notes.conflicts == 2
        assert notes.commits == [("ok", 1)]
        lost = 1000
        with pytest.raises(CommitConflict):
            gallery.commit([put(2)])
        assert notes.commits[-1] == ("conflict", 1)

    def test_those_who_are_committed_together(
        self, store: MemoryStore, gallery: Gallery, notes: Notes
    ) -> None:
        reached, go = threading.Event(), threading.Event()

        def hold(request: str, key: str) -> None:
            if request == "put" and not reached.is_set():
                reached.set()
                assert go.wait(10)

        store.before = hold
        threads = [threading.Thread(target=gallery.commit, args=([put(1)],))]
        threads[0].start()
        assert reached.wait(10)
        threads += [threading.Thread(target=gallery.commit, args=([put(n)],)) for n in (2, 3, 4)]
        for thread in threads[1:]:
            thread.start()
        while gallery.waiting < 3:
            pass
        go.set()
        for thread in threads:
            thread.join(10)
        assert notes.commits == [("ok", 1), ("ok", 3)]

    def test_failures_by_their_type(
        self, store: MemoryStore, gallery: Gallery, notes: Notes
    ) -> None:
        gallery.commit([put(1)])
        (segment,) = (key for key in store.objects if "/segments/" in key)
        del store.objects[segment]
        with pytest.raises(GalleryCorrupt):
            gallery.refresh()

        def away(request: str, key: str) -> None:
            raise Unavailable("The store is away.")

        store.before = away
        with pytest.raises(Unavailable):
            gallery.refresh()
        with pytest.raises(Unavailable):
            gallery.commit([put(2)])
        assert notes.refreshes == ["gallery-corrupt", "unavailable"]
        assert notes.commits == [("ok", 1), ("unavailable", 1)]


class TestS3:
    """Against boto3's own stub of the server's answers."""

    @pytest.fixture
    def client(self) -> Any:
        return boto3.session.Session().client(
            "s3",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(retries={"total_max_attempts": 1}),
        )

    @pytest.mark.parametrize(
        ("code", "ask", "error", "expected"),
        [
            ("NoSuchKey", lambda s: s.get("k"), NotFound, ("get", "not-found")),
            ("304", lambda s: s.get_if_changed("k", '"1"'), None, ("get", "unchanged")),
            ("NoSuchBucket", lambda s: s.get("k"), StoreUnfit, ("get", "unfit")),
            (
                "412",
                lambda s: s.put("k", b"", if_match='"1"'),
                PreconditionFailed,
                ("put", "stale"),
            ),
            ("503", lambda s: s.put("k", b"", if_absent=True), Unavailable, ("put", "error")),
        ],
    )
    def test_an_answer_that_is_an_error(
        self,
        client: Any,
        notes: Notes,
        code: str,
        ask: Callable[[S3Store], object],
        error: type[Exception] | None,
        expected: tuple[str, str],
    ) -> None:
        store = S3Store(client, "b", notes)
        with Stubber(client) as stub:
            method = "put_object" if expected[0] == "put" else "get_object"
            stub.add_client_error(method, service_error_code=code)
            if error is None:
                assert ask(store) is None
            else:
                with pytest.raises(error):
                    ask(store)
        assert notes.requests == [expected]

    def test_an_answer_and_repetitions(
        self, client: Any, notes: Notes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        store = S3Store(client, "b", notes)
        with Stubber(client) as stub:
            stub.add_client_error("get_object", service_error_code="SlowDown")
            body = StreamingBody(io.BytesIO(b"1"), 1)
            stub.add_response("get_object", {"Body": body, "ETag": '"1"'})
            assert store.get("k").data == b"1"
        assert notes.requests == [("get", "error"), ("get", "ok")]

    def test_a_store_that_cannot_be_reached(
        self, client: Any, notes: Notes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda seconds: None)

        def away(**request: object) -> None:
            raise EndpointConnectionError(endpoint_url="http://x")

        monkeypatch.setattr(client, "delete_object", away)
        with pytest.raises(Unavailable):
            S3Store(client, "b", notes).delete("k")
        assert notes.requests == [("delete", "unreachable")] * 3
