"""Faults of the photos themselves, which look like errors of recognition, or hide them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serving.evaluation.sample import Sample
from serving.evaluation.verification import Pairs

# Above it two photos are hardly of two people: one photo, saved twice.
ALIKE = 0.98
_READ = 1 << 20


@dataclass(frozen=True)
class DataFaults:
    """Counts; the photos stay in the measurement as they are.

    Attributes:
        in_two_people: files whose bytes are also in another person's folder.
        repeated: files that repeat one of the same person.
        alike: pairs of photos of two people, of other bytes, whose cosine is above `ALIKE`.
        one_photo: people with a single photo: they are only ever looked up as unknown.
        unknown_in_groups: rows of the groups' file that name nobody of the sample.
        details: sentences with the files' names, for the operator; not part of a report unless
            names were asked for.
    """

    in_two_people: int
    repeated: int
    alike: int
    one_photo: int
    unknown_in_groups: int = 0
    details: Sequence[str] = field(default=(), repr=False)


def data_faults(sample: Sample, pairs: Pairs, unknown_in_groups: int = 0) -> DataFaults:
    """Look for the faults; reads the files of equal size, and passes over those that are gone."""

    def name(photo: int) -> str:
        return f"{sample.name_of(int(sample.person[photo]))}/{sample.photos[photo].name}"

    shared, repeated, details = set(), 0, []
    same: dict[int, int] = {}
    for number, photos in enumerate(_equal(sample.photos)):
        same.update(dict.fromkeys(photos, number))
        people = {int(sample.person[photo]) for photo in photos}
        repeated += len(photos) - len(people)
        if len(people) > 1:
            shared.update(photos)
            details.append(f"The same file in the folders of {len(people)} people: "
                           f"{', '.join(map(name, photos))}.")  # fmt: skip
        else:
            details.append(f"The same file more than once: {', '.join(map(name, photos))}.")
    alike = 0
    for place in np.flatnonzero(pairs.impostor_scores >= ALIKE):
        a, b = pairs.impostor[place].tolist()
        if a not in same or same[a] != same.get(b):
            alike += 1
            details.append(
                f"Nearly the same photo of two people ({pairs.impostor_scores[place]:.3f}): "
                f"{name(a)}, {name(b)}."
            )
    counts = np.bincount(sample.person, minlength=len(sample.ids))
    return DataFaults(
        in_two_people=len(shared),
        repeated=repeated,
        alike=alike,
        one_photo=int((counts == 1).sum()),
        unknown_in_groups=unknown_in_groups,
        details=tuple(details),
    )


def _equal(photos: Sequence[Path]) -> list[list[int]]:
    """The places of files with the same bytes, for each that there is more than once."""
    sizes: dict[int, list[int]] = defaultdict(list)
    for place, path in enumerate(photos):
        try:
            sizes[path.stat().st_size].append(place)
        except OSError:
            continue
    digests: dict[bytes, list[int]] = defaultdict(list)
    for places in sizes.values():
        for place in places if len(places) > 1 else ():
            try:
                with photos[place].open("rb") as file:
                    digest = hashlib.sha256()
                    while part := file.read(_READ):
                        digest.update(part)
            except OSError:
                continue
            digests[digest.digest()].append(place)
    return sorted(places for places in digests.values() if len(places) > 1)
