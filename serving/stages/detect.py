"""The detect stage: a photo in, its faces out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from serving.settings import DetectSettings, TracingSettings
from serving.stages import calls, refs
from serving.stages.pool import work
from serving.telemetry import replica
from serving.vision.faces import detector_of, find_faces
from serving.vision.records import Faces, Photo


@calls.stage
class Detector:
    """The deployment: a photo in, its faces out."""

    def __init__(self, settings: DetectSettings, traces: TracingSettings) -> None:
        replica.start("detect", traces)
        self._detector = detector_of(settings, settings.threads)
        # One photo at a time with all of the replica's threads: two at once would take turns on the
        # same cores, and both would be late.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="detect")
        # The first pass through the networks allocates; no caller should wait for it.
        self._detector.detect(np.zeros((128, 128, 3), np.uint8))

    async def ready(self) -> None:
        """Return as soon as the replica is up."""

    async def detect(self, photo: refs.Ref[Photo]) -> refs.Ref[Faces]:
        pixels = await photo.get()
        faces = await work(self._pool, lambda: find_faces(pixels, self._detector))
        return refs.made(faces.result, faces.result.nbytes, faces.ms)
