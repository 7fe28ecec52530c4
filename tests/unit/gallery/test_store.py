from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving.errors import StoreUnfit
from serving.gallery.store import (
    DescribedStore,
    Entry,
    StoredObject,
    check_conditional_writes,
)
from tests.support.memory_store import MemoryStore
from tests.support.store_contract import DescribedStoreContract


class TestMemoryStore(DescribedStoreContract):
    @pytest.fixture
    def store(self) -> DescribedStore:
        return MemoryStore()


class IgnoresConditions(MemoryStore):
    def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        return super().put(key, data)


class IgnoresIfMatch(MemoryStore):
    def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        return super().put(key, data, if_absent=if_absent)


@pytest.mark.parametrize("kind", [IgnoresConditions, IgnoresIfMatch])
def test_a_store_without_conditional_writes_is_unfit(kind: type[MemoryStore]) -> None:
    store = kind()
    with pytest.raises(StoreUnfit, match="If-Match"):
        check_conditional_writes(store, "galleries")
    assert not store.objects


class Cached(MemoryStore):
    """As behind a proxy that answers a GET, or a LIST, with what it has answered before."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what
        self._got: dict[str, StoredObject] = {}
        self._listed: dict[str, list[Entry]] = {}

    def get(self, key: str) -> StoredObject:
        if self._what == "get":
            return self._got.setdefault(key, super().get(key))
        return super().get(key)

    def list(self, prefix: str) -> Iterator[Entry]:
        if self._what == "list":
            yield from self._listed.setdefault(prefix, [*super().list(prefix)])
        else:
            yield from super().list(prefix)


@pytest.mark.parametrize("what", ["get", "list"])
def test_a_store_behind_a_cache_is_unfit(what: str) -> None:
    with pytest.raises(StoreUnfit, match="cache"):
        check_conditional_writes(Cached(what), "galleries")


def test_what_a_check_that_was_killed_has_left_goes_with_a_later_one() -> None:
    store = MemoryStore()
    store.clock = lambda: 1000.0
    store.put("galleries/.check/old", b"1")
    store.clock = lambda: 1000.0 + 3500
    store.put("galleries/.check/of-another-process", b"1")
    store.clock = lambda: 1000.0 + 3700
    check_conditional_writes(store, "galleries")
    assert list(store.objects) == ["galleries/.check/of-another-process"]
