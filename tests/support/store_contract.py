"""The contract of every store; run on the one in memory and on a real S3 server."""

from __future__ import annotations

import hashlib
import threading
import uuid

import pytest

from serving.gallery.store import (
    DescribedStore,
    NotFound,
    PreconditionFailed,
    Store,
    check_conditional_writes,
)


class StoreContract:
    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def key(self) -> str:
        return f"contract/{uuid.uuid4().hex}"

    def test_reads_what_was_put(self, store: Store, key: str) -> None:
        etag = store.put(key, b"one")
        assert store.get(key).data == b"one"
        assert store.get(key).etag == etag

    def test_an_unchanged_object_is_not_sent_again(self, store: Store, key: str) -> None:
        etag = store.put(key, b"one")
        assert store.get_if_changed(key, etag) is None
        store.put(key, b"two")
        changed = store.get_if_changed(key, etag)
        assert changed is not None
        assert changed.data == b"two"

    def test_a_missing_object(self, store: Store, key: str) -> None:
        with pytest.raises(NotFound):
            store.get(key)
        with pytest.raises(NotFound):
            store.get_if_changed(key, '"0123"')
        store.delete(key)  # as if it had been there

    def test_if_absent(self, store: Store, key: str) -> None:
        store.put(key, b"one", if_absent=True)
        with pytest.raises(PreconditionFailed):
            store.put(key, b"two", if_absent=True)
        assert store.get(key).data == b"one"

    def test_if_match(self, store: Store, key: str) -> None:
        first = store.put(key, b"one")
        store.put(key, b"two", if_match=first)
        with pytest.raises(PreconditionFailed):
            store.put(key, b"three", if_match=first)
        assert store.get(key).data == b"two"

    def test_if_match_on_a_missing_object(self, store: Store, key: str) -> None:
        with pytest.raises((PreconditionFailed, NotFound)):
            store.put(key, b"one", if_match='"0123"')

    def test_lists_a_prefix(self, store: Store, key: str) -> None:
        for name in ("b", "a", "c"):
            store.put(f"{key}/{name}", name.encode() * 3)
        entries = list(store.list(f"{key}/"))
        assert [(e.key, e.size) for e in entries] == [(f"{key}/{n}", 3) for n in "abc"]
        store.delete(f"{key}/b")
        assert [e.key for e in store.list(f"{key}/")] == [f"{key}/a", f"{key}/c"]

    def test_of_many_writers_with_one_etag_one_wins(self, store: Store, key: str) -> None:
        etag = store.put(key, b"start")
        won: list[bytes] = []

        def write(data: bytes) -> None:
            try:
                store.put(key, data, if_match=etag)
            except PreconditionFailed:
                return
            won.append(data)

        threads = [threading.Thread(target=write, args=(b"%d" % n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert store.get(key).data == won[0]

    def test_is_found_fit_for_a_gallery(self, store: Store, key: str) -> None:
        check_conditional_writes(store, key)
        assert list(store.list(key)) == []


class DescribedStoreContract(StoreContract):
    @pytest.fixture
    def store(self) -> DescribedStore:
        raise NotImplementedError

    def test_describes_what_was_put(self, store: DescribedStore, key: str) -> None:
        etag = store.put_described(key, b"one", {"model-id": "a@b"})
        info = store.head(key)
        assert (info.size, info.etag, info.metadata) == (3, etag, {"model-id": "a@b"})
        assert info.sha256 == hashlib.sha256(b"one").hexdigest()
        assert store.get(key).data == b"one"

    def test_what_replaces_an_object_has_none_of_its_metadata(
        self, store: DescribedStore, key: str
    ) -> None:
        store.put_described(key, b"one", {"model-id": "a@b"})
        store.put(key, b"three")
        info = store.head(key)
        assert (info.size, info.metadata) == (5, {})
        assert info.sha256 in (None, hashlib.sha256(b"three").hexdigest())

    def test_describes_under_conditions(self, store: DescribedStore, key: str) -> None:
        etag = store.put_described(key, b"one", {"n": "1"}, if_absent=True)
        with pytest.raises(PreconditionFailed):
            store.put_described(key, b"two", {"n": "2"}, if_absent=True)
        store.put_described(key, b"three", {"n": "3"}, if_match=etag)
        with pytest.raises(PreconditionFailed):
            store.put_described(key, b"four", {"n": "4"}, if_match=etag)
        assert store.head(key).metadata == {"n": "3"}

    def test_lists_page_by_page(self, store: DescribedStore, key: str) -> None:
        # SeaweedFS has the keys of a folder together, other stores sort by the bytes.
        names = ["a-b.jpg", "a.jpg", "a/1.jpg", "b%20+.jpg", "bü é.jpg", "b\n.jpg", "😀.jpg"]
        etags = {f"{key}/{name}": store.put(f"{key}/{name}", b"photo") for name in names}
        listed = list(store.page(f"{key}/"))
        assert {entry.key: entry.etag for entry in listed} == etags
        assert {entry.size for entry in listed} == {5}
        for n, entry in enumerate(listed):
            assert list(store.page(f"{key}/", entry.key)) == listed[n + 1 :]

    def test_a_missing_object_is_not_described(self, store: DescribedStore, key: str) -> None:
        with pytest.raises(NotFound):
            store.head(key)
