"""Moving people into a gallery and out of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.errors import InvalidInput, ModelMismatch, Unavailable
from serving.gallery import Gallery, Kind, Operation
from serving.gallery.interchange import ExportFile, write_export
from serving.gallery.location import Location
from serving.gallery.segment import Segment
from serving.gallery.stored import StoredGallery
from serving.gallery.sweep import sweep
from serving.gallery.transfer import export_file, export_folder, import_people
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, LOCATION, MODEL, put, unit_rows


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def gallery(store: MemoryStore) -> Gallery:
    return open_gallery(store)


def open_gallery(store: MemoryStore, collection: str = "default") -> Gallery:
    return Gallery(store, "galleries", Location(collection, MODEL, DIMENSION), sleep=lambda s: None)


def export(path: Path, *people: Operation, model: str = MODEL) -> ExportFile:
    write_export(path, model, DIMENSION, [Segment.of(people, DIMENSION)])
    return ExportFile.open(path)


def test_everybody_is_imported_in_one_commit_of_few_objects(
    tmp_path: Path, store: MemoryStore, gallery: Gallery
) -> None:
    files = [export(tmp_path / str(n), put(n, photos=4, name=f"n{n}")) for n in range(5)]
    counts: list[int] = []
    assert import_people(gallery, MODEL, files, imported=counts.append, rows_at_once=10) == 1
    assert counts == [2, 2, 1]
    assert [(p.id, p.photos, p.name) for p in gallery.refresh().list(9)] == [
        (n, 4, f"n{n}") for n in range(5)
    ]
    assert len([k for k in store.objects if "/segments/" in k]) == 3
    ids, similarities, _ = gallery.snapshot.search(unit_rows(4, DIMENSION, seed=2)[:1], 1)
    assert ids.tolist() == [[2]]
    assert similarities[0, 0] > 0.3


def test_importing_replaces_or_appends(tmp_path: Path, gallery: Gallery) -> None:
    gallery.commit([put(7, photos=2), put(8)])
    more = export(tmp_path / "x", put(7, photos=3, seed=99))
    import_people(gallery, MODEL, [more], append=True)
    assert [p.photos for p in gallery.refresh().list(9)] == [5, 1]
    import_people(gallery, MODEL, [more])
    assert [p.photos for p in gallery.refresh().list(9)] == [3, 1]


def test_a_bad_row_in_the_last_file_leaves_the_gallery_as_it_was(
    tmp_path: Path, gallery: Gallery
) -> None:
    bad = put(2)
    good = export(tmp_path / "good", put(1))
    export(tmp_path / "bad", bad)
    data = (tmp_path / "bad").read_bytes()
    assert bad.embeddings is not None
    rows = bad.embeddings.astype(np.float16).tobytes()
    (tmp_path / "bad").write_bytes(data.replace(rows, bytes(len(rows))))
    with pytest.raises(InvalidInput, match="bad is no usable export"):
        import_people(gallery, MODEL, [good, ExportFile.open(tmp_path / "bad")])
    assert (len(gallery.refresh()), gallery.snapshot.version) == (0, 0)


def test_another_models_embeddings_are_refused(tmp_path: Path, gallery: Gallery) -> None:
    other = "facenet-other@ffffffffffff"
    with pytest.raises(ModelMismatch, match=f"{other}.*{MODEL}"):
        import_people(gallery, MODEL, [export(tmp_path / "x", put(1), model=other)])


def test_another_dimension_is_refused(tmp_path: Path, store: MemoryStore) -> None:
    gallery = Gallery(store, "galleries", Location("default", MODEL, DIMENSION + 1))
    with pytest.raises(InvalidInput, match="numbers"):
        import_people(gallery, MODEL, [export(tmp_path / "x", put(1))])


def test_the_person_of_another_dimension_is_named(tmp_path: Path, gallery: Gallery) -> None:
    good = export(tmp_path / "good.safetensors", put(1))
    longer = Operation(Kind.PUT, 7, 1.0, embeddings=unit_rows(1, DIMENSION + 1))
    write_export(
        tmp_path / "7.safetensors", MODEL, DIMENSION + 1, [Segment.of([longer], DIMENSION + 1)]
    )
    other = ExportFile.open(tmp_path / "7.safetensors")
    with pytest.raises(InvalidInput, match=f"embeddings of 7 have {DIMENSION + 1} numbers"):
        import_people(gallery, MODEL, [good, other])
    assert gallery.refresh().version == 0


def test_an_id_in_two_files_is_refused(tmp_path: Path, gallery: Gallery) -> None:
    files = [export(tmp_path / str(n), put(7, seed=n)) for n in range(2)]
    with pytest.raises(InvalidInput, match="id 7 comes more than once"):
        import_people(gallery, MODEL, files)


def test_a_store_that_fails_half_way_is_asked_for_the_rest(
    tmp_path: Path, store: MemoryStore, gallery: Gallery
) -> None:
    failures = iter([False, True, False])

    def sometimes(request: str, key: str) -> None:
        if "/segments/" in key and next(failures, False):
            raise Unavailable("The store is away.")

    store.before = sometimes
    files = [export(tmp_path / str(n), put(n)) for n in range(3)]
    assert import_people(gallery, MODEL, files, rows_at_once=1) == 1
    assert len(gallery.refresh()) == 3
    written = [key for request, key in store.requests if request == "put" and "/segments/" in key]
    assert len(written) == 4


def test_an_import_that_was_swept_meanwhile_is_written_again(
    tmp_path: Path, store: MemoryStore, gallery: Gallery
) -> None:
    gallery.commit([put(1)])
    once = iter([True])

    def sweep_once(request: str, key: str) -> None:
        if request == "put" and key.endswith("manifest.json") and next(once, False):
            assert sweep(StoredGallery(store, "galleries", LOCATION), grace_s=0).removed

    store.before = sweep_once
    assert import_people(gallery, MODEL, [export(tmp_path / "x", put(2))]) == 3
    assert [p.id for p in open_gallery(store).refresh().list(9)] == [1, 2]


def test_what_is_exported_into_one_file_comes_back(
    tmp_path: Path, store: MemoryStore, gallery: Gallery
) -> None:
    gallery.commit([put(1, photos=2, name="Ada"), put(2), put(3)])
    gallery.commit([Operation(Kind.MERGE, 1, 500.0, sources=[2])])
    gallery.commit([Operation(Kind.DELETE, 3, 600.0)])
    assert export_file(gallery, MODEL, tmp_path / "all.safetensors") == (1, 3)
    other = open_gallery(store, "other")
    import_people(other, MODEL, [ExportFile.open(tmp_path / "all.safetensors")])
    (before,), (after,) = gallery.refresh().list(9), other.refresh().list(9)
    assert after == before
    assert (after.photos, after.name) == (3, "Ada")


def test_an_export_has_a_file_for_each_person(
    tmp_path: Path, store: MemoryStore, gallery: Gallery
) -> None:
    gallery.commit([put(n, photos=n, name=f"n{n}") for n in range(1, 4)])
    counts: list[int] = []
    assert export_folder(gallery, MODEL, tmp_path / "people", counts.append) == (3, 1)
    assert sum(counts) == 3
    files = sorted((tmp_path / "people").iterdir())
    assert [f.name for f in files] == ["1.safetensors", "2.safetensors", "3.safetensors"]
    other = open_gallery(store, "other")
    import_people(other, MODEL, [ExportFile.open(f) for f in files])
    assert other.refresh().list(9) == gallery.refresh().list(9)


def test_nobody_of_an_earlier_export_stays_in_the_folder(tmp_path: Path, gallery: Gallery) -> None:
    gallery.commit([put(1), put(2)])
    export_folder(gallery, MODEL, tmp_path, lambda people: None)
    gallery.commit([Operation(Kind.DELETE, 1, 500.0)])
    with pytest.raises(InvalidInput, match="export into an empty folder"):
        export_folder(gallery, MODEL, tmp_path, lambda people: None)
    assert (tmp_path / "1.safetensors").exists()  # what is there is the operator's


def test_a_retention_is_exported_and_imported(
    tmp_path: Path, gallery: Gallery, store: MemoryStore
) -> None:
    ends = {"expires_at": "2027-01-31T00:00:00Z"}
    over = {"expires_at": "2020-01-31T00:00:00Z"}
    basis = {"legal_basis": {"kind": "consent", "reference": "form 12", "date": "2026-11-28"}}
    details: dict[int, dict[str, Any]] = {1: {"name": "Ada", **ends}, 2: basis, 3: over}
    gallery.commit([replace(put(n), details=given) for n, given in details.items()])
    whole, folder = tmp_path / "all.safetensors", tmp_path / "each"
    export_file(gallery, MODEL, whole)
    export_folder(gallery, MODEL, folder, lambda people: None)
    assert b"faces-export/2" in whole.read_bytes()  # which earlier versions refuse
    assert b"faces-export/2" in (folder / "1.safetensors").read_bytes()
    assert b"faces-export/1" in (folder / "2.safetensors").read_bytes()
    for collection, files in (("a", [whole]), ("b", sorted(folder.iterdir()))):
        into = open_gallery(store, collection)
        import_people(into, MODEL, [ExportFile.open(file) for file in files])
        assert into.refresh().list(9) == gallery.refresh().list(9)
        assert len(into.snapshot.at(1700000000)) == 2


@pytest.mark.parametrize(
    ("details", "sentence"),
    [
        ({"expires_at": "2027-01-31"}, "expires_at should be a date and a time"),
        ({"expires_at": 1801353600}, "expires_at should be a date and a time"),
        ({"legal_basis": {"kind": "because"}}, "The kind of a legal_basis is one of"),
        ({"legal_basis": {"kind": "consent", "date": "soon"}}, "The date of a legal_basis should"),
    ],
)
def test_a_retention_that_is_none_is_refused(
    tmp_path: Path, gallery: Gallery, details: dict[str, Any], sentence: str
) -> None:
    segment = Segment.of([put(1, name="Ada")], DIMENSION)
    text = json.dumps(details).encode()
    broken = replace(
        segment,
        details=np.frombuffer(text, np.uint8),
        details_length=np.array([len(text)], np.int32),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segment, "first_end", None)
        write_export(tmp_path / "x", MODEL, DIMENSION, [broken])
    with pytest.raises(InvalidInput, match=f"x: the person 1: {sentence}"):
        import_people(gallery, MODEL, [ExportFile.open(tmp_path / "x")])
    assert gallery.refresh().version == 0
