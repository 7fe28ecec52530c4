"""Corrections: photos of some people become those of others, in one commit.

A correction reads the people whom it concerns, with every embedding, and writes those that change:
each is split (see `serving.gallery.segment.Kind`) and put again. So a reader needs no other
operation, and an erasure finds the photos under everybody who ever had them.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from serving.errors import UnknownIdentity, UnknownPhoto
from serving.gallery.distinct import Distinct
from serving.gallery.records import Record, Records, holding, photo_id, telling
from serving.gallery.retention import end_of, text_of
from serving.gallery.segment import Kind, Operation, Segment


def moved(before: Records, source: int, target: int, photos: Sequence[str], now: float) -> Records:
    """The photos of ``source`` with these ids as those of ``target``, who is enrolled if need be.

    A person without photos is gone. Somebody new is kept no longer than the photos were.

    Args:
        photos: see `serving.gallery.records.Photo`; each once.

    Raises:
        UnknownIdentity: ``source`` is not enrolled.
        UnknownPhoto: ``source`` has no such photo.
    """
    record = before.get(source)
    if record is None:
        raise UnknownIdentity(f"Nobody is enrolled under the id {source}.")
    places = holding(record, _counted(record, source, photos))
    kept = np.delete(record.embeddings, places, axis=0)
    other = before.get(target) or Record(record.embeddings[:0], _end_of(record), now, now)
    together = np.concatenate([other.embeddings, record.embeddings[places]])
    after = {
        **before,
        source: dataclasses.replace(record, embeddings=kept, updated=now),
        target: dataclasses.replace(other, embeddings=together, updated=now),
    }
    return {person: each for person, each in after.items() if len(each.embeddings)}


def without_photos(before: Records, person: int, photos: Sequence[str], now: float) -> Records:
    """The person without the photos with these ids; without any photo the person is gone.

    Args:
        photos: as in `moved`; of equal ones one goes.

    Raises:
        UnknownIdentity: the person is not enrolled.
        UnknownPhoto: the person has no such photo.
    """
    record = before.get(person)
    if record is None:
        raise UnknownIdentity(f"Nobody is enrolled under the id {person}.")
    places = holding(record, _counted(record, person, photos))
    kept = np.delete(record.embeddings, places, axis=0)
    after = {**before, person: dataclasses.replace(record, embeddings=kept, updated=now)}
    return {i: each for i, each in after.items() if len(each.embeddings)}


def _counted(record: Record, person: int, photos: Sequence[str]) -> Counter[bytes]:
    """The rows of the photos. Raises UnknownPhoto."""
    rows = {photo_id(row): row for row in record.rows}
    if unknown := [photo for photo in photos if photo not in rows]:
        raise UnknownPhoto(f"{person} has no photo {unknown[0]}; it may have been moved already.")
    return Counter(rows[photo] for photo in photos)


def segment_of(before: Records, after: Records, dimension: int, now: float) -> Segment | None:
    """What turns the people of ``before`` into those of ``after``; None: nothing changes."""
    changed = [i for i in sorted({*before, *after}) if before.get(i) is not after.get(i)]
    splits: list[Operation] = []
    puts: list[Operation] = []
    for person in changed:
        old, new = before.get(person), after.get(person)
        if old and new and (added := _added(old, new)):
            rows = new.embeddings[-added:].astype(np.float32)
            puts.append(Operation(Kind.APPEND, person, now, rows))
            continue
        if old:
            heirs = [i for i in changed if i != person and i in after and _share(old, after[i])]
            splits.append(Operation(Kind.SPLIT, person, now, sources=heirs))
        if new:
            details = dict(new.details)
            rows = new.embeddings.astype(np.float32)
            puts.append(Operation(Kind.PUT, person, now, rows, details=details))
    if not changed:
        return None
    pairs = _pairs(after, {o.id for o in (*splits, *puts) if o.kind is not Kind.APPEND}, now)
    segment = Segment.of([*splits, *puts, *pairs], dimension)
    # Whoever is put again keeps the time of enrolment.
    people = [after[o.id] for o in puts]
    before_puts, after_puts = [now] * len(splits), [now] * len(pairs)
    created = [*before_puts, *(person.created for person in people), *after_puts]
    updated = [*before_puts, *(person.updated for person in people), *after_puts]
    return dataclasses.replace(
        segment, created=np.array(created, np.float64), updated=np.array(updated, np.float64)
    )


def _pairs(after: Records, put: Collection[int], now: float) -> list[Operation]:
    """The pairs of those who are put again, which have gone with them."""
    distinct = Distinct()
    for person in sorted(after):
        for other, threshold in after[person].distinct.items():
            if person in put or other in put:
                distinct.set(person, other, threshold)
    return [telling(*pair, now) for pair in distinct.pairs()]


def _end_of(record: Record) -> dict[str, str]:
    end = end_of(record.details)
    return {} if end == math.inf else {"expires_at": text_of(end)}


def _added(old: Record, new: Record) -> int:
    """The number of photos, if all that has changed is that these were added."""
    added = len(new.embeddings) - len(old.embeddings)
    same = (old.rows, old.details, old.distinct) == (
        new.rows[: len(old.embeddings)],
        new.details,
        new.distinct,
    )
    return added if same else 0


def _share(old: Record, new: Record) -> bool:
    return not set(old.rows).isdisjoint(new.rows)
