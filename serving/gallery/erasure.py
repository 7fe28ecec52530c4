"""Erasure: remove people's embeddings from every object of a gallery, or of a collection."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.errors import CommitConflict, ServingError, Unavailable, UnknownIdentity
from serving.gallery.erased import remembering
from serving.gallery.location import Location, locate
from serving.gallery.manifest import Manifest, SegmentRef
from serving.gallery.objects import Uploads
from serving.gallery.ownership import Owners, Ownership
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.store import Store
from serving.gallery.stored import StoredGallery
from serving.gallery.sweep import sweep
from serving.gallery.writer import Writer


@dataclass(frozen=True)
class Receipt:
    """What an erasure has removed; the embeddings are in no object of the gallery any more.

    Attributes:
        sweep_until: until then (seconds since 1970) a process that had read the gallery before may
            still upload what it has read, and die; nobody reads such an object, and the sweeps of
            the maintenance remove it.
    """

    model: str
    ids: Sequence[int]
    embeddings: int
    objects_rewritten: Sequence[str]
    objects_removed: Sequence[str]
    gallery_version: int
    time: float
    sweep_until: float


@dataclass(frozen=True)
class Left:
    """A gallery in which people could not be erased, and why."""

    gallery: str
    problem: str


@dataclass(frozen=True)
class Erasure:
    """An erasure in all galleries of a collection: what was removed, and where it failed."""

    receipts: Sequence[Receipt]
    left: Sequence[Left] = ()


def erase_everywhere(
    store: Store,
    prefix: str,
    collection: str,
    ids: Collection[int],
    known: Callable[[Location], dict[str, Owners]] = lambda location: {},
) -> Erasure:
    """Erase people from the galleries of all models in the collection; see `erase`.

    A person who asks to be forgotten means every model's gallery. One that fails does not keep the
    others from being erased.

    Args:
        known: see `Contents`.

    Raises:
        UnknownIdentity: no gallery holds anything about one of the ids; nothing was written.
        ServingError: no gallery could be erased; the error of the first.
    """
    failed: dict[str, ServingError] = {}
    held_in: list[tuple[Contents, set[int]]] = []
    for location in locate(store, prefix, collection, failed=failed.__setitem__):
        contents = Contents(StoredGallery(store, prefix, location), known(location))
        try:
            held_in.append((contents, held(contents, ids)))
        except Unavailable as error:
            failed[str(location)] = error
    if not failed:
        _require_known(ids, *(here for _, here in held_in))
    receipts: list[Receipt] = []
    for contents, here in held_in:
        try:
            if here:
                receipts.append(erase_held(contents, here))
        except (CommitConflict, Unavailable) as error:
            failed[str(contents.gallery.location)] = error
    if failed and not receipts:
        raise next(iter(failed.values()))
    return Erasure(receipts, [Left(gallery, str(error)) for gallery, error in failed.items()])


class Contents:
    """Who owns what in a gallery's segments. Reads each segment once, one after the other, however
    often it is asked: memory holds a few segments at a time, and of each only its `Owners`.

    Args:
        known: the owners of segments that were read before, by name; it adds those that it reads.
    """

    def __init__(self, gallery: StoredGallery, known: dict[str, Owners] | None = None) -> None:
        self.gallery = gallery
        self._owners = {} if known is None else known

    def owned(self, manifest: Manifest, ids: Collection[int]) -> Ownership:
        """The operations of these people. Raises NotFound, as reading them does."""
        unread = [ref for ref in manifest.segments if ref.name not in self._owners]
        read = map(Owners.of, self.gallery.objects.read_all(unread))
        for ref, owners in zip(unread, read, strict=True):
            self._owners[ref.name] = owners
        return Ownership.of((self._owners[ref.name] for ref in manifest.segments), ids)

    def add(self, ref: SegmentRef, segment: Segment) -> None:
        """What was just written need not be read."""
        self._owners[ref.name] = Owners.of(segment)


def held(contents: Contents, ids: Collection[int]) -> set[int]:
    """The ids about which the bucket holds anything: enrolled, deleted, or in objects to sweep."""
    gallery = contents.gallery
    manifest, owned = gallery.file.reading(lambda now: (now, contents.owned(now, ids)))
    known = {i for i in ids if owned.ever(i)}
    for name, _ in gallery.objects.all():
        if name not in manifest.names and len(known) < len(ids):
            known.update(set(ids).intersection(gallery.objects.ids_in(name)))
    return known


def erase(gallery: StoredGallery, ids: Collection[int]) -> Receipt:
    """Forget these people for good: delete them, and remove their embeddings from the bucket.

    Also works for people who are deleted already: objects still hold their embeddings.

    Raises:
        UnknownIdentity: no object holds anything about one of the ids; nothing was written.
        CommitConflict: compactions came between too often; they are deleted, but not yet erased.
        Unavailable: the store is away, or the gallery is damaged.
    """
    contents = Contents(gallery)
    _require_known(ids, held(contents, ids))
    return erase_held(contents, ids)


def erase_held(contents: Contents, ids: Collection[int]) -> Receipt:
    """Like `erase`, for ids that `held` has returned, with the same contents: so what was read for
    that is not read again."""
    gallery = contents.gallery
    Writer(gallery).commit([Operation(Kind.DELETE, i, gallery.now()) for i in ids])
    for _ in range(gallery.limits.erase_tries):
        rewritten = _rewrite_without(contents, ids)
        if rewritten is not None:
            break
    else:
        raise CommitConflict("Compactions came between; the people are deleted, erase them again.")
    removed = sweep(gallery, grace_s=0).removed
    after, _ = gallery.file.read()
    now = gallery.now()
    return Receipt(
        model=after.model,
        ids=sorted(ids),
        embeddings=rewritten[1],
        objects_rewritten=rewritten[0],
        objects_removed=removed,
        gallery_version=after.version,
        time=now,
        sweep_until=now + gallery.limits.writer_life_s,
    )


def _require_known(ids: Collection[int], *known: set[int]) -> None:
    unknown = set(ids).difference(*known)
    if unknown:
        raise UnknownIdentity(f"The gallery holds nothing of the id {min(unknown)}.")


def _rewrite_without(contents: Contents, ids: Collection[int]) -> tuple[list[str], int] | None:
    """Commit segments without these people.

    Returns:
        The names of the segments that held them, and the number of rows removed; None: another
        process was faster.
    """
    gallery = contents.gallery
    uploads = Uploads(gallery.objects)

    def attempt(now: Manifest) -> tuple[Manifest, dict[str, list[SegmentRef]], int]:
        uploads.discard()
        return _without(contents, uploads, now, ids)

    try:
        manifest, replacements, rows = gallery.file.reading(attempt)
    except ServingError:
        uploads.discard()
        raise
    done = False

    def mutate(now: Manifest, commit: str) -> Manifest | None:
        nonlocal done
        # Another process may have folded them, or swept what was just written.
        listed = {s.name: s for s in manifest.segments if s.name in replacements}
        done = set(listed.values()) <= set(now.segments) and now.fence <= manifest.version
        if not done:
            return None
        segments = tuple(r for s in now.segments for r in replacements.get(s.name, (s,)))
        erased = remembering(now.erased, ids, gallery.now(), gallery.limits)
        return now.folded(commit, segments, gallery.now()).without(erased)

    gallery.commit_as("erase", mutate)
    if not done:
        uploads.discard()
    return (sorted(replacements), rows) if done else None


def _without(
    contents: Contents, uploads: Uploads, manifest: Manifest, ids: Collection[int]
) -> tuple[Manifest, dict[str, list[SegmentRef]], int]:
    """The replacements of the segments that hold them, by name; and the number of rows removed."""
    gallery = contents.gallery
    replacements: dict[str, list[SegmentRef]] = {}
    rows = 0
    for number, operations in contents.owned(manifest, ids).dead(ids).items():
        ref = manifest.segments[number]
        segment = gallery.objects.read(ref)
        keep = np.ones(len(segment), np.bool_)
        keep[operations] = False
        rows += int(np.diff(segment.row_starts())[operations].sum())
        replacements[ref.name] = []
        for part in _parts(segment, keep, gallery.limits.segment_bytes):
            written = uploads.write(part, ref.first, ref.last)
            contents.add(written, part)
            replacements[ref.name].append(written)
    return manifest, replacements, rows


def _parts(segment: Segment, keep: NDArray[np.bool_], most_bytes: int) -> Iterator[Segment]:
    """The operations to keep, in segments of at most so many bytes of embeddings or of one
    operation; an empty one when none is left."""
    most_rows = most_bytes // (2 * segment.dimension)
    rows = np.cumsum(np.where(keep, np.diff(segment.row_starts()), 0))
    part = (rows - 1).clip(0) // max(most_rows, 1)
    for number in np.unique(part[keep]) if keep.any() else [0]:
        yield segment.select(keep & (part == number))
