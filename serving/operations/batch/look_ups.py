"""The job of `faces batch`: every photo below a prefix is looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from serving.errors import InvalidInput
from serving.gallery.store import Entry
from serving.operations.batch.formats import JSON_LINES, Format, Line, format_named
from serving.operations.batch.job import Job, Place
from serving.operations.batch.photos import Photos
from serving.operations.batch.reading import Reader, Refused
from serving.operations.batch.tally import LookUpTally

# From the bytes of a photo to the service's answer. Raises Refused when it is the photo's fault;
# every other error ends the run.
LookUp = Callable[[bytes], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class LookUpJob(Job):
    """See `Job`.

    Attributes:
        top_k, threshold, max_faces: of ``/infer``; None: the service's default.
        part_photos: lines of one part.
        format: of the parts; see `serving.operations.batch.formats`.
    """

    kind: ClassVar[str] = "infer"
    top_k: int | None = None
    threshold: float | None = None
    max_faces: int | None = None
    part_photos: int
    format: str = JSON_LINES


class LookUps:
    """The task of such a job; see `serving.operations.batch.run.Task`.

    Args:
        look_up: asks the service; called in several threads.

    Raises:
        InvalidInput: the format needs a package that is not installed.
    """

    tally = LookUpTally

    def __init__(self, job: LookUpJob, source: Place, look_up: LookUp) -> None:
        self.job = job
        self.part_lines = job.part_photos
        self.format: Format = format_named(job.format, "photo")
        self._source = source
        self._look_up = look_up
        self._reader = Reader(source, job.max_bytes)

    def check(self) -> None:
        photos = self._photos()
        if next(iter(photos), None) is None:
            others = f"; {photos.passed_over} objects there are none" if photos.passed_over else ""
            raise InvalidInput(f"There are no photos below {self._source.folder}{others}.")

    def items(self, after: str) -> Iterator[tuple[int, Entry | None]]:
        photos = self._photos(after)
        for photo in photos:
            yield photo.passed_over, photo.entry
        yield photos.passed_over, None

    def line(self, item: Entry) -> Line:
        etag = item.etag
        try:
            photo = self._reader.read(item)
            etag = photo.etag
            outcome = self._look_up(photo.data)
        except Refused as refused:
            outcome = {"error": refused.body}
        return {"photo": item.key, "etag": etag.strip('"'), **outcome}

    def _photos(self, after: str = "") -> Photos:
        return Photos(self._source.store, self._source.folder.prefix, after)
