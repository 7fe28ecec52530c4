"""Quality gates for enrolment: a face must not be too small, too blurred or too turned.

A poor photo harms a person's record for as long as it stays there, so enrolment is stricter than
identification. docs/enrolment.md says how the limits were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.settings import EnrolmentSettings
from serving.vision.records import Faces

_SIDE = 80  # pixels of the reduced crop: finer detail measures the camera's noise instead
_EDGE = _SIDE // 8  # the surroundings of the face are left out


@dataclass(frozen=True)
class Quality:
    """Quality measures of one face.

    Attributes:
        side: the box's shorter side, in pixels of the original photo.
        sharpness: see `sharpness`.
        turn: the distance of the nose from the middle of the eyes, along the line through the
            eyes, as a multiple of the distance between the eyes; 0 from the front.
        eyes: the distance between the eyes, as a part of the box's height; smaller in profile.
    """

    side: float
    sharpness: float
    turn: float
    eyes: float

    @classmethod
    def of(cls, face: Faces) -> Quality:
        """The measures of the first of ``face``."""
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
    """Variance of the second difference of the grey values, over that of the grey values.

    The smaller one of the two directions counts: a moving camera blurs in one direction only.

    Args:
        crop: uint8 RGB (3, 160, 160).
    """
    image = Image.fromarray(crop.transpose(1, 2, 0)).convert("L")
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.float32)[_EDGE:-_EDGE, _EDGE:-_EDGE]
    # The 1 avoids a division by zero: a crop without any contrast is not sharp.
    return min(float(np.diff(grey, 2, axis=a).var()) for a in (0, 1)) / (float(grey.var()) + 1)


def fault(face: Faces, limits: EnrolmentSettings) -> Fault | None:
    """The first gate that the first of ``face`` fails; None: it may be enrolled."""
    quality = Quality.of(face)
    if quality.side < limits.min_side:
        reason = f"{quality.side:.0f} pixels, and at least {limits.min_side} are needed"
        return Fault("too-small", f"The face is too small: {reason}.")
    if quality.turn > limits.max_turn or quality.eyes < limits.min_eyes:
        return Fault("too-turned", "The face is turned too far to the side; look into the camera.")
    if quality.sharpness < limits.min_sharpness:
        reason = (
            f"sharpness {quality.sharpness:.4f}, and at least {limits.min_sharpness:g} is needed"
        )
        return Fault("too-blurred", f"The face is too blurred: {reason}.")
    return None
