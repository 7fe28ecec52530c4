"""Expiry: the people of a collection whose retention has ended, to be erased."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from serving.gallery.gallery import Gallery
from serving.gallery.location import Location, locate
from serving.gallery.snapshot import Person
from serving.gallery.store import Store
from serving.gallery.stored import StoredGallery


def ended(
    store: Store,
    prefix: str,
    collection: str,
    now: float,
    *,
    opened: Callable[[Store, str, Location], Gallery] = Gallery,
) -> Sequence[int]:
    """The ids of the people whose retention has ended at ``now``, in seconds since 1970.

    In the galleries of several models, the record that was changed last counts: a person whose
    retention was prolonged in the served one is kept. Reads only manifests until the first end.

    Raises:
        Unavailable: a gallery cannot be read, so it is not known whose retention has ended.
    """
    locations = list(locate(store, prefix, collection))
    if not any(_may_have_ended(StoredGallery(store, prefix, at), now) for at in locations):
        return []
    galleries = [opened(store, prefix, location).refresh() for location in locations]
    people = [p for g in galleries for p in g.ending(math.floor(now) + 1).list(len(g) or 1)]
    latest: dict[int, Person] = {}
    for gallery in galleries:
        for person in gallery.people({p.id for p in people}).values():
            known = latest.setdefault(person.id, person)
            if (person.updated, -person.end) > (known.updated, -known.end):
                latest[person.id] = person
    return sorted(i for i, person in latest.items() if person.end <= now)


def _may_have_ended(gallery: StoredGallery, now: float) -> bool:
    manifest, _ = gallery.file.read()
    return any(ref.ends is not None and ref.ends <= now for ref in manifest.segments)
