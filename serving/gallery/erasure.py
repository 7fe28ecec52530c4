"""Erasure: remove people's embeddings from every object of a gallery, or of a collection."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from serving.errors import CommitConflict, ServingError, Unavailable, UnknownIdentity
from serving.gallery.contents import Contents, held, without
from serving.gallery.erased import remembering
from serving.gallery.location import Location, locate
from serving.gallery.manifest import Manifest, SegmentRef
from serving.gallery.objects import Uploads
from serving.gallery.ownership import Owners
from serving.gallery.segment import Kind, Operation
from serving.gallery.store import Store
from serving.gallery.stored import StoredGallery
from serving.gallery.sweep import sweep
from serving.gallery.version import Version
from serving.gallery.writer import Writer

_DELETED = (
    "Who was to be erased is deleted already, so that no look-up finds them, but objects still "
    "hold their embeddings: erase again."
)


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


def erase(gallery: StoredGallery, ids: Collection[int]) -> Receipt:
    """Forget these people for good: delete them, and remove their embeddings from the bucket.

    Also works for people who are deleted already: objects still hold their embeddings.

    Raises:
        UnknownIdentity: no object holds anything about one of the ids; nothing was written.
        CommitConflict: compactions or restores came between too often; they are not erased yet.
        Unavailable: the store is away, or the gallery is damaged.
    """
    contents = Contents(gallery)
    _require_known(ids, held(contents, ids))
    return erase_held(contents, ids)


def erase_held(contents: Contents, ids: Collection[int]) -> Receipt:
    """Like `erase`, for ids that `held` has returned, with the same contents: so what was read for
    that is not read again."""
    gallery = contents.gallery
    rewritten: list[str] = []
    removed: list[str] = []
    rows = 0
    epoch: str | None = None
    for _ in range(gallery.limits.erase_tries):
        try:
            epoch = epoch or _delete(gallery, ids)
            replaced = _rewrite_without(contents, ids, epoch)
            if replaced is None:
                continue
            rewritten += replaced[0]
            rows += replaced[1]
            removed += sweep(gallery, grace_s=0).removed
            version = _end(gallery, epoch)
        except _OtherEpoch:
            epoch = None  # the people may be back
        except Unavailable as error:
            if epoch is None:
                raise
            raise type(error)(f"{error} {_DELETED}") from error
        else:
            break
    else:
        raise CommitConflict("Compactions or restores came between: erase them again.")
    now = gallery.now()
    return Receipt(
        model=gallery.location.model,
        ids=sorted(ids),
        embeddings=rows,
        objects_rewritten=rewritten,
        objects_removed=removed,
        gallery_version=version,
        time=now,
        sweep_until=now + gallery.limits.writer_life_s,
    )


class _OtherEpoch(Exception):
    """A restore came between, or a commit of the previous release, which knows of no epochs and
    may have hidden one."""


def _delete(gallery: StoredGallery, ids: Collection[int]) -> str:
    """Delete these people; returns an epoch that had begun before."""
    epoch = ""

    def mutate(now: Manifest, commit: str) -> Manifest | None:
        nonlocal epoch
        epoch = now.epoch or commit
        return None if now.epoch else now.in_epoch(commit, gallery.now())

    gallery.commit_as("erase", mutate)
    Writer(gallery).commit([Operation(Kind.DELETE, i, gallery.now()) for i in ids])
    return epoch


def _end(gallery: StoredGallery, epoch: str) -> Version:
    """Commit a fence: a restore that has read objects which are gone now has to start again, and
    finds them missing. Raises _OtherEpoch when one was faster."""

    def mutate(now: Manifest, commit: str) -> Manifest:
        _require_epoch(now, epoch)
        return now.fenced(commit, gallery.now())

    return gallery.commit_as("erase", mutate)


def _require_epoch(manifest: Manifest, epoch: str) -> None:
    if manifest.epoch != epoch:
        raise _OtherEpoch


def _require_known(ids: Collection[int], *known: set[int]) -> None:
    unknown = set(ids).difference(*known)
    if unknown:
        raise UnknownIdentity(f"The gallery holds nothing of the id {min(unknown)}.")


def _rewrite_without(
    contents: Contents, ids: Collection[int], epoch: str
) -> tuple[list[str], int] | None:
    """Commit segments without these people.

    Returns:
        The names of the segments that held them, and the number of rows removed; None: another
        process was faster.

    Raises:
        _OtherEpoch: a restore was faster.
    """
    gallery = contents.gallery
    uploads = Uploads(gallery.objects)

    def attempt(now: Manifest) -> tuple[Manifest, dict[str, list[SegmentRef]], int]:
        uploads.discard()
        return without(contents, uploads, now, ids)

    try:
        manifest, replacements, rows = gallery.file.reading(attempt)
    except ServingError:
        uploads.discard()
        raise
    done = False

    def mutate(now: Manifest, commit: str) -> Manifest | None:
        nonlocal done
        _require_epoch(now, epoch)
        # Another process may have folded them, or swept what was just written.
        listed = {s.name: s for s in manifest.segments if s.name in replacements}
        done = set(listed.values()) <= set(now.segments) and now.fence <= manifest.version
        if not done:
            return None
        segments = tuple(r for s in now.segments for r in replacements.get(s.name, (s,)))
        erased = remembering(now.erased, ids, now.version, gallery.now(), gallery.limits)
        return now.folded(commit, segments, gallery.now()).without(erased)

    try:
        gallery.commit_as("erase", mutate)
    except _OtherEpoch:
        uploads.discard()
        raise
    if not done:
        uploads.discard()
    return (sorted(replacements), rows) if done else None
