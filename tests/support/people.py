"""Made-up people for the gallery's tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.gallery.location import Location
from serving.gallery.manifest import NO_INDEX, Index, Manifest, key_of
from serving.gallery.segment import Kind, Operation
from tests.support.memory_store import MemoryStore

DIMENSION = 64
MODEL = "facenet-test@0123456789ab"
LOCATION = Location("default", MODEL, DIMENSION)
FOLDER = f"galleries/{LOCATION}"
MANIFEST = f"{FOLDER}/manifest.json"


def unit_rows(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


def put(person: int, photos: int = 1, *, seed: int | None = None, name: str = "") -> Operation:
    rows = unit_rows(photos, DIMENSION, seed=person if seed is None else seed)
    return Operation(Kind.PUT, person, 100.0, rows, details={"name": name} if name else {})


def whole_manifest(store: MemoryStore, stored: bytes) -> Manifest:
    """A stored manifest together with the contents of its index."""
    manifest = Manifest.model_validate_json(stored)
    if manifest.index == NO_INDEX:
        return manifest
    index = Index.model_validate_json(store.objects[key_of(FOLDER, manifest.index)].data)
    segments = (*index.segments, *manifest.segments)
    return manifest.model_copy(update={"segments": segments, "indexed": len(index.segments)})
