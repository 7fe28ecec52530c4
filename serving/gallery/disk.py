"""Rows of float16 in files on local disk that have no name: for vectors that the system may drop
from memory and read again.

Embeddings are biometric data. A file is made without a name, or loses it at once, and only its
owner may read it; so nobody opens it, and it is gone with the process, however that ends.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.errors import GalleryTooLarge

# Space is taken in steps: of a block of 64 MiB that a small collection begins, this much.
_FIRST_ROWS = 256
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskUnfit(Exception):
    """No file can be made in a folder that is to have vectors."""


class Disk:
    """A folder on local disk. In a tmpfs, files would take memory.

    Args:
        most_bytes: that may be taken there together; who makes galleries keeps to it, see
            `serving.stages.galleries`. What others leave free on the disk may be less.

    Raises:
        DiskUnfit: no file can be made in the folder; the message says why.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self.most_bytes = folder, most_bytes
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                os.posix_fallocate(file.fileno(), 0, mmap.PAGESIZE)
        except OSError as error:
            raise DiskUnfit(
                f"match.vectors_folder: no file can be made in {folder}: {error.strerror}."
            ) from None

    def rows(self, count: int, dimension: int) -> DiskRows:
        """Raises GalleryTooLarge: no more files can be opened, or made on this disk."""
        try:
            return DiskRows(self.folder, count, dimension)
        except OSError as error:
            raise _too_large(self.folder, error) from None


class DiskRows:
    """``count`` rows (N, D) of float16 in a file of their own. Only rows that were reserved may be
    touched: the system ends a process that writes where the disk has no room.

    Attributes:
        rows: the array (N, D); the space is free again when nothing refers to it any more.
        reserved: bytes of disk that are taken.
    """

    rows: NDArray[np.float16]

    def __init__(self, folder: Path, count: int, dimension: int) -> None:
        self._folder, self._row_bytes = folder, 2 * dimension
        self._count, self.reserved = count, 0
        # Without a name from the start where the file system can do that, and of mode 0600.
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.truncate(count * self._row_bytes)
            self._mapped = mmap.mmap(file.fileno(), count * self._row_bytes)
            self._file = os.dup(file.fileno())
        self._close = weakref.finalize(self, os.close, self._file)
        # A search reads rows here and there: what lies around them would be read in vain.
        self._mapped.madvise(mmap.MADV_RANDOM)
        self.rows = np.frombuffer(self._mapped, np.float16).reshape(count, dimension)

    def prefetch(self, slots: NDArray[np.intp]) -> None:
        """Have the disk read these rows all at once, as far as they are not in memory: whoever
        touches them waits for one after the other. docs/gallery-size.md has the difference."""
        first = slots * self._row_bytes // mmap.PAGESIZE
        last = ((slots + 1) * self._row_bytes - 1) // mmap.PAGESIZE
        pages = np.unique(np.concatenate([first, last]))
        runs = np.flatnonzero(np.diff(pages, prepend=-2) > 1)
        ends = np.append(pages[runs[1:] - 1], pages[-1:]) + 1
        for start, end in zip(pages[runs].tolist(), ends.tolist(), strict=True):
            length = min(end * mmap.PAGESIZE, len(self._mapped)) - start * mmap.PAGESIZE
            self._mapped.madvise(mmap.MADV_WILLNEED, start * mmap.PAGESIZE, length)

    def reserve(self, count: int) -> None:
        """Take the space of the first ``count`` rows, and some more.

        Raises:
            GalleryTooLarge: the disk is full, or its quota is used up.
        """
        if count * self._row_bytes <= self.reserved:
            return
        step = max(_FIRST_ROWS, 1 << (count - 1).bit_length())
        wanted = min(self._count, step) * self._row_bytes
        try:
            os.posix_fallocate(self._file, self.reserved, wanted - self.reserved)
        except OSError as error:
            raise _too_large(self._folder, error) from None
        self.reserved = wanted
        if wanted == self._count * self._row_bytes:
            self._close()


def _too_large(folder: Path, error: OSError) -> GalleryTooLarge:
    if error.errno not in _FULL:
        return GalleryTooLarge(f"Vectors cannot be written to {folder}: {error.strerror}.")
    return GalleryTooLarge(
        f"There is no room for the vectors of more people in {folder}: {error.strerror}. Give the "
        "matchers more disk."
    )
