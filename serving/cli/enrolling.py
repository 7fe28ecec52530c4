"""One request of an enrolment, and what it says of the photos; for folders and for buckets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.client import Client, ClientError
from serving.errors import NoUsableFace
from serving.operations.enrolment import Answer, NoneUsable, Photo

# Called with the photos of a request, the outcome of each, and the conflicts.
Answered = Callable[
    [Sequence[Photo], Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]], None
]


@dataclass(frozen=True)
class Enroller:
    """Sends photos of people to the service.

    Attributes:
        force: also photos that are poor, or of somebody else.
        retention: ``expires_at`` and ``legal_basis``, where they are given.
    """

    service: Client
    force: bool
    retention: Mapping[str, Any]

    def send(
        self,
        person: int,
        name: str | None,
        photos: Sequence[Photo],
        append: bool,
        answered: Answered,
    ) -> Answer:
        """Send one request.

        Args:
            answered: called with the outcome, also when it is refused.

        Raises:
            NoneUsable: no photo shows a usable face.
            ClientError: see `serving.client`.
        """
        try:
            answer = self.service.generate(
                person,
                [photo.content for photo in photos],
                name=name,
                append=append,
                force=self.force,
                **self.retention,
            )
        except ClientError as error:
            answered(photos, error.images, error.conflicts)
            if error.status == NoUsableFace.status:
                raise NoneUsable(str(error)) from error
            raise
        answered(photos, answer["images"], answer.get("conflicts") or ())
        return answer


def conflict_sentence(conflict: Mapping[str, Any]) -> str:
    """What a photo contradicts."""
    similarity = f"similarity {conflict['similarity']:.2f}"
    if conflict["type"] == "already-enrolled":
        name = f" ({conflict['name']})" if conflict["name"] else ""
        return f"shows somebody who is enrolled already, as {conflict['id']}{name}: {similarity}"
    return f"seems to show somebody else than the other photos of this person ({similarity})"
