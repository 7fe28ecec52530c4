"""`faces gallery import` and `export`, on a bucket in memory."""

from __future__ import annotations

from pathlib import Path

from tests.support.memory_store import MemoryStore
from tests.support.operations import fake_triton
from tests.unit.cli.gallery.faces import Faces, people


def test_an_export_is_written(faces: Faces, store: MemoryStore, tmp_path: Path) -> None:
    out = faces("export", tmp_path / "all.safetensors")
    assert f"3 people of version 1 are exported to {tmp_path}/all.safetensors." in out
    faces("export", tmp_path / "people")
    assert len(list((tmp_path / "people").iterdir())) == 3
    failed = faces("export", tmp_path / "missing/all.safetensors", code=1)
    assert "cannot be written" in failed


def test_an_export_that_is_there_is_kept(faces: Faces, store: MemoryStore, tmp_path: Path) -> None:
    file = tmp_path / "all.safetensors"
    file.write_bytes(b"the last backup")
    assert "is there already; give another name, or --replace." in faces("export", file, code=1)
    assert file.read_bytes() == b"the last backup"
    faces("export", file, "--replace")
    assert len(file.read_bytes()) > 100


def test_an_export_is_imported(faces: Faces, store: MemoryStore, tmp_path: Path) -> None:
    file = tmp_path / "all.safetensors"
    faces("export", file)
    with fake_triton() as triton:
        faces.configure(triton={"url": triton.url})
        out = faces("import", file, "--collection", "staff")
        assert "3 people are imported; the gallery's version is 1." in out
        assert [p.name for p in people(store, "staff").values()] == ["Ada", None, "[Eve]"]
        faces("import", file, "--append")
        assert [p.photos for p in people(store).values()] == [2, 6, 2]
