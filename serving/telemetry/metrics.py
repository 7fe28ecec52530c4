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
from serving.valid_keys import Keys

_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
_COUNTS = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]
_COSINES = [0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1]
# Any other method that a caller makes up must not become a label.
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
# Ray drops a gauge that was not set for 20 s.
_KEEP_SECONDS = 5.0
# Outcomes of requests to the store that are no failures.
_FINE = ("ok", "unchanged", "not-found", "stale")


def counter(
    name: str, description: str, labels: Sequence[str] = (), *known: dict[str, str]
) -> metrics.Counter:
    """Starts at 0 for the labels ``known``: Prometheus sees no increase in a first value of 1."""
    counter = metrics.Counter(name, description, tuple(labels))
    for tags in known:
        counter._record(0, tags)  # `inc` takes no 0
    return counter


def _seconds(name: str, description: str, *labels: str) -> metrics.Histogram:
    return metrics.Histogram(name, description, _SECONDS, labels)


class ApiMetrics:
    """Metrics of the ingress: requests, waits, photos and faces.

    Args:
        collection: the default one, whose counters begin at 0.
    """

    def __init__(self, collection: str = "default") -> None:
        self._requests = _seconds(
            "faces_request_seconds", "HTTP requests, until the answer.", "method", "route", "status"
        )
        self._problems = counter(
            "faces_problems", "Requests answered with a problem.", ("route", "type")
        )
        self._stages = _seconds(
            "faces_stage_seconds", "What a request waits for a stage, queueing included.", "stage"
        )
        self._photos = counter(
            "faces_photos", "Photos by what became of them in decoding and detection.", ("outcome",)
        )
        self._faces = metrics.Histogram("faces_photo_faces", "Faces found in a photo.", _COUNTS)
        self._identified = counter(
            "faces_identified",
            "Faces that were looked up: known, unknown, ambiguous, too poor to say or not live.",
            ("outcome",),
            {"outcome": "known"},
            {"outcome": "unknown"},
            {"outcome": "ambiguous"},
            {"outcome": "poor"},
            {"outcome": "not-live"},
        )
        self._ambiguous = counter(
            "faces_ambiguous",
            "Faces for which the model cannot decide between enrolled people, named or not.",
            ("collection",),
            {"collection": collection},
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
        """Record a request that has ended; ``route`` is the template of its path."""
        method = method if method in _METHODS else "OTHER"
        tags = {"method": method, "route": route, "status": str(status)}
        self._requests.observe(seconds, tags)
        if problem is not None:
            self._problems.inc(1, {"route": route, "type": problem})

    def waited(self, stage: str, seconds: float) -> None:
        """The ``observe`` of `serving.pipeline.timings.Timings`."""
        self._stages.observe(seconds, {"stage": stage})

    def seen(self, outcome: str, faces: int) -> None:
        """The ``seen`` of `serving.pipeline.pipeline.Pipeline`."""
        self._photos.inc(1, {"outcome": outcome})
        if outcome in ("faces", "no-face"):
            self._faces.observe(faces)

    def identified(
        self,
        candidates: Sequence[Sequence[Candidate]],
        named: Sequence[Candidate | None],
        poor: int,
        unnamed: int,
        attacks: int = 0,
    ) -> None:
        """The faces of a photo were looked up.

        Args:
            candidates: those of each face, best first.
            named: for each face the one that the answer names, or None.
            poor: the number of faces that are too poor to say who they are.
            unnamed: the number of faces that have no name because they are ambiguous.
            attacks: the number of faces that are taken for attacks.
        """
        known = sum(candidate is not None for candidate in named)
        counts = {
            "known": known,
            "unknown": len(named) - known - poor - unnamed - attacks,
            "ambiguous": unnamed,
            "poor": poor,
            "not-live": attacks,
        }
        for outcome, count in counts.items():
            if count:
                self._identified.inc(count, {"outcome": outcome})
        for of_face in candidates:
            if of_face:
                self._similarity.observe(max(0.0, of_face[0].similarity))

    def ambiguous(self, collection: str, faces: int) -> None:
        """Faces of a photo are ambiguous, so the collection holds people: no caller can make up
        labels."""
        if faces:
            self._ambiguous.inc(faces, {"collection": collection})

    def asked_liveness(self, call: str, outcome: str, seconds: float, batch: int) -> None:
        """The ``observe`` of `serving.model.liveness.LivenessModel`; its batches are not those of
        embeddings."""
        self._triton.observe(seconds, {"call": f"liveness-{call}", "outcome": outcome})

    def asked_triton(self, call: str, outcome: str, seconds: float, batch: int) -> None:
        """The ``observe`` of `serving.model.embedder.Embedder`."""
        self._triton.observe(seconds, {"call": call, "outcome": outcome})
        if batch:
            self._batch.observe(batch)


class LoopGauge:
    """How late the event loop of one ingress replica is: nothing heavy may run on it."""

    def __init__(self) -> None:
        self._lag = metrics.Gauge(
            "faces_loop_lag_seconds",
            description="The longest that the event loop was late in the last seconds.",
        )

    async def keep(self, *, every_s: float = _KEEP_SECONDS, step_s: float = 0.1) -> None:
        """Set the gauge every ``every_s`` seconds to the most of the last two of them, since Ray
        reads it every 10; look every ``step_s`` seconds. For as long as the replica runs."""
        loop, before = asyncio.get_running_loop(), 0.0
        while True:
            most, until = 0.0, loop.time() + every_s
            while (start := loop.time()) < until:
                await asyncio.sleep(step_s)
                most = max(most, loop.time() - start - step_s)
            self._lag.set(max(most, before))
            before = most


class StoreMetrics:
    """Metrics of the object store: a `serving.gallery.observer.Observer`."""

    def __init__(self) -> None:
        self._requests = _seconds(
            "faces_s3_request_seconds", "Requests to the object store.", "operation", "outcome"
        )
        self._refreshes = _seconds(
            "faces_gallery_refresh_seconds", "Looks for news of the gallery.", "outcome"
        )
        self._commits = _seconds("faces_commit_seconds", "Commits, lost races and all.", "outcome")
        self._conflicts = counter(
            "faces_commit_conflicts",
            "Commits that began anew since another process was faster.",
            (),
            {},
        )
        self._joined = counter(
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


class KeyGauge:
    """The metric of the API keys that are valid in one ingress."""

    def __init__(self) -> None:
        self._problem = metrics.Gauge(
            "faces_keys_problem",
            description="1 while something in the key file is wrong, or it cannot be read.",
        )

    async def follow(self, keys: Keys | None, *, every_s: float = _KEEP_SECONDS) -> None:
        """Look at the key file and show its state every ``every_s`` seconds, for as long as the
        ingress runs: also while nobody sends a key. Without ``keys``, where callers need none,
        nothing is wrong."""
        while True:
            if keys is not None:
                await keys.look()
            self._problem.set(0 if keys is None or keys.problem is None else 1)
            await asyncio.sleep(every_s)


class GalleryGauges:
    """Metrics of the galleries that one matcher holds."""

    def __init__(self) -> None:
        def gauge(name: str, description: str) -> metrics.Gauge:
            return metrics.Gauge(name, description=description, tag_keys=("collection", "model"))

        self._version = gauge("faces_gallery_version", "The gallery's version that is served.")
        self._people = gauge("faces_gallery_people", "People in the gallery that is served.")
        self._photos = gauge("faces_gallery_photos", "Photos that they were enrolled from.")
        self._bytes = gauge("faces_gallery_bytes", "Memory that they take.")
        self._disk_bytes = gauge(
            "faces_gallery_disk_bytes", "Local disk that their vectors take, if not memory."
        )
        self._problem = gauge(
            "faces_gallery_problem", "1 while the gallery cannot be read: what was read is served."
        )
        self._confirmed = gauge(
            "faces_gallery_confirmed_timestamp_seconds",
            "When the gallery was last known to be that of the store, seconds since 1970.",
        )
        self._unconfirmed = counter(
            "faces_gallery_unconfirmed",
            "Searches in what was in memory, since the store could not be asked.",
            (),
            {},
        )
        self._shown: dict[Location, int] = {}
        self._values: dict[tuple[metrics.Gauge, Location], float] = {}

    def show(self, location: Location, snapshot: Snapshot, problem: str | None) -> None:
        """Show a gallery that is held; without a problem it is as new as the store's."""
        self._put(self._problem, location, 0 if problem is None else 1)
        if problem is None:
            self._put(self._confirmed, location, time.time())
        # Counting a million people's photos takes milliseconds.
        if self._shown.get(location) != snapshot.version:
            self._shown[location] = snapshot.version
            self._put(self._version, location, snapshot.version)
            self._put(self._people, location, len(snapshot))
            self._put(self._photos, location, snapshot.photos)
            self._put(self._bytes, location, snapshot.nbytes)
            self._put(self._disk_bytes, location, snapshot.disk_nbytes)

    def unopened(self, location: Location) -> None:
        """Show that the gallery cannot even be opened."""
        self._put(self._problem, location, 1)

    def forget(self, location: Location) -> None:
        """Stop showing a gallery that is no longer held; Ray soon drops gauges that are not set."""
        self._shown.pop(location, None)
        self._values = {key: value for key, value in self._values.items() if key[1] != location}

    def unconfirmed(self) -> None:
        """Count a search in what was in memory, since the store could not be asked."""
        self._unconfirmed.inc()

    async def keep(self, *, every_s: float = _KEEP_SECONDS) -> None:
        """Set all gauges every ``every_s`` seconds, for as long as the matcher runs."""
        while True:
            await asyncio.sleep(every_s)
            for (gauge, location), value in self._values.items():
                gauge.set(value, _tags(location))

    def _put(self, gauge: metrics.Gauge, location: Location, value: float) -> None:
        self._values[gauge, location] = value
        gauge.set(value, _tags(location))


def _tags(location: Location) -> dict[str, str]:
    return {"collection": location.collection, "model": location.model}
