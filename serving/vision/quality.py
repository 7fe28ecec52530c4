"""Whether a face is good enough to be enrolled: not too small, too blurred or too turned.

A poor photo harms a person's record for as long as it stays there, so what is enrolled is looked at
more closely than what is identified. docs/enrolment.md has how the limits were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.settings import EnrolmentSettings
from serving.vision.records import Faces

_SIDE = 80  # pixels to which a crop is reduced: finer detail says more of the camera's noise
_EDGE = _SIDE // 8  # what surrounds the face is left out


@dataclass(frozen=True)
class Quality:
    """Measures of one face.

    Attributes:
        side: the box's shorter side, in pixels of the original photo.
        sharpness: see `sharpness`.
        turn: how far the nose is from the middle of the eyes, along the line through them; 0 from
            the front, in distances between the eyes.
        eyes: the distance between the eyes, in heights of the box; less in profile.
    """

    side: float
    sharpness: float
    turn: float
    eyes: float

    @classmethod
    def of(cls, face: Faces) -> Quality:
        """Of the first of ``face``."""
        (width, height), points = face.boxes[0, 2:] - face.boxes[0, :2], face.landmarks[0]
        axis = points[1] - points[0]
        squared = float(axis @ axis)
        offset = float((points[2] - points[:2].mean(axis=0)) @ axis)
        return cls(
            side=float(min(width, height)),
            sharpness=sharpness(face.crops[0]),
            turn=abs(offset) / squared if squared > 0 else np.inf,
            eyes=squared**0.5 / max(float(height), 1.0),
        )


@dataclass(frozen=True)
class Fault:
    """Why a face should not be enrolled: the gate, and a sentence."""

    gate: str
    sentence: str


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Variance of the second difference in grey, over that of the grey itself; of the direction
    in which it is less, since a camera that moves blurs along its way only.

    Args:
        crop: uint8 RGB (3, 160, 160).
    """
    image = Image.fromarray(crop.transpose(1, 2, 0)).convert("L")
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.float32)[_EDGE:-_EDGE, _EDGE:-_EDGE]
    # Of a crop without any contrast nothing is sharp, and the division stays one.
    return min(float(np.diff(grey, 2, axis=a).var()) for a in (0, 1)) / (float(grey.var()) + 1)


def fault(face: Faces, limits: EnrolmentSettings) -> Fault | None:
    """The first gate that the first of ``face`` does not pass; None: it may be enrolled."""
    found = Quality.of(face)
    if found.side < limits.min_side:
        told = f"{found.side:.0f} pixels, and at least {limits.min_side} are needed"
        return Fault("too-small", f"The face is too small: {told}.")
    if found.turn > limits.max_turn or found.eyes < limits.min_eyes:
        return Fault("too-turned", "The face is turned too far to the side; look into the camera.")
    if found.sharpness < limits.min_sharpness:
        told = f"sharpness {found.sharpness:.4f}, and at least {limits.min_sharpness:g} is needed"
        return Fault("too-blurred", f"The face is too blurred: {told}.")
    return None
