"""Locations: the galleries in the bucket of the settings, by collection and model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from serving.errors import GalleryCorrupt, InvalidInput, Unavailable
from serving.gallery.formats import read_json
from serving.gallery.manifest import Manifest
from serving.gallery.observer import NOBODY, Observer
from serving.gallery.s3 import Connect, connect
from serving.gallery.store import NotFound, Store, check_conditional_writes
from serving.settings import GallerySettings, is_collection

_MANIFEST = "/manifest.json"


@dataclass(frozen=True)
class Location:
    """One gallery in the bucket: its collection and model, and the dimension of its embeddings."""

    collection: str
    model: str
    dimension: int

    def __str__(self) -> str:
        return f"{self.collection}/{self.model}"


def open_store(
    settings: GallerySettings,
    observer: Observer = NOBODY,
    *,
    credentials: Mapping[str, str] | None = None,
    connect: Connect = connect,
) -> Store:
    """Open the bucket of the settings, and check that it has conditional writes.

    Args:
        credentials: see `serving.gallery.s3.connect`.

    Raises:
        StoreUnfit: the bucket cannot hold a gallery.
        Unavailable: it cannot be reached.
    """
    store = connect(settings, observer, credentials=credentials)
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
        failed: called for each gallery whose manifest cannot be read, which is then left out.

    Raises:
        Unavailable: a manifest cannot be read, and ``failed`` is None; GalleryCorrupt when it is
            damaged.
    """
    for its_collection, its_model in list(names(store, prefix, collection, model)):
        try:
            dimension = _dimension(store, f"{prefix}/{its_collection}/{its_model}{_MANIFEST}")
        except NotFound:
            continue
        except Unavailable as error:
            if failed is None:
                raise
            failed(f"{its_collection}/{its_model}", error)
        else:
            yield Location(its_collection, its_model, dimension)


def names(
    store: Store, prefix: str, collection: str | None = None, model: str | None = None
) -> Iterator[tuple[str, str]]:
    """The collection and the model of each gallery, from the keys alone: a damaged gallery is
    listed, too, and one that was copied is where it lies."""
    folder = f"{prefix}/" if collection is None else f"{prefix}/{collection}/"
    for entry in store.list(folder):
        if entry.key.endswith(_MANIFEST):
            name = entry.key[len(prefix) + 1 : -len(_MANIFEST)]
            its_collection, _, its_model = name.partition("/")
            # Something else may lie in the bucket; no request can name it.
            possible = is_collection(its_collection) and its_model and "/" not in its_model
            if possible and model in (None, its_model):
                yield its_collection, its_model


def location_of(manifest: bytes, collection: str, name: str) -> Location:
    """The location of the gallery of this manifest, in a collection.

    Raises:
        InvalidInput: it is no manifest; ``name`` is what the error calls it.
    """
    try:
        read = read_json(name, manifest, Manifest)
    except GalleryCorrupt as error:
        raise InvalidInput(f"{name} is no manifest of a gallery.") from error
    return Location(collection, read.model, read.dimension)


def _dimension(store: Store, manifest: str) -> int:
    return read_json(manifest, store.get(manifest).data, Manifest).dimension
