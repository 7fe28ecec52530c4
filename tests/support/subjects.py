"""A match stage over one gallery in memory, and a pipeline that enrols into it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.gallery import Gallery, Operation
from serving.gallery.location import Location
from serving.gallery.version import Version
from serving.matching import corrections, faces, retention
from serving.matching.corrections import PhotosOf
from serving.matching.faces import Alike, FacesPage, Removal
from serving.matching.records import Enrolled, Enrolment, PeoplePage
from serving.matching.subjects import Renamed, enrol_subject, people_of, rename
from serving.pipeline.freshness import Versions
from serving.pipeline.identities import Identities
from serving.pipeline.reports import EnrolmentReport, NoFaceInAny, PhotoReport
from serving.pipeline.timings import Timings
from serving.settings import MatchSettings
from tests.support.pipeline import FakeEmbedder, FakePipeline
from tests.support.stages import CARD, FakeMatch
from tests.support.stages import faces as made_up


class GalleryMatch(FakeMatch):
    """Answers as `serving.stages.match.Matcher` does, from one gallery."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery

    async def people(
        self,
        location: Location,
        limit: int,
        after: int,
        at_least: int | None,
        ending: float | None = None,
    ) -> PeoplePage:
        people = self.gallery.refresh()
        return PeoplePage(people.list(limit, after), len(people), people.version)

    async def change(
        self,
        location: Location,
        operations: Sequence[Operation],
        require: Sequence[int],
        default_end: str | None = None,
    ) -> int:
        assert default_end is None
        return retention.commit(self.gallery, operations, require)

    async def named(self, location: Location, subject: str) -> PeoplePage:
        people = self.gallery.refresh()
        return PeoplePage(people_of(people, subject), len(people), people.version)

    async def rename(self, location: Location, subject: str, new: str) -> Renamed:
        return rename(self.gallery, subject, new)

    async def faces(
        self, location: Location, subject: str | None, first: int, limit: int
    ) -> FacesPage:
        return faces.page(self.gallery, subject, first, limit)

    async def photos(self, location: Location, person: int) -> PhotosOf:
        return corrections.photos(self.gallery, person)

    async def remove(self, location: Location, removal: Removal) -> int:
        return faces.remove(self.gallery, removal)

    async def alike(
        self, location: Location, person: int, photo: str, probes: NDArray[np.float32]
    ) -> Alike:
        return faces.alike(self.gallery, person, photo, probes)


class Newest(Versions):
    """Whatever the match stage has."""

    def __init__(self) -> None:
        pass

    async def now(self, location: Location) -> Version | None:
        return None


def people_in(gallery: Gallery) -> Identities:
    """The people of this gallery, whatever the collection."""
    return Identities(GalleryMatch(gallery), FakeEmbedder(), Newest())


class EnrollingPipeline(FakePipeline):
    """Enrols what its embedder makes of the crops of `FakePipeline.found`.

    Attributes:
        reports: by photo why it is not used.
    """

    def __init__(self, gallery: Gallery) -> None:
        super().__init__(MatchSettings())
        self.gallery = gallery
        self.reports: dict[bytes, PhotoReport] = {}

    async def enrol(
        self,
        images: Sequence[bytes],
        *,
        collection: str,
        person: int | None,
        name: str | None,
        append: bool,
        force: bool,
        timings: Timings,
        retention: Mapping[str, Any] | None = None,
        only_face: float | None = None,
    ) -> EnrolmentReport:
        assert (person, append, force) == (None, True, False)
        (image,) = images
        self.asked.append({"name": name, "only_face": only_face})
        if image in self.reports:
            raise NoFaceInAny([self.reports[image]])
        found = self.found.get(image, made_up((1, 2, 30, 40)))
        assert not isinstance(found, Exception)
        rows = await self.embedder.embed(found.crops)
        enrolment = Enrolment(-1, rows, CARD, name, by_name=True)
        enrolled = enrol_subject(self.gallery, enrolment, self.matching)
        assert isinstance(enrolled, Enrolled)
        await timings.of("match", asyncio.sleep(0))
        return EnrolmentReport([PhotoReport(found, 1, None)], enrolled, CARD)
