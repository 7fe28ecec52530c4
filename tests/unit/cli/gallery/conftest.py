"""A bucket in memory with three people, and `faces gallery` on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.memory_store import MemoryStore
from tests.support.people import put
from tests.unit.cli.gallery.faces import Faces, gallery


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def faces(tmp_path: Path, store: MemoryStore) -> Faces:
    gallery(store).commit([put(1, name="Ada"), put(2, photos=3), put(3, name="[Eve]")])
    return Faces(tmp_path, store)
