"""The stages behind Ray Serve: each Protocol of `serving.stages.interfaces` over a handle.

Every call of a deployment is here, and with it the choice between `call`, `fetch`, `make` and
`write`.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from ray.serve.handle import DeploymentHandle

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
from serving.stages.calls import call, fetch, make, write
from serving.stages.refs import Ref
from serving.vision.align import Alignment
from serving.vision.records import Faces, Photo
from serving.vision.surroundings import Surroundings

T = TypeVar("T")

Handle: TypeAlias = DeploymentHandle
# What an ``async def`` returns; the functions below return the one of `call` as it is.
Answer = Coroutine[Any, Any, T]


class RemoteDecode:
    """A `serving.stages.interfaces.Decode`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def ready(self) -> Answer[None]:
        return call(self._handle.ready)

    def decode(self, data: Ref[bytes]) -> Answer[Ref[Photo]]:
        return make(self._handle.decode, data)


class RemoteDetect:
    """A `serving.stages.interfaces.Detect`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def ready(self) -> Answer[None]:
        return call(self._handle.ready)

    def detect(
        self,
        photo: Ref[Photo],
        most: int,
        alignment: Alignment | None,
        surroundings: Surroundings | None = None,
    ) -> Answer[Ref[Faces] | None]:
        return call(self._handle.detect, photo, most, alignment, surroundings)

    def detect_crowd(
        self,
        photo: Ref[Photo],
        most: int,
        alignment: Alignment | None,
        surroundings: Surroundings | None = None,
    ) -> Answer[Ref[Faces]]:
        # Their crops are rarely small.
        return fetch(self._handle.detect_crowd, photo, most, alignment, surroundings)


class RemoteMatch:
    """A `serving.stages.interfaces.Match`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def identify(
        self,
        location: Location,
        probes: NDArray[np.float32],
        top_k: int,
        at_least: int | None,
    ) -> Answer[Ref[Matches]]:
        return call(self._handle.identify, location, probes, top_k, at_least)

    def enrol(self, location: Location, enrolment: Enrolment) -> Answer[Enrolled | Refused]:
        return write(self._handle.enrol, location, enrolment)

    def duplicates(
        self,
        location: Location,
        card: ModelCard,
        threshold: float | None,
        limit: int,
        after: int,
        at_least: int | None,
    ) -> Answer[Ref[DuplicatesPage]]:
        return fetch(self._handle.duplicates, location, card, threshold, limit, after, at_least)

    def people(
        self,
        location: Location,
        limit: int,
        after: int,
        at_least: int | None,
        ending: float | None = None,
    ) -> Answer[PeoplePage]:
        return call(self._handle.people, location, limit, after, at_least, ending)

    def change(
        self,
        location: Location,
        operations: Sequence[Operation],
        require: Sequence[int],
        default_end: str | None = None,
    ) -> Answer[int]:
        return write(self._handle.change, location, operations, require, default_end)

    def photos(self, location: Location, person: int) -> Answer[PhotosOf]:
        return call(self._handle.photos, location, person)

    def move(self, location: Location, move: Move) -> Answer[int]:
        return write(self._handle.move, location, move)

    def undo(self, location: Location, undo: Undo) -> Answer[Undone]:
        return write(self._handle.undo, location, undo)

    def tell(self, location: Location, tell: Tell) -> Answer[int]:
        return write(self._handle.tell, location, tell)

    def named(self, location: Location, subject: str) -> Answer[PeoplePage]:
        return call(self._handle.named, location, subject)

    def rename(self, location: Location, subject: str, new: str) -> Answer[Renamed]:
        return write(self._handle.rename, location, subject, new)

    def faces(
        self, location: Location, subject: str | None, first: int, limit: int
    ) -> Answer[FacesPage]:
        return call(self._handle.faces, location, subject, first, limit)

    def remove(self, location: Location, removal: Removal) -> Answer[int]:
        return write(self._handle.remove, location, removal)

    def alike(
        self, location: Location, person: int, photo: str, probes: NDArray[np.float32]
    ) -> Answer[Alike]:
        return call(self._handle.alike, location, person, photo, probes)

    def erase(self, collection: str, person: int) -> Answer[Erasure]:
        return write(self._handle.erase, collection, person)

    def collections(self) -> Answer[list[tuple[str, str]]]:
        return call(self._handle.collections)

    def status(self, location: Location) -> Answer[GalleryStatus]:
        return call(self._handle.status, location)
