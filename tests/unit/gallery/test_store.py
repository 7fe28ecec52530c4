from __future__ import annotations

import pytest

from serving.errors import StoreUnfit
from serving.gallery.store import DescribedStore, check_conditional_writes
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
