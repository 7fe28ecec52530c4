"""The command faces enroll."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from serving.client import ConflictBody

# Of one request; well under the service's defaults.
_BATCH_PHOTOS = 50


_BATCH_BYTES = 32 * 2**20


def batches(photos: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """The photos in parts that fit into one request."""
    part: list[Path] = []
    size = 0
    for photo in photos:
        bytes_ = photo.stat().st_size
        if part and (len(part) == _BATCH_PHOTOS or size + bytes_ > _BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(photo)
        size += bytes_
    if part:
        yield part


def conflict_lines(photos: Sequence[Path], conflicts: Sequence[ConflictBody]) -> list[str]:
    """A sentence for each photo that speaks against the enrolment of ``photos``."""
    lines = []
    for conflict in conflicts:
        similarity = f"similarity {conflict['similarity']:.2f}"
        told = f"seems to show somebody else than the other photos of this person ({similarity})"
        if conflict["type"] == "already-enrolled":
            name = f" ({conflict['name']})" if conflict["name"] else ""
            told = (
                f"shows somebody who is enrolled already, as {conflict['id']}{name}: {similarity}"
            )
        lines += [f"{photos[n]}: {told}" for n in conflict["images"]]
    return lines
