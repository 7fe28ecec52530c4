"""Metrics for Prometheus, exported by Ray on every node, with ``ray_`` before the names."""

from __future__ import annotations

from ray.serve import metrics

from serving.gallery import Snapshot


class GalleryGauges:
    """What one matcher holds."""

    def __init__(self) -> None:
        def gauge(name: str, description: str) -> metrics.Gauge:
            return metrics.Gauge(name, description=description, tag_keys=("model",))

        self._version = gauge("faces_gallery_version", "The gallery's version that is served.")
        self._people = gauge("faces_gallery_people", "People in the gallery that is served.")
        self._problem = gauge(
            "faces_gallery_problem", "1 while the gallery cannot be read: what was read is served."
        )

    def show(self, model: str, snapshot: Snapshot, problem: str | None) -> None:
        tags = {"model": model}
        self._version.set(snapshot.version, tags)
        self._people.set(len(snapshot), tags)
        self._problem.set(0 if problem is None else 1, tags)
