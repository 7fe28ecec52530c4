"""Quality of a face: measures of its crop and landmarks, and the gates of enrolment and look-up.

A face that shows too little is not unlike everybody: its embedding is like that of any other such
face, so that strangers would be named. And a poor photo harms a person's record for as long as it
stays there, so enrolment is stricter than look-up. docs/quality.md says how the limits were
measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.settings import EnrolmentSettings, QualityLimits
from serving.vision.records import Quality

Gate = Literal[
    "too-small", "too-turned", "too-blurred", "pixelated", "too-few-tones", "uninformative"
]
_SIDE = 80  # pixels of the reduced crop: finer detail measures the camera's noise instead
_EDGE = _SIDE // 8  # the surroundings of the face are left out
_MARGIN = 16  # the same in pixels of the crop itself
_AROUND = 17  # pixels; wider than a tile of a face that is still found
_TONES = 64


@dataclass(frozen=True)
class Fault:
    """Why a face is too poor: the gate, and a sentence."""

    gate: Gate
    sentence: str


def quality_of(
    box: NDArray[np.float32], landmarks: NDArray[np.float32], crop: NDArray[np.uint8]
) -> Quality:
    """The measures of one face.

    Args:
        box: float32 (4,), x1 y1 x2 y2 in pixels of the original photo.
        landmarks: float32 (5, 2), in the same pixels.
        crop: uint8 RGB (3, 160, 160), cut along the box, also where the model takes another one.
    """
    width, height = box[2:] - box[:2]
    axis = landmarks[1] - landmarks[0]
    squared = float(axis @ axis)
    offset = float((landmarks[2] - landmarks[:2].mean(axis=0)) @ axis)
    grey = Image.fromarray(crop.transpose(1, 2, 0)).convert("L")
    return Quality(
        side=float(min(width, height)),
        sharpness=sharpness(grey),
        evenness=evenness(grey),
        tones=tones(grey),
        turn=abs(offset) / squared if squared > 0 else np.inf,
        eyes=squared**0.5 / max(float(height), 1.0),
    )


def sharpness(grey: Image.Image) -> float:
    """Variance of the second difference of the grey values, over that of the grey values.

    The smaller one of the two directions counts: a moving camera blurs in one direction only.

    Args:
        grey: the crop, 160 x 160.
    """
    small = grey.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    values = np.asarray(small, np.float32)[_EDGE:-_EDGE, _EDGE:-_EDGE]
    # The 1 avoids a division by zero: a crop without any contrast is not sharp.
    return min(float(np.diff(values, 2, axis=a).var()) for a in (0, 1)) / (float(values.var()) + 1)


def evenness(grey: Image.Image) -> float:
    """How evenly the edges are spread over the columns and rows: the median of each one's edges
    over the mean of those around it. About 1; lower where they lie in the lines of a grid.

    The larger one of the two directions counts: a face may stand in front of a grating, and a
    mosaic has lines in both.
    """
    values = np.asarray(grey, np.float32)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    found = []
    for axis in (0, 1):
        edges = np.abs(np.diff(values, axis=axis)).mean(axis=1 - axis)
        around = np.convolve(edges, np.full(_AROUND, 1 / _AROUND), mode="same")
        found.append(float(np.median(edges / np.maximum(around, 1e-3))))
    return max(found)


def tones(grey: Image.Image) -> float:
    """Entropy of the grey values, in steps of 4: bits, 0 to 6. Low for what is nearly black and
    white, and for what has hardly any contrast."""
    values = np.asarray(grey)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    shares = np.bincount(values.ravel() // (256 // _TONES), minlength=_TONES) / values.size
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def faults(quality: Quality, limits: QualityLimits) -> tuple[Fault, ...]:
    """The gates of look-up that a face does not pass, in a fixed order; none: it is good enough."""
    found = []
    if quality.side < limits.min_side:
        reason = f"{quality.side:.0f} pixels, and at least {limits.min_side} are needed"
        found.append(Fault("too-small", f"The face is too small: {reason}."))
    if quality.sharpness < limits.min_sharpness:
        reason = (
            f"sharpness {quality.sharpness:.4f}, and at least {limits.min_sharpness:g} is needed"
        )
        found.append(Fault("too-blurred", f"The face is too blurred: {reason}."))
    if quality.evenness < limits.min_evenness:
        found.append(Fault("pixelated", "The face is pixelated, or lies behind a grid."))
    if quality.tones < limits.min_tones:
        found.append(Fault("too-few-tones", "The face has too few shades between dark and light."))
    return tuple(found)


def enrolment_faults(quality: Quality, limits: EnrolmentSettings) -> tuple[Fault, ...]:
    """The same of enrolment, which also wants a face that looks into the camera."""
    found = list(faults(quality, limits))
    if quality.turn > limits.max_turn or quality.eyes < limits.min_eyes:
        sentence = "The face is turned too far to the side; look into the camera."
        # Before the others: a face in profile may be blurred by its background.
        found.insert(0, Fault("too-turned", sentence))
    return tuple(found)


UNINFORMATIVE = Fault(
    "uninformative", "The face shows nothing to tell it from others by: send a better photo."
)
