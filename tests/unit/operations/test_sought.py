"""Which photos and faces are sought."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.errors import InvalidInput
from serving.gallery.store import NotFound, StoredObject
from serving.operations.sought import in_folder, source_of
from tests.support.job_results import Results, box_of, face, line
from tests.support.memory_store import MemoryStore


def test_all_photos_below_a_folder(tmp_path: Path) -> None:
    for name in ("b.jpg", "deep/er/a.png", ".hidden/c.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"photo")
    (tmp_path / "deep" / "back").symlink_to(tmp_path)
    found = list(in_folder(tmp_path))
    assert [one.name for one in found] == ["b.jpg", "deep/er/a.png"]
    assert found[1].read() == b"photo"


def test_photos_with_a_face_without_a_name_are_taken_from_results() -> None:
    results = Results(
        [line("in/a", "e", face(0, id=7), face(1)), line("in/b", "e", face(0, id=7))],
        [{"photo": "in/x", "etag": "e", "error": {"type": "gone"}}, line("in/c", "e")],
    )
    (found,) = results.sought()
    assert (found.name, [tuple(box) for box in found.boxes or ()]) == ("in/a", [box_of(1)])


def test_an_etag_has_quotes_in_a_store_and_none_in_results() -> None:
    results = Results([line("in/a", "e", face(0))])
    results.store.objects["in/a"] = StoredObject(b"photo", '"e"')
    (found,) = results.sought()
    assert found.read() == b"photo"


def test_a_photo_that_has_changed_since_is_gone() -> None:
    results = Results([line("in/a", "old", face(0))])
    results.store.put("in/a", b"photo")
    (found,) = results.sought()
    with pytest.raises(NotFound):
        found.read()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda store: store.delete("out/job.json"), "holds no results of faces batch"),
        (lambda store: store.put("out/job.json", b"[]"), "is no job of faces batch"),
        (lambda store: store.put("out/job.json", b"{}"), "is no job of faces batch"),
        (lambda store: store.delete("out/summary.json"), "is not finished; go on with it"),
    ],
)
def test_what_are_no_finished_results_is_refused(
    change: Callable[[MemoryStore], object], sentence: str
) -> None:
    results = Results()
    change(results.store)
    with pytest.raises(InvalidInput, match=sentence):
        source_of(results.place)


def test_results_in_another_format_are_refused() -> None:
    with pytest.raises(InvalidInput, match="are parquet; run faces batch with --format jsonl"):
        source_of(Results(format="parquet").place)
