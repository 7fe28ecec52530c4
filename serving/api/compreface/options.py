"""The options of CompreFace's requests.

Its clients write them as their languages do, so numbers and booleans are read as texts here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from serving.api.compreface.codes import WrongArgument, WrongCount
from serving.errors import BadRequest
from serving.reading.spelling import shown
from serving.reading.strict import BOOLEANS
from serving.settings import MAX_FACES

# As many candidates as the service's own routes take.
MOST_PREDICTIONS = 100
# Without an equal here; docs/compreface.md says why.
_REFUSED_PLUGINS = ("age", "gender", "mask", "pose", "calculator")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{0,9}\.?[0-9]{1,20}")


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class FileRequest(_Request):
    file: str = Field(description="base64 of the image file")


class PairRequest(_Request):
    source_image: str = Field(description="base64 of the image file with one face")
    target_image: str = Field(description="base64 of another one")


class FaceOptions(_Request):
    """Of every route that takes a photo; query parameters, or fields of a form."""

    limit: str = "0"
    det_prob_threshold: str = "0"
    face_plugins: str = ""
    status: str = "false"
    detect_faces: str = "true"


class RecognizeOptions(FaceOptions):
    prediction_count: str = "1"


class VerifyOptions(RecognizeOptions):
    """`prediction_count` changes nothing there; clients send it all the same."""


class ExampleOptions(_Request):
    subject: str = ""
    det_prob_threshold: str = "0"


@dataclass(frozen=True)
class Wanted:
    """What a request wants to know of the faces of a photo.

    Attributes:
        limit: faces, the largest; None: as many as the service looks at.
        score: of the detector, for a face to count.
        landmarks, status: also them, and the times and versions.
    """

    limit: int | None
    score: float
    landmarks: bool
    status: bool


def wanted_of(options: FaceOptions) -> Wanted:
    """Raises BadRequest: an option is not what it should be, or asks for what there is not."""
    plugins = {name.strip().lower() for name in options.face_plugins.split(",")} - {""}
    for name in sorted(plugins - {"landmarks"}):
        if name in _REFUSED_PLUGINS:
            raise BadRequest(
                f"There is no plugin {name} here: this service says who somebody is and where the "
                "face is. Leave it out of face_plugins; landmarks there are."
            )
        raise BadRequest(f"There is no plugin {shown(name)}; face_plugins takes landmarks.")
    if not _boolean("detect_faces", options.detect_faces):
        raise BadRequest("Faces are always looked for: leave out detect_faces.")
    limit = _integer("limit", options.limit)
    if limit < 0:
        raise BadRequest("limit is 0, for all faces, or a number of faces.")
    return Wanted(
        min(limit, MAX_FACES) or None,
        score_of(options.det_prob_threshold),
        "landmarks" in plugins,
        _boolean("status", options.status),
    )


def predictions_of(text: str) -> int:
    """The number of predictions for each face; -1 stands for all. Raises WrongCount."""
    count = _integer("prediction_count", text)
    if count == 0 or count < -1:
        raise WrongCount("prediction_count is 1 or more, or -1 for as many as there are.")
    return MOST_PREDICTIONS if count == -1 else min(count, MOST_PREDICTIONS)


def score_of(text: str) -> float:
    """`det_prob_threshold`. Raises BadRequest."""
    if _NUMBER.fullmatch(text) is None:
        raise WrongArgument("det_prob_threshold is a number, such as 0.8.")
    score = float(text)
    if not 0 <= score <= 1:
        raise BadRequest("det_prob_threshold is between 0 and 1.")
    return score


def page_of(page: str, size: str, most: int) -> tuple[int, int]:
    """The number of a page and its size, ``most`` at most. Raises BadRequest."""
    number, wanted = _integer("page", page), _integer("size", size)
    if number < 0 or wanted < 1:
        raise BadRequest("page is 0 or more, and size 1 or more.")
    return number, min(wanted, most)


def _integer(name: str, text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise WrongArgument(f"{name} is a whole number.")
    return int(text)


def _boolean(name: str, text: str) -> bool:
    if (value := BOOLEANS.get(text.lower())) is None:
        raise WrongArgument(f"{name} is true or false.")
    return value
