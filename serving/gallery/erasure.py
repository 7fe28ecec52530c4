"""Erasing people from every object of a collection."""

from __future__ import annotations

from collections.abc import Collection

from serving.errors import UnknownIdentity
from serving.gallery.compaction import Maintenance, Receipt
from serving.gallery.location import locate
from serving.gallery.observer import NOBODY, Observer
from serving.gallery.s3 import connect
from serving.settings import GallerySettings


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
