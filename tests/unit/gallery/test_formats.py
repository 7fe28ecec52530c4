"""Objects that a newer version wrote, and a writer of the previous release beside this one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

from serving.errors import GalleryTooNew, InvalidInput
from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.erasure import erase
from serving.gallery.interchange import ExportFile, write_export
from serving.gallery.manifest import index_name, key_of
from serving.gallery.restore import as_of, restore
from serving.gallery.segment import Segment
from serving.gallery.store import StoredObject
from serving.gallery.sweep import sweep
from serving.model.card import ModelCard
from tests.support.older_writer import OlderWriter
from tests.support.people import DIMENSION, FOLDER, MANIFEST, MODEL, put
from tests.support.stages import CARD
from tests.unit.gallery.bucket import Bucket, delete


def change(bucket: Bucket, **fields: Any) -> dict[str, Any]:
    """The manifest with other fields, as a newer version would have written it."""
    manifest = json.loads(bucket.store.objects[MANIFEST].data) | fields
    bucket.store.put(MANIFEST, json.dumps(manifest).encode())
    return dict(manifest)


def test_a_newer_manifest_is_no_damage(bucket: Bucket) -> None:
    bucket.write(put(1))
    written = change(bucket, format="faces-gallery/3")
    for call in (bucket.gallery().refresh, lambda: bucket.write(put(2))):
        with pytest.raises(GalleryTooNew, match="faces-gallery/3; upgrade"):
            call()
    assert json.loads(bucket.store.objects[MANIFEST].data) == written


@pytest.mark.parametrize("where", ["manifest", "segments", "commits", "index"])
def test_a_field_that_is_not_known_is_read_and_never_dropped(bucket: Bucket, where: str) -> None:
    bucket.write(*(put(n) for n in range(40)), delete(1))  # with an index
    manifest = json.loads(bucket.store.objects[MANIFEST].data)
    if where == "manifest":
        change(bucket, quota=5)
    elif where == "index":
        index = json.loads(bucket.store.objects[key_of(FOLDER, manifest["index"])].data)
        data = json.dumps(index | {"quota": 5}).encode()
        bucket.store.put(key_of(FOLDER, index_name(data)), data)
        change(bucket, index=index_name(data))
    else:
        change(bucket, **{where: [part | {"quota": 5} for part in manifest[where]]})
    before = dict(bucket.store.objects)
    assert len(bucket.people()) == 39
    assert check(bucket.stored()).problems == []
    for write in (
        lambda: bucket.write(put(2)),
        lambda: compact(bucket.stored()),
        lambda: sweep(bucket.stored(), grace_s=0),
        lambda: erase(bucket.stored(), [2]),
        lambda: restore(bucket.stored(), as_of(bucket.stored(), 41)),
    ):
        bucket.store.put(f"{FOLDER}/segments/{'a' * 32}.safetensors", b"left")
        with pytest.raises(GalleryTooNew, match="quota"):
            write()
    assert bucket.store.objects[MANIFEST] == before[MANIFEST]


@pytest.mark.parametrize("what", ["format", "tensor", "index"])
def test_newer_objects(bucket: Bucket, what: str) -> None:
    bucket.write(*(put(n) for n in range(40)))
    if what == "index":
        name = json.loads(bucket.store.objects[MANIFEST].data)["index"]
        index = json.loads(bucket.store.objects[key_of(FOLDER, name)].data)
        data = json.dumps(index | {"format": "faces-index/2"}).encode()
        bucket.store.put(key_of(FOLDER, index_name(data)), data)
        change(bucket, index=index_name(data))
    else:
        tensors = safetensors.numpy.load(Segment.of([put(1)], DIMENSION).to_bytes())
        if what == "tensor":
            tensors["quality"] = tensors["count"]
        format_ = "faces-segment/9" if what == "format" else "faces-segment/1"
        data = safetensors.numpy.save(tensors, metadata={"format": format_})
        manifest = json.loads(bucket.store.objects[MANIFEST].data)
        *others, last = manifest["segments"]
        bucket.store.objects[key_of(FOLDER, last["name"])] = StoredObject(data, '"x"')
        last |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        change(bucket, segments=[*others, last])
    with pytest.raises(GalleryTooNew, match="upgrade"):
        bucket.gallery().refresh()


def test_a_newer_export_and_a_newer_card(tmp_path: Path) -> None:
    path = tmp_path / "people.safetensors"
    write_export(path, MODEL, DIMENSION, [Segment.of([put(1)], DIMENSION)])
    tensors = safetensors.numpy.load_file(path)
    metadata = {"format": "faces-export/9", "model": MODEL}
    safetensors.numpy.save_file(tensors, path, metadata=metadata)
    with pytest.raises(InvalidInput, match="newer version"):
        ExportFile.open(path)
    tensors["quality"] = tensors["counts"]
    safetensors.numpy.save_file(tensors, path, metadata=metadata | {"format": "faces-export/1"})
    with pytest.raises(InvalidInput, match="newer version"):
        ExportFile.open(path)
    newer = json.dumps(json.loads(CARD.to_json()) | {"alignment": "five points"})
    with pytest.raises(ValueError, match=r"newer version.*alignment"):
        ModelCard.from_json(newer)


def test_the_previous_release_and_this_one_on_one_bucket(bucket: Bucket) -> None:
    """Both write, this one erases, compacts, sweeps and restores; then everybody goes back."""
    older = OlderWriter(bucket.store, FOLDER, DIMENSION)
    reader = bucket.gallery()
    for n in range(0, 80, 2):
        older.commit([put(n)])
        bucket.write(put(n + 1))
        if n % 20 == 18:
            compact(bucket.stored())
        assert [p.id for p in reader.refresh().list(99)] == older.people() == list(range(n + 2))
    erase(bucket.stored(), [7])
    older.commit([put(100)])
    sweep(bucket.stored(), grace_s=0)
    assert bucket.people() == older.people()
    version = bucket.manifest().version
    restore(bucket.stored(), as_of(bucket.stored(), version))
    assert older.newer_than(version) is None  # a reader of that release loads anew, too
    older.commit([put(101)])
    left = [n for n in (*range(80), 100, 101) if n != 7]
    assert bucket.people() == older.people() == left
    assert [p.id for p in reader.refresh().list(99)] == left
    assert check(bucket.stored()).problems == []
