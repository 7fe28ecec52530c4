"""Conflicts of an enrolment: photos of somebody else, and people who are enrolled already.

Two checks with two thresholds. Whether a photo shows the same person as the other photos is a
comparison of two (1:1), so it has the threshold of `/verify`. Whether a person in the gallery looks
like a photo is a comparison with all of them (1:N), so it has the threshold at which `/infer` would
give the photo that name: it reports the people who would be confused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.errors import Unavailable
from serving.gallery import Kind, Operation, Snapshot
from serving.matching.records import Conflict, ConflictKind, Enrolment
from serving.matching.threshold import threshold_of
from serving.model.card import ModelCard
from serving.settings import MatchSettings

Vectors = NDArray[np.float32]

# The person may be the nearest, and may be enrolled under several other ids.
_NEAREST = 4


class Conflicting(Exception):
    """An enrolment that is refused; ``conflicts`` says why."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        super().__init__(f"{len(conflicts)} conflicts")
        self.conflicts = tuple(conflicts)


def before(
    people: Snapshot,
    earlier: Sequence[Operation],
    person: Enrolment,
    matching: MatchSettings,
) -> tuple[Conflict, ...]:
    """Conflicts of an enrolment that is not committed yet.

    Args:
        people: the gallery without it.
        earlier: operations that will be committed before it; ``people`` lacks them, too.
    """
    return (
        *_strangers(person.embeddings, people.sum_of(person.id), person.card, matching),
        *_enrolled(people, earlier, person, matching),
    )


def after(
    people: Snapshot,
    known: Snapshot,
    person: Enrolment,
    matching: MatchSettings,
) -> tuple[Conflict, ...]:
    """Conflicts of an enrolment that is committed.

    Args:
        people: the snapshot after the commit, with everything that others wrote before it.
        known: the snapshot from before the commit; it still has the photos that a replace removes.
    """
    own = known.sum_of(person.id)
    if person.append and (whole := people.sum_of(person.id)) is not None:
        own = whole[0] - person.embeddings.sum(axis=0), whole[1] - len(person.embeddings)
    return (
        *_strangers(person.embeddings, own, person.card, matching),
        *_enrolled(people, (), person, matching),
    )


def _strangers(
    photos: Vectors, own: tuple[Vectors, int] | None, card: ModelCard, matching: MatchSettings
) -> list[Conflict]:
    """Photos that show another person than the enrolled photos, or than the rest of the photos.

    Args:
        photos: float32 (P, D), unit length.
        own: the sum of the person's enrolled embeddings, float32 (D,), and their number; or None.
    """
    threshold = matching.verify_threshold
    if threshold is None:
        threshold = card.pairs.threshold
    strangers: dict[int, float] = {}
    if own is not None and own[1] > 0:
        cosines = photos @ (own[0] / _length(own[0]))
        strangers = {n: float(c) for n, c in enumerate(cosines) if c < threshold}
    left = [n for n in range(len(photos)) if n not in strangers]
    # Removes the photo that is least like the others first, so that it does not distort their sum.
    while len(left) > 1:
        others = photos[left].sum(axis=0) - photos[left]
        cosines = (photos[left] * others).sum(axis=1) / _length(others)
        worst = int(cosines.argmin())
        if cosines[worst] >= threshold:
            break
        strangers[left[worst]] = float(cosines[worst])
        if len(left) == 2:  # either may be the wrong one
            strangers[left[1 - worst]] = float(cosines[1 - worst])
            break
        del left[worst]
    return [_stranger(photo, strangers[photo], card) for photo in sorted(strangers)]


def _length(vectors: Vectors) -> Vectors:
    length: Vectors = np.maximum(np.linalg.norm(vectors, axis=-1), 1e-6)
    return length


def _stranger(photo: int, similarity: float, card: ModelCard) -> Conflict:
    confidence = card.pairs.calibration.probability(similarity)
    return Conflict(ConflictKind.OTHER_PERSON, (photo,), similarity, confidence)


def _enrolled(
    people: Snapshot,
    earlier: Sequence[Operation],
    person: Enrolment,
    matching: MatchSettings,
) -> list[Conflict]:
    """Other enrolled people who would be named for a photo, the most similar first; but for those
    who are known to be others, below the threshold of the pair."""
    card = person.card
    threshold = _naming_threshold(matching, card, len(people))
    known = people.distinct.of(person.id)
    seen: dict[int, tuple[str | None, dict[int, float]]] = {}

    def note(photo: int, other: int, name: str | None, similarity: float) -> None:
        if other != person.id and similarity >= max(threshold, known.get(other, -1.0)):
            seen.setdefault(other, (name, {}))[1][photo] = similarity

    hits = people.search(person.embeddings, _NEAREST)
    for photo in range(len(person.embeddings)):
        for other, similarity, name in zip(
            hits.ids[photo].tolist(),
            hits.similarities[photo].tolist(),
            hits.names[photo],
            strict=True,
        ):
            note(photo, other, name, similarity)
    for operation in earlier:
        if operation.kind in (Kind.PUT, Kind.APPEND) and operation.embeddings is not None:
            total = operation.embeddings.sum(axis=0)
            centroid = total / _length(total)
            for photo, similarity in enumerate((person.embeddings @ centroid).tolist()):
                note(photo, operation.id, operation.details.get("name"), similarity)
    conflicts = []
    for other, (name, photos) in seen.items():
        best = max(photos.values())
        confidence = card.confidence(best, len(people))
        kind = ConflictKind.ALREADY_ENROLLED
        conflicts.append(Conflict(kind, tuple(photos), best, confidence, other, name))
    return sorted(conflicts, key=lambda c: -c.similarity)


def _naming_threshold(matching: MatchSettings, card: ModelCard, people: int) -> float:
    try:
        return threshold_of(None, matching, card, people)
    except Unavailable:  # `/infer` names no face then, but a hint is better than none
        return card.threshold
