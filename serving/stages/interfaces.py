"""The methods of each stage, as its callers see them: Protocols.

The pipeline takes these, so that mypy checks its calls. `serving.app` checks the deployments
against them, and `serving.stages.remote` calls them through Ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serving.gallery import Operation
from serving.gallery.erasure import Erasure
from serving.gallery.location import Location
from serving.matching.corrections import Move, PhotosOf, Tell, Undo, Undone
from serving.matching.faces import Alike, FacesPage, Removal
from serving.matching.records import (
    DuplicatesPage,
    Enrolled,
    Enrolment,
    GalleryStatus,
    Matches,
    PeoplePage,
    Refused,
)
from serving.matching.subjects import Renamed
from serving.model.card import ModelCard
from serving.stages.refs import Ref
from serving.vision.align import Alignment
from serving.vision.records import Faces, Photo
from serving.vision.surroundings import Surroundings


class Decode(Protocol):
    async def ready(self) -> None:
        """Return as soon as the replica is up."""

    async def decode(self, data: Ref[bytes]) -> Ref[Photo]:
        """Decode the bytes of an image file.

        Raises:
            UnsupportedImage, TooLarge: see `serving.vision.decode.decode`.
        """


class Detect(Protocol):
    async def ready(self) -> None:
        """Return as soon as the replica is up."""

    async def detect(
        self,
        photo: Ref[Photo],
        most: int,
        alignment: Alignment | None,
        surroundings: Surroundings | None = None,
    ) -> Ref[Faces] | None:
        """Find the faces of a photo, largest first, ``most`` at most, with crops as the model takes
        them; see `serving.vision.align`. With ``surroundings`` also with crops of that kind. None:
        it shows a crowd, so that it would hold up others; ask `detect_crowd`."""

    async def detect_crowd(
        self,
        photo: Ref[Photo],
        most: int,
        alignment: Alignment | None,
        surroundings: Surroundings | None = None,
    ) -> Ref[Faces]:
        """As `detect`, of any photo, but one crowd at a time and beside other photos. Few callers
        should wait for it at once: each holds a place of the stage."""


class Match(Protocol):
    """Searching and changing the galleries.

    ``location`` is a gallery of the model that made the embeddings. ``at_least`` is the version
    that the answer has to contain; None: the store could not be asked, so memory has to do.
    """

    async def identify(
        self,
        location: Location,
        probes: NDArray[np.float32],
        top_k: int,
        at_least: int | None,
    ) -> Ref[Matches]:
        """The candidates of each probe, float32 (F, D)."""

    async def enrol(self, location: Location, enrolment: Enrolment) -> Enrolled | Refused:
        """Write one person's embeddings; see `serving.matching.enrolment.enrol`."""

    async def duplicates(
        self,
        location: Location,
        card: ModelCard,
        threshold: float | None,
        limit: int,
        after: int,
        at_least: int | None,
    ) -> Ref[DuplicatesPage]:
        """Likely duplicates; see `serving.matching.duplicates.compare_people`."""

    async def people(
        self,
        location: Location,
        limit: int,
        after: int,
        at_least: int | None,
        ending: float | None = None,
    ) -> PeoplePage:
        """At most ``limit`` people whose ids are past ``after``, in the order of their ids; also
        those whose retention has ended. With ``ending`` only those whose retention ends before
        then, in seconds since 1970."""

    async def change(
        self,
        location: Location,
        operations: Sequence[Operation],
        require: Sequence[int],
        default_end: str | None = None,
    ) -> int:
        """Commit operations and return the version; see `serving.gallery.Gallery.commit`.

        Args:
            default_end: an ``expires_at`` for the person of the only operation, an enrolment, who
                has none; None: there is no such default.
        """

    async def photos(self, location: Location, person: int) -> PhotosOf:
        """A person's photos, as the bucket has them now."""

    async def move(self, location: Location, move: Move) -> int:
        """Commit a correction and return the version; see `serving.matching.corrections`."""

    async def undo(self, location: Location, undo: Undo) -> Undone:
        """Commit people as they were before a change; see `serving.matching.corrections`."""

    async def tell(self, location: Location, tell: Tell) -> int:
        """Commit who is not whom and return the version; see `serving.matching.corrections`."""

    async def named(self, location: Location, subject: str) -> PeoplePage:
        """Whom a subject means, as the bucket has them now; see `serving.matching.subjects`."""

    async def rename(self, location: Location, subject: str, new: str) -> Renamed:
        """Commit another name of a subject; see `serving.matching.subjects.rename`."""

    async def faces(
        self, location: Location, subject: str | None, first: int, limit: int
    ) -> FacesPage:
        """Enrolled photos from the place ``first`` on; see `serving.matching.faces.page`."""

    async def remove(self, location: Location, removal: Removal) -> int:
        """Commit the removal of photos and return the version; see `serving.matching.faces`."""

    async def alike(
        self, location: Location, person: int, photo: str, probes: NDArray[np.float32]
    ) -> Alike:
        """How alike faces are to an enrolled photo; see `serving.matching.faces.alike`."""

    async def erase(self, collection: str, person: int) -> Erasure:
        """Remove a person's embeddings from the bucket, those of all models."""

    async def collections(self) -> list[tuple[str, str]]:
        """The collection and the model of each gallery in the bucket."""

    async def status(self, location: Location) -> GalleryStatus:
        """What one replica holds of the gallery, after it has looked for a newer version."""
