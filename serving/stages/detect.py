"""The detect stage: a photo in, its faces out."""

from __future__ import annotations

import numpy as np

from serving.settings import DetectSettings, TracingSettings
from serving.stages import calls, proxy, refs
from serving.stages.turns import Turns
from serving.telemetry import replica
from serving.vision.align import Alignment
from serving.vision.detector import Crowded
from serving.vision.detector import Detector as FaceDetector
from serving.vision.faces import detector_of, find_faces
from serving.vision.records import Faces, Photo
from serving.vision.surroundings import Surroundings

# Photos with many more places that may be faces than so many faces have go apart from the others.
_CROWD = 30


@calls.stage
class Detector:
    """The deployment, a `serving.stages.interfaces.Detect`.

    Args:
        max_faces: of one photo; what bounds the time of a search.
    """

    def __init__(self, settings: DetectSettings, traces: TracingSettings, max_faces: int) -> None:
        replica.start("detect", traces)
        self._turned = settings.turned
        self._detector = detector_of(settings, settings.threads, faces=max_faces, crowd=_CROWD)
        # One photo at a time with all of the replica's threads: two at once would take turns on the
        # same cores, and both would be late.
        self._turns = Turns(1, "detect")
        # But a crowd may take a second or more. It has networks of its own with half of the
        # threads, so what comes meanwhile is served beside it, and gets most of the cores.
        half = max(1, settings.threads // 2)
        self._crowd_detector = detector_of(settings, half, faces=max_faces)
        self._crowd_turns = Turns(1, "crowd")
        # The first pass through the networks allocates; no caller should wait for it.
        self._detector.detect(np.zeros((128, 128, 3), np.uint8))
        proxy.wait()

    async def ready(self) -> None:
        """Return as soon as the replica is up."""

    async def detect(
        self,
        photo: refs.Ref[Photo],
        most: int,
        alignment: Alignment | None,
        surroundings: Surroundings | None = None,
    ) -> refs.Ref[Faces] | None:
        kinds = alignment, surroundings
        try:
            return await self._find(self._turns, self._detector, photo, most, *kinds)
        except Crowded:
            return None

    async def detect_crowd(
        self,
        photo: refs.Ref[Photo],
        most: int,
        alignment: Alignment | None,
        surroundings: Surroundings | None = None,
    ) -> refs.Ref[Faces]:
        kinds = alignment, surroundings
        return await self._find(self._crowd_turns, self._crowd_detector, photo, most, *kinds)

    async def _find(
        self,
        turns: Turns,
        detector: FaceDetector,
        photo: refs.Ref[Photo],
        most: int,
        alignment: Alignment | None,
        surroundings: Surroundings | None,
    ) -> refs.Ref[Faces]:
        faces = await turns.work(
            photo.get,
            lambda pixels: find_faces(
                pixels,
                detector,
                most,
                turned=self._turned,
                alignment=alignment,
                surroundings=surroundings,
            ),
        )
        return refs.made(faces.result, faces.result.nbytes, faces.ms)
