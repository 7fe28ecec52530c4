"""Enrols a person's photos in requests of a bounded size; `faces enroll` for folders and buckets.

The service does not look whether it has a photo already: what is appended twice counts twice. So
the first request that has a usable photo replaces what was enrolled, and the later ones append;
a person who is begun again, from the first photo on, ends with each photo once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

# Limits of one request, well under the service's defaults.
BATCH_PHOTOS = 50
BATCH_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Photo:
    """A photo to send.

    Attributes:
        name: for messages: its path or key.
        content: the file that holds it, or the bytes of that.
        size: bytes.
    """

    name: str
    content: Path | bytes
    size: int


Answer: TypeAlias = Mapping[str, Any]  # of ``/generate``
# From photos, and whether they are appended, to the service's answer. Raises NoneUsable; every
# other error ends the person's enrolment.
Send = Callable[[Sequence[Photo], bool], Answer]


class NoneUsable(Exception):
    """No photo of a request shows a usable face, so nothing was written."""


class ChangedMeanwhile(Exception):
    """Somebody else enrols the person at the same time; a sentence."""


@dataclass(frozen=True)
class Enrolled:
    """A person whose photos were sent.

    Attributes:
        answer: the last one.
        refused: the last request without a usable photo; None: each had one.
    """

    answer: Answer
    refused: NoneUsable | None


def batches(photos: Iterable[Photo]) -> Iterator[Sequence[Photo]]:
    """Divide the photos into parts that fit into one request."""
    part: list[Photo] = []
    size = 0
    for photo in photos:
        if part and (len(part) == BATCH_PHOTOS or size + photo.size > BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(photo)
        size += photo.size
    if part:
        yield part


def enrol(parts: Iterable[Sequence[Photo]], send: Send, *, append: bool) -> Enrolled | None:
    """Enrol a person; None: there are no photos.

    Args:
        append: the first request appends, too.

    Raises:
        NoneUsable: of all requests.
        ChangedMeanwhile: the person has photos that were not sent here, or lacks some; begin again.
    """
    answer: Answer | None = None
    refused: NoneUsable | None = None
    used = 0
    for photos in parts:
        try:
            answer = send(photos, append or answer is not None)
        except NoneUsable as error:
            refused = error
            continue
        used += sum(bool(report["used"]) for report in answer["images"])
        # An older run that was killed may still have had a request under way.
        if not append and answer.get("photos") not in (None, used):
            raise ChangedMeanwhile(
                f"{answer['photos']} photos are enrolled, and {used} of them were sent: somebody "
                "else enrols this person at the same time."
            )
    if answer is not None:
        return Enrolled(answer, refused)
    if refused is not None:
        raise refused
    return None
