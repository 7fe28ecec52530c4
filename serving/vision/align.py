"""Alignment: a face turned, scaled and moved, so that its landmarks lie where its model wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.errors import Unavailable

SIMILARITY = "similarity"
_LANDMARKS = 5
# As `serving.settings.DetectSettings` names the detectors.
_MTCNN, _YUNET = "mtcnn", "yunet"
_MOST_PIXELS = 1024  # of a crop's side
# From the corner of a pixel, where Pillow counts from, to its middle, where the points do.
_HALF = 0.5 + 0.5j
_COMPLEX = np.array([1, 1j])  # x and y -> x + iy


@dataclass(frozen=True)
class Alignment:
    """The crop of a model that takes aligned faces.

    Attributes:
        size: pixels of the crop's sides.
        points: where its five landmarks should be, x and y in pixels of the crop: the eye at the
            left of the picture, the other one, the nose, the corners of the mouth, left first.
    """

    size: int
    points: tuple[tuple[float, float], ...]


def alignment_of(preprocessing: Mapping[str, Any], detector: str = _MTCNN) -> Alignment | None:
    """What the preprocessing of a model's card says of alignment; None: it takes FaceNet's crop.

    Args:
        detector: the one in use, `serving.settings.DetectSettings.model`. A crop along the box is
            that of the card's detector alone, since boxes differ. An aligned one is of any, since
            all find the same five points; docs/detection.md has the measurement.

    Raises:
        Unavailable: it asks for another alignment than this version of the service knows, or for
            crops of another detector.
    """
    kind = preprocessing.get("align")
    if kind is None:
        named = str(preprocessing.get("detector", "")).partition(" ")[0].lower()
        wanted = named if named == _YUNET else _MTCNN
        if wanted != detector:
            raise Unavailable(
                f"The model takes crops along the boxes of {wanted}, and detect.model is "
                f"{detector}; set detect.model to {wanted}, or serve a model that takes aligned "
                "faces, such as sface."
            )
        return None
    try:
        size = int(preprocessing["size"])
        points = tuple((float(x), float(y)) for x, y in preprocessing["points"])
        known = kind == SIMILARITY and len(points) == _LANDMARKS and 0 < size <= _MOST_PIXELS
    except (KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise Unavailable(
            f"The card of the model asks for an alignment ({str(kind)[:40]!r}) that this version "
            "of the service does not know; upgrade the service, or serve another model."
        )
    return Alignment(size, points)


def align_face(
    image: Image.Image, landmarks: NDArray[np.float32], alignment: Alignment
) -> NDArray[np.uint8]:
    """Cut one face, aligned: uint8 RGB (size, size, 3); what lies outside the photo is black.

    Args:
        image: the RGB photo.
        landmarks: float32 (5, 2), x y in its pixels, in the order of the alignment's points.
    """
    factor, shift = _to_photo(landmarks, alignment)
    shift += _HALF - factor * _HALF
    data = (factor.real, -factor.imag, shift.real, factor.imag, factor.real, shift.imag)
    size = (alignment.size, alignment.size)
    face = image.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(face)


def _to_photo(landmarks: NDArray[np.float32], alignment: Alignment) -> tuple[complex, complex]:
    """The similarity from the crop to the photo, ``factor * (x + iy) + shift``.

    It is the inverse of that from the photo to the crop which leaves the least squares between the
    landmarks and the points: as complex numbers these have a closed form, without reflections.
    """
    seen = landmarks.astype(np.float64) @ _COMPLEX
    wanted = np.array(alignment.points) @ _COMPLEX
    middle, centre = complex(seen.mean()), complex(wanted.mean())
    product = complex((seen - middle).conj() @ (wanted - centre))
    spread = float((np.abs(seen - middle) ** 2).sum())
    # Landmarks in one place have no scale.
    factor = spread / product if min(spread, abs(product)) > 1e-6 else 1 + 0j
    return factor, middle - factor * centre
