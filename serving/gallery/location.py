"""From the settings to the galleries in the bucket."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from serving.errors import GalleryCorrupt, Unavailable, UnknownIdentity
from serving.gallery.compaction import Maintenance, Receipt
from serving.gallery.manifest import Manifest
from serving.gallery.observer import NOBODY, Observer
from serving.gallery.s3 import connect
from serving.gallery.store import NotFound, Store, check_conditional_writes
from serving.settings import GallerySettings

_MANIFEST = "/manifest.json"


@dataclass(frozen=True)
class Location:
    """One gallery in the bucket."""

    collection: str
    model: str
    dimension: int

    def __str__(self) -> str:
        return f"{self.collection}/{self.model}"


def open_store(settings: GallerySettings, observer: Observer = NOBODY) -> Store:
    """The bucket of the settings, tried for what a gallery needs.

    Raises:
        StoreUnfit: it cannot hold a gallery.
        Unavailable: it cannot be reached.
    """
    store = connect(settings, observer)
    check_conditional_writes(store, settings.prefix)
    return store


def locate(
    store: Store,
    prefix: str,
    collection: str | None = None,
    model: str | None = None,
    failed: Callable[[str, Unavailable], None] | None = None,
) -> Iterator[Location]:
    """The galleries that exist, of one collection and model or of all.

    Args:
        failed: is told of each gallery whose manifest cannot be read, which is then left out.

    Raises:
        GalleryCorrupt: a manifest cannot be read, and nobody is to be told.
    """
    folder = f"{prefix}/" if collection is None else f"{prefix}/{collection}/"
    for entry in list(store.list(folder)):
        if not entry.key.endswith(_MANIFEST):
            continue
        # By where it lies and not by what it says: somebody may have copied a whole folder.
        found, _, of = entry.key[len(prefix) + 1 : -len(_MANIFEST)].partition("/")
        if model not in (None, of):
            continue
        try:
            dimension = _dimension(store, entry.key)
        except NotFound:
            continue
        except Unavailable as error:
            if failed is None:
                raise
            failed(f"{found}/{of}", error)
        else:
            yield Location(found, of, dimension)


def _dimension(store: Store, manifest: str) -> int:
    try:
        return Manifest.model_validate_json(store.get(manifest).data).dimension
    except ValidationError as error:
        raise GalleryCorrupt(
            f"The manifest {manifest} cannot be read; restore it from a backup."
        ) from error


def erase_everywhere(
    settings: GallerySettings, ids: Collection[int], observer: Observer = NOBODY
) -> list[Receipt]:
    """Erase people from the galleries of all models in the collection; see `Maintenance.erase`.

    Somebody who asks to be forgotten does not mean by one model.

    Raises:
        UnknownIdentity: no gallery holds anything of one of them; nothing was written.
    """
    store = connect(settings, observer)
    places = [
        Maintenance(store, settings.prefix, p.collection, p.model, p.dimension)
        for p in locate(store, settings.prefix, settings.collection)
    ]
    held = [place.held(ids) for place in places]
    unknown = set(ids).difference(*held)
    if unknown:
        raise UnknownIdentity(f"The gallery holds nothing of the id {min(unknown)}.")
    return [place.erase_held(here) for place, here in zip(places, held, strict=True) if here]
