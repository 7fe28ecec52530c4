"""Metrics for Prometheus, exported by Ray on every node, with ``ray_`` before the names and
``_total`` after those of counters. docs/observability.md says what each means.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ray.serve import metrics

from serving import tracing
from serving.gallery import Snapshot
from serving.gallery.location import Location
from serving.matching.records import Candidate

_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
_COUNTS = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]
_COSINES = [0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1]
# What else a caller calls a method must not become a label.
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
# Ray forgets a gauge that nobody has set for 20 s.
_KEEP_SECONDS = 5.0
# Outcomes of requests to the store that are part of its work.
_FINE = ("ok", "unchanged", "not-found", "stale")


def _counter(
    name: str, description: str, labels: Sequence[str] = (), *known: dict[str, str]
) -> metrics.Counter:
    """Begins at 0 for the labels ``known``: Prometheus cannot tell a first 1 from an old one."""
    counter = metrics.Counter(name, description, tuple(labels))
    for tags in known:
        counter._record(0, tags)  # `inc` takes no 0
    return counter


def _seconds(name: str, description: str, *labels: str) -> metrics.Histogram:
    return metrics.Histogram(name, description, _SECONDS, labels)


class ApiMetrics:
    """What an ingress sees: requests, waits, photos and faces."""

    def __init__(self) -> None:
        self._requests = _seconds(
            "faces_request_seconds", "HTTP requests, until the answer.", "method", "route", "status"
        )
        self._problems = _counter(
            "faces_problems", "Requests answered with a problem.", ("route", "type")
        )
        self._stages = _seconds(
            "faces_stage_seconds", "What a request waits for a stage, queueing included.", "stage"
        )
        self._photos = _counter(
            "faces_photos", "Photos by what became of them in decoding and detection.", ("outcome",)
        )
        self._faces = metrics.Histogram("faces_photo_faces", "Faces found in a photo.", _COUNTS)
        self._identified = _counter(
            "faces_identified",
            "Faces that were looked up: known or unknown.",
            ("outcome",),
            {"outcome": "known"},
            {"outcome": "unknown"},
        )
        self._similarity = metrics.Histogram(
            "faces_best_similarity", "Cosine of the best candidate; 0 if negative.", _COSINES
        )
        self._triton = _seconds(
            "faces_triton_request_seconds", "Requests to Triton.", "call", "outcome"
        )
        self._batch = metrics.Histogram("faces_triton_batch", "Faces in one inference.", _COUNTS)

    def answered(
        self, method: str, route: str, status: int, seconds: float, problem: str | None
    ) -> None:
        """A request has ended. ``route`` is the template of its path."""
        method = method if method in _METHODS else "OTHER"
        tags = {"method": method, "route": route, "status": str(status)}
        self._requests.observe(seconds, tags)
        if problem is not None:
            self._problems.inc(1, {"route": route, "type": problem})

    def waited(self, stage: str, seconds: float) -> None:
        """See `serving.pipeline.pipeline.Timings`."""
        self._stages.observe(seconds, {"stage": stage})

    def seen(self, outcome: str, faces: int) -> None:
        """See `serving.pipeline.pipeline.Pipeline`."""
        self._photos.inc(1, {"outcome": outcome})
        if outcome in ("faces", "no-face"):
            self._faces.observe(faces)

    def identified(
        self, candidates: Sequence[Sequence[Candidate]], named: Sequence[Candidate | None]
    ) -> None:
        """The faces of a photo were looked up.

        Args:
            candidates: those of each face, best first.
            named: for each face the one that the answer names, or None.
        """
        known = sum(candidate is not None for candidate in named)
        for outcome, count in (("known", known), ("unknown", len(named) - known)):
            if count:
                self._identified.inc(count, {"outcome": outcome})
        for of_face in candidates:
            if of_face:
                self._similarity.observe(max(0.0, of_face[0].similarity))

    def asked_triton(self, call: str, outcome: str, seconds: float, batch: int) -> None:
        """See `serving.model.embedder.Embedder`."""
        self._triton.observe(seconds, {"call": call, "outcome": outcome})
        if batch:
            self._batch.observe(batch)


class StoreMetrics:
    """What a gallery does; a `serving.gallery.observer.Observer`."""

    def __init__(self) -> None:
        self._requests = _seconds(
            "faces_s3_request_seconds", "Requests to the object store.", "operation", "outcome"
        )
        self._refreshes = _seconds(
            "faces_gallery_refresh_seconds", "Looks for news of the gallery.", "outcome"
        )
        self._commits = _seconds("faces_commit_seconds", "Commits, lost races and all.", "outcome")
        self._conflicts = _counter(
            "faces_commit_conflicts",
            "Commits that began anew since another process was faster.",
            (),
            {},
        )
        self._joined = _counter(
            "faces_commit_joined", "Writes that were committed with another one.", (), {}
        )

    def requested(self, operation: str, outcome: str, seconds: float) -> None:
        self._requests.observe(seconds, {"operation": operation, "outcome": outcome})
        failed = outcome not in _FINE
        tracing.ended(f"s3 {operation}", seconds, failed=failed, outcome=outcome)

    def refreshed(self, outcome: str, seconds: float) -> None:
        self._refreshes.observe(seconds, {"outcome": outcome})

    def conflicted(self) -> None:
        self._conflicts.inc()

    def committed(self, outcome: str, callers: int, seconds: float) -> None:
        self._commits.observe(seconds, {"outcome": outcome})
        if callers > 1:
            self._joined.inc(callers - 1)


class GalleryGauges:
    """What one matcher holds."""

    def __init__(self) -> None:
        def gauge(name: str, description: str) -> metrics.Gauge:
            return metrics.Gauge(name, description=description, tag_keys=("collection", "model"))

        self._version = gauge("faces_gallery_version", "The gallery's version that is served.")
        self._people = gauge("faces_gallery_people", "People in the gallery that is served.")
        self._photos = gauge("faces_gallery_photos", "Photos that they were enrolled from.")
        self._bytes = gauge("faces_gallery_bytes", "Memory that they take.")
        self._problem = gauge(
            "faces_gallery_problem", "1 while the gallery cannot be read: what was read is served."
        )
        self._confirmed = gauge(
            "faces_gallery_confirmed_timestamp_seconds",
            "When the gallery was last known to be that of the store, seconds since 1970.",
        )
        self._unconfirmed = _counter(
            "faces_gallery_unconfirmed",
            "Searches in what was in memory, since the store could not be asked.",
            (),
            {},
        )
        self._shown: dict[Location, int] = {}
        self._told: dict[tuple[metrics.Gauge, Location], float] = {}

    def show(self, where: Location, snapshot: Snapshot, problem: str | None) -> None:
        """What is held; without a problem it is what the store has."""
        self._tell(self._problem, where, 0 if problem is None else 1)
        if problem is None:
            self._tell(self._confirmed, where, time.time())
        # Counting a million people's photos takes milliseconds.
        if self._shown.get(where) != snapshot.version:
            self._shown[where] = snapshot.version
            self._tell(self._version, where, snapshot.version)
            self._tell(self._people, where, len(snapshot))
            self._tell(self._photos, where, snapshot.photos)
            self._tell(self._bytes, where, snapshot.nbytes)

    def unopened(self, where: Location) -> None:
        """The gallery cannot even be opened."""
        self._tell(self._problem, where, 1)

    def forget(self, where: Location) -> None:
        """The gallery is no longer held; Ray soon forgets what is not told."""
        self._shown.pop(where, None)
        self._told = {key: value for key, value in self._told.items() if key[1] != where}

    def unconfirmed(self) -> None:
        """A search in what was in memory, since the store could not be asked."""
        self._unconfirmed.inc()

    async def keep(self) -> None:
        """Tell it all again and again, for as long as the matcher runs."""
        while True:
            await asyncio.sleep(_KEEP_SECONDS)
            for (gauge, where), value in self._told.items():
                gauge.set(value, _tags(where))

    def _tell(self, gauge: metrics.Gauge, where: Location, value: float) -> None:
        self._told[gauge, where] = value
        gauge.set(value, _tags(where))


def _tags(where: Location) -> dict[str, str]:
    return {"collection": where.collection, "model": where.model}
