"""Vectors in files on local disk: nobody opens them, a full disk is an error, nothing stays."""

from __future__ import annotations

import gc
import mmap
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.errors import GalleryTooLarge
from serving.gallery import Gallery, Kind, Operation, Segment
from serving.gallery.blocks import Blocks
from serving.gallery.disk import Disk, DiskRows, DiskUnfit
from serving.gallery.state import People
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, LOCATION, put, unit_rows

ROW = 2 * DIMENSION


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "vectors", 2**30)


class SmallDisk(Disk):
    """A file system of its own, of another size when asked for."""

    def grow(self, rows: int) -> None:
        size = f"remount,size={rows * ROW}"
        subprocess.run(["mount", "-o", size, str(self.folder)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    """With room for 256 rows."""
    size = f"size={256 * ROW}"
    words = ["mount", "-t", "tmpfs", "-o", size, "faces-test", str(tmp_path)]
    if subprocess.run(words, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("This account may not mount file systems.")
    try:
        yield SmallDisk(tmp_path, 2**30)
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def files_of(blocks: Blocks) -> list[DiskRows]:
    return blocks._files


class TestFiles:
    def test_they_have_no_name_and_are_their_owners(self, disk: Disk) -> None:
        rows = disk.rows(1000, DIMENSION)
        rows.reserve(1)
        found = os.fstat(rows._file)
        assert (found.st_nlink, stat.S_IMODE(found.st_mode)) == (0, 0o600)
        assert list(disk.folder.iterdir()) == []
        assert stat.S_IMODE(disk.folder.stat().st_mode) == 0o700

    def test_rows_take_space_before_they_are_written_to(self, disk: Disk) -> None:
        rows = disk.rows(1000, DIMENSION)
        assert rows.reserved == 0
        for count, reserved in ((1, 256), (256, 256), (257, 512), (600, 1000), (1000, 1000)):
            rows.reserve(count)
            assert rows.reserved == reserved * ROW
        rows.rows[999] = 1
        assert rows.rows[999].all()

    @pytest.mark.parametrize("slots", [[0], [5, 4, 3, 900, 33, 34, 500], list(range(1000))])
    def test_rows_that_are_prefetched_are_read_as_they_are(
        self, disk: Disk, slots: list[int]
    ) -> None:
        rows = disk.rows(2000, DIMENSION)
        rows.reserve(1000)
        rows.rows[:1000] = np.arange(1000)[:, None]
        os.fsync(rows._file)
        rows._mapped.madvise(mmap.MADV_DONTNEED)
        os.posix_fadvise(rows._file, 0, 0, os.POSIX_FADV_DONTNEED)
        rows.prefetch(np.array(slots))
        assert rows.rows[slots][:, 7].tolist() == slots

    def test_the_space_is_free_again_when_nothing_refers_to_it(self, disk: Disk) -> None:
        def mapped() -> int:
            return Path("/proc/self/maps").read_text().count(f"{disk.folder}/")

        rows = disk.rows(1000, DIMENSION)
        rows.reserve(1000)
        view = rows.rows[5]
        del rows
        gc.collect()
        view[:] = 3
        assert mapped() == 1
        del view
        gc.collect()
        assert mapped() == 0

    def test_a_folder_that_cannot_have_any_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        taken = tmp_path / "file"
        taken.write_text("")
        with pytest.raises(DiskUnfit, match=rf"vectors_folder.* {taken}: File exists"):
            Disk(taken, 1)

    def test_rows_that_were_dropped_from_memory_are_read_again(self, disk: Disk) -> None:
        blocks, slots = Blocks(70_000, DIMENSION, disk=disk), np.arange(66_500)[::-61]
        blocks.reserve(66_500)
        blocks[slots] = (slots[:, None].repeat(DIMENSION, axis=1) % 1000).astype(np.float16)
        for _ in range(2):
            for file in files_of(blocks):
                file._mapped.flush()
                file._mapped.madvise(mmap.MADV_DONTNEED)
                if file.reserved < len(file._mapped):  # or its own descriptor is closed
                    os.posix_fadvise(file._file, 0, 0, os.POSIX_FADV_DONTNEED)
            for _ in range(2):
                assert (blocks[slots][:, 5] == slots % 1000).all()

    def test_blocks_share_their_files_with_what_is_grown_from_them(self, disk: Disk) -> None:
        blocks = Blocks(10, DIMENSION, disk=disk)
        blocks.reserve(10)
        blocks[np.array([3])] = np.ones((1, DIMENSION), np.float16)
        grown = blocks.grown(100_000)
        assert grown.row(3).all()
        grown.reserve(70_000)
        assert blocks.disk_bytes == 65_536 * ROW
        assert grown.disk_bytes == (65_536 + 8_192) * ROW
        assert (grown.memory_row_bytes, Blocks(1, DIMENSION).memory_row_bytes) == (0, ROW)


class TestPeople:
    def test_only_the_vectors_are_not_memory(self, disk: Disk) -> None:
        on_disk, in_memory = People(DIMENSION, disk), People(DIMENSION)
        for people in (on_disk, in_memory):
            people.apply(Segment.of([put(n) for n in range(300)], DIMENSION))
        shown = on_disk.snapshot(1)
        assert in_memory.nbytes - on_disk.nbytes == 300 * ROW
        assert in_memory.snapshot(1).nbytes - shown.nbytes == 300 * ROW
        assert (in_memory.disk_nbytes, on_disk.disk_nbytes, shown.disk_nbytes) == (
            0,
            512 * ROW,
            512 * ROW,
        )

    def test_of_who_is_erased_nothing_stays_in_the_file(self, disk: Disk) -> None:
        people, rows = People(DIMENSION, disk), unit_rows(2, DIMENSION, seed=3)
        both = [Operation(Kind.PUT, n, 1.0, rows[n : n + 1]) for n in (0, 1)]
        people.apply(Segment.of(both, DIMENSION))
        (file,) = files_of(people._slots.columns.centroids)

        def holds(row: int) -> bool:
            stored = os.pread(file._file, file.reserved, 0)
            return rows[row].astype(np.float16).tobytes() in stored

        assert (holds(0), holds(1)) == (True, True)
        people.apply(Segment.of([Operation(Kind.DELETE, 1, 2.0)], DIMENSION))
        people.overwrite_dead()
        assert (holds(0), holds(1)) == (True, False)


class TestFull:
    def test_nobody_is_half_added(self, small: SmallDisk) -> None:
        people = People(DIMENSION, small)
        people.apply(Segment.of([put(n) for n in range(200)], DIMENSION))
        more = Segment.of([put(n) for n in range(1000, 1400)], DIMENSION)
        with pytest.raises(GalleryTooLarge, match=r"No space left on device\. Give the matchers"):
            people.apply(more)
        assert [p.id for p in people.snapshot(1).list(999)] == list(range(200))
        small.grow(1024)
        people.apply(more)
        assert len(people) == 600

    def test_a_matcher_goes_on_with_the_people_from_before(self, small: SmallDisk) -> None:
        store = MemoryStore()
        gallery = Gallery(store, "galleries", LOCATION, disk=small)
        other = Gallery(store, "galleries", LOCATION)
        other.commit([put(n) for n in range(256)])
        assert len(gallery.refresh()) == 256
        other.commit([put(1000)])
        with pytest.raises(GalleryTooLarge, match=str(small.folder)):
            gallery.refresh()
        assert (gallery.loaded, len(gallery.snapshot)) == (True, 256)
        small.grow(1024)
        assert 1000 in gallery.refresh()

    def test_after_a_failure_in_the_middle_a_matcher_reads_all_again(
        self, small: SmallDisk
    ) -> None:
        """Those who are cleared leave their space later than others take theirs."""
        store = MemoryStore()
        gallery = Gallery(store, "galleries", LOCATION, disk=small)
        other = Gallery(store, "galleries", LOCATION)
        other.commit([put(n) for n in range(200)])
        assert len(gallery.refresh()) == 200
        other.commit([Operation(Kind.CLEAR, 0, 1.0), *(put(n) for n in range(50))])
        with pytest.raises(GalleryTooLarge):
            gallery.refresh()
        assert not gallery.loaded
        small.grow(1024)
        assert len(gallery.refresh()) == 50

    def test_without_room_for_the_living_twice_they_stay_where_they_are(
        self, small: SmallDisk
    ) -> None:
        small.grow(4096)
        people = People(DIMENSION, small)
        people.apply(Segment.of([put(n) for n in range(3000)], DIMENSION))
        people.apply(Segment.of([Operation(Kind.DELETE, n, 1.0) for n in range(2600)], DIMENSION))
        people.pack()
        assert people._slots.used == 3000
        small.grow(8192)
        people.pack()
        assert people._slots.used == 400
