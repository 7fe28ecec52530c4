"""YuNet's outputs to boxes, scores and landmarks.

The network says something of each cell of three grids, with 8, 16 and 32 pixels from one cell to
the next: the probabilities that there is a face (`cls`) and how well its box fits (`obj`), and box
and landmarks relative to the cell. The score is the geometric mean of the two, as in OpenCV's
FaceDetectorYN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from serving.vision.detector import Array, Detections

_STRIDES = (8, 16, 32)
STEP = _STRIDES[-1]
OUTPUTS = tuple(f"{what}_{s}" for what in ("cls", "obj", "bbox", "kps") for s in _STRIDES)
# A box of more pixels, e to the power of this times the stride, would be no number.
_LARGEST = 10.0


def decode(outputs: Mapping[str, Array], width: int, least: float) -> Detections:
    """The cells with a score of at least ``least``, many for each face.

    The landmarks are in the order of `serving.vision.detector.Detector`: YuNet's first one is the
    person's right eye, which is at the left of an upright photo.

    Args:
        outputs: by their names in the ONNX file: for each stride ``cls`` and ``obj`` (N, 1),
            ``bbox`` (N, 4) and ``kps`` (N, 10), for the N cells of its grid, row by row.
        width: of the image, in pixels.
    """
    found = [_of_grid(outputs, stride, width // stride, least) for stride in _STRIDES]
    first, second, third = found
    return first.joined(second).joined(third)


def _of_grid(outputs: Mapping[str, Array], stride: int, columns: int, least: float) -> Detections:
    face, fit = (np.clip(outputs[f"{what}_{stride}"][:, 0], 0, 1) for what in ("cls", "obj"))
    scores = np.sqrt(face * fit)
    places = np.flatnonzero(scores >= least)
    cells = np.stack([places % columns, places // columns], axis=1).astype(np.float32)
    offsets = outputs[f"bbox_{stride}"][places]
    middles = (cells + offsets[:, :2]) * stride
    halves = np.exp(np.minimum(offsets[:, 2:], _LARGEST)) * (stride / 2)
    points = outputs[f"kps_{stride}"][places].reshape(-1, 5, 2)
    return Detections(
        np.concatenate([middles - halves, middles + halves], axis=1).astype(np.float32),
        scores[places].astype(np.float32),
        ((points + cells[:, None]) * stride).astype(np.float32),
    )
