"""The people in memory, following the store from one version to the next."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import suppress

from serving.errors import GalleryTooLarge, Overloaded
from serving.gallery.disk import Disk
from serving.gallery.manifest import Manifest, SegmentRef
from serving.gallery.objects import SegmentObjects
from serving.gallery.ownership import Owners
from serving.gallery.segment import Segment
from serving.gallery.snapshot import Snapshot
from serving.gallery.state import People

# Segments of up to this size together are read at once, and applied in place.
_FEW_BYTES = 16 * 2**20


class Following:
    """One thread at a time follows; the snapshot is for all.

    Args:
        room, disk: see `serving.gallery.Gallery`.

    Attributes:
        snapshot: the people as last followed.
        loaded: whether anything was; until then the snapshot is empty and means nothing.
        owners: of the segments, by name, as far as they were read: for erasures, which would have
            to read all segments otherwise. Others may add to it.
    """

    snapshot: Snapshot
    loaded: bool
    owners: dict[str, Owners]
    _people: People

    def __init__(
        self,
        objects: SegmentObjects,
        room: Callable[[int, int], None],
        disk: Disk | None = None,
    ) -> None:
        self._objects = objects
        self._disk = disk
        self._room = room
        # The segments that the people in memory come from.
        self._applied: tuple[SegmentRef, ...] = ()
        self._forget()

    def follow(self, manifest: Manifest) -> None:
        """Bring the people to this version.

        Raises:
            NotFound, GalleryCorrupt, GalleryTooLarge, Overloaded: the snapshot stays as it was, or
                is not loaded any more.
        """
        segments = self._newer(manifest)
        if segments is None:
            try:
                self._replay(manifest.segments, empty=True)
            except GalleryTooLarge:
                if not len(self._people):
                    raise
                # There is no room for these beside those from before: then one after the other.
                self._forget()
                self._replay(manifest.segments, empty=True)
        elif sum(segment.bytes for segment in segments) > _FEW_BYTES:
            self._replay(segments, empty=False)
        else:
            # Reads all and takes the space before it applies the first: after a failure, the
            # people are as before.
            read = list(self._objects.read_all(segments))
            self._people.reserve(sum(segment.operations for segment in segments))
            self._apply(segments, read)
        self._people.pack()
        self.snapshot = self._people.snapshot(manifest.at)
        if segments or segments is None:
            names = (ref.name for ref in manifest.segments)
            self.owners = {name: self.owners[name] for name in names if name in self.owners}
        self.loaded, self._applied = True, manifest.segments
        # Searches that hold an older snapshot keep its slots; the next refresh tries again.
        self._people.overwrite_dead()
        # Whoever is few is let in: without them, deletions would not be seen either.
        with suppress(GalleryTooLarge, Overloaded):
            self._room(self._people.nbytes, self._people.disk_nbytes)

    def _apply(self, segments: Sequence[SegmentRef], read: Sequence[Segment]) -> None:
        """Apply segments in place."""
        try:
            for ref, segment in zip(segments, read, strict=True):
                self._people.apply(segment)
                self.owners[ref.name] = Owners.of(segment)
        except BaseException:
            # Nobody may be served who is half changed; the next refresh reads all again.
            self._forget()
            raise

    def _newer(self, manifest: Manifest) -> tuple[SegmentRef, ...] | None:
        """The segments to apply to the people in memory; None: to nobody."""
        if not self.loaded:
            return None
        applied = len(self._applied)
        if manifest.segments[:applied] == self._applied:  # also after many commits
            return manifest.segments[applied:]
        return manifest.newer_than(self.snapshot.version)

    def _replay(self, segments: Sequence[SegmentRef], *, empty: bool) -> None:
        """Apply segments one after the other, beside the people from before."""
        expected = sum(segment.operations for segment in segments)
        with self._people.forked(empty=empty, expected=expected) as people:
            read = self._objects.read_all(segments)
            for ref, segment in zip(segments, read, strict=True):
                people.apply(segment)
                self.owners[ref.name] = Owners.of(segment)
                self._room(people.nbytes, people.disk_nbytes)
        self._people = people
        _give_back_memory()

    def _forget(self) -> None:
        self._people = People(self._objects.dimension, self._disk)
        self.snapshot = self._people.snapshot(0)
        self.loaded = False
        self.owners = {}


def _give_back_memory() -> None:
    """Return memory to the system that reading a whole gallery has left in malloc's arenas."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
