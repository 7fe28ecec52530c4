"""The application with CompreFace's routes on a gallery in memory, and people to move there."""

from __future__ import annotations

import httpx

from serving.gallery import Gallery
from serving.pipeline.reports import NO_FACE, PhotoReport
from tests.support.api import Api
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.stages import faces
from tests.support.subjects import EnrollingPipeline, people_in

PEOPLE: dict[str, list[bytes | None]] = {
    "Ada": [b"photo 1", b"photo 2"],
    "Zoë & Co": [b"photo 3"],
    "Eve": [b"no face", None],
    "Nobody": [],
}


class Target:
    """This service, on a gallery in memory."""

    def __init__(self) -> None:
        self.gallery = open_gallery(MemoryStore())
        self.api = Api(compreface=True)
        self.pipeline = EnrollingPipeline(self.gallery)
        for n in range(1, 4):
            self.pipeline.found[f"photo {n}".encode()] = faces(*[(0, 0, 90, 90)] * 1)
        self.pipeline.reports[b"no face"] = PhotoReport(None, 0, NO_FACE)
        state = self.api.app.state.context.__dict__
        state["pipeline"], state["register"] = self.pipeline, people_in(self.gallery)
        self.url = ""


def over(gallery: Gallery, api: Api) -> Api:
    """The application, on this gallery."""
    api.app.state.context.__dict__["register"] = people_in(gallery)
    return api


def names(gallery: Gallery) -> dict[int, tuple[str | None, int]]:
    return {p.id: (p.name, p.photos) for p in gallery.refresh().list(1000)}


def photos_by_name(gallery: Gallery) -> dict[str | None, int]:
    return {p.name: p.photos for p in gallery.refresh().list(100)}


def told(answer: httpx.Response) -> tuple[int, int]:
    return answer.status_code, answer.json()["code"]
