"""The Open Inference Protocol v2 on the wire: a body -> photos, and faces -> tensors.

Not by kserve's types: `InferRequest.from_bytes` decodes BYTES as UTF-8, which photos are not, and
trusts the sizes that a caller states; and with kserve come pandas and the client of Kubernetes, 220
MB of the image.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.api.bodies import check_size
from serving.api.parsing import from_base64, parse
from serving.api.v2_answers import with_tensors
from serving.api.v2_schemas import (
    INPUT,
    InferParameters,
    InputTensor,
    OutputTensor,
    ProtocolRequest,
    check_datatype,
)
from serving.errors import BadRequest, TooLarge, Unavailable
from serving.pipeline.reports import Identified
from serving.settings import LimitSettings
from serving.vision.formats.kinds import format_of

MODEL = "face-identification"
VERSION = "1"
# Datatype and shape of each output; one row is one face.
OUTPUTS: Mapping[str, tuple[str, list[int]]] = {
    "PHOTO": ("INT64", [-1]),
    "ID": ("INT64", [-1]),
    "NAME": ("BYTES", [-1]),
    "SIMILARITY": ("FP32", [-1]),
    "CONFIDENCE": ("FP32", [-1]),
    "BOX": ("FP32", [-1, 4]),
    "DETECTION_SCORE": ("FP32", [-1]),
    # Empty: sufficient; else the gates that the face does not pass, with commas between them.
    "QUALITY": ("BYTES", [-1]),
    "TURN": ("INT64", [-1]),
    # Empty: no doubt; else the ids between which the model cannot decide, with commas between them.
    "AMBIGUOUS": ("BYTES", [-1]),
    # 1: live; 0: taken for an attack, so without a name; -1: not checked.
    "LIVE": ("INT64", [-1]),
}
UNKNOWN_ID = -1  # ids are never negative


@dataclass(frozen=True)
class Inference:
    """An inference request that was read.

    Attributes:
        outputs: names of the requested outputs, in order, and whether each is sent as binary data.
    """

    id: str | None
    images: Sequence[bytes]
    parameters: InferParameters
    outputs: Mapping[str, bool]


def photo_name(index: int) -> str:
    """The name of a photo of the request in errors."""
    return f"{INPUT}[{index}]"


def read(body: bytes, header_length: str | None, limits: LimitSettings) -> Inference:
    """Read an inference request.

    Args:
        header_length: the header Inference-Header-Content-Length, if any: the number of bytes of
            the body that are JSON; binary data follows.

    Raises:
        BadRequest: it is not an inference request, or its sizes, shapes or types do not fit.
        TooLarge: a photo has too many bytes, or the JSON too many values.
    """
    json_length = len(body) if header_length is None else _length(header_length, len(body))
    request = _parsed(body, header_length, json_length)
    parameters = request.parameters or InferParameters()
    if request.model_name not in (None, MODEL):
        raise BadRequest(f"model_name is {MODEL}, as in the path.")
    if len(request.inputs) != 1 or request.inputs[0].name != INPUT:
        raise BadRequest(f"Send one input, {INPUT}.")
    images = _images(request.inputs[0], memoryview(body)[json_length:], limits.max_photos)
    for index, image in enumerate(images):
        check_size(photo_name(index), image, limits)
    return Inference(request.id, images, parameters, _wanted(request.outputs, parameters))


def _parsed(body: bytes, header_length: str | None, json_length: int) -> ProtocolRequest:
    if (kind := format_of(body)) is not None:
        raise BadRequest(
            f"The body is no JSON, but a {kind}: send it in the input {INPUT}, as base64 in JSON "
            "or as binary data."
        )
    try:
        return parse(ProtocolRequest, body[:json_length])
    except TooLarge as error:
        raise TooLarge(f"{error} Send image files ({INPUT}, BYTES), not pixels.") from None
    except BadRequest as error:
        if header_length is None and b'"binary_data_size"' in body:
            raise BadRequest(
                "Binary data follows the JSON: the header Inference-Header-Content-Length has to "
                "say how many bytes are JSON."
            ) from None
        if json_length < len(body) and not _is_json(body[:json_length]):
            raise BadRequest(
                f"By Inference-Header-Content-Length the first {json_length} bytes are the JSON, "
                "but they are none."
            ) from None
        raise error from None


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _length(text: str, most: int) -> int:
    # The length first: int() of a long text takes long.
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) > most:
        raise BadRequest(f"Inference-Header-Content-Length must be a number up to {most}.")
    return int(text)


def _images(tensor: InputTensor, binary: memoryview, most: int) -> list[bytes]:
    try:
        check_datatype(tensor.datatype)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    # [n, 1] is what a server that batches calls the same photos.
    if tensor.shape[1:] not in ([], [1]) or not 1 <= sum(tensor.shape[:1]) <= most:
        raise BadRequest(f"{INPUT} has the shape [n] or [n, 1]: n photos, 1 to {most}.")
    count = tensor.shape[0]
    size = tensor.parameters.binary_data_size if tensor.parameters else None
    if (tensor.data is None) == (size is None):
        raise BadRequest(f"Send {INPUT} either as data or as binary data with binary_data_size.")
    if len(binary) != (size or 0):
        raise BadRequest(f"binary_data_size is {size or 0}, but {len(binary)} bytes follow.")
    if tensor.data is None:
        return list(_elements(binary, count))
    if len(tensor.data) != count:
        raise BadRequest(f"The shape says {count} photos, but data has {len(tensor.data)}.")
    return [_decoded(index, text) for index, text in enumerate(tensor.data)]


def _elements(binary: memoryview, count: int) -> Iterator[bytes]:
    """The elements of a BYTES tensor: each is its length, 4 bytes little-endian, and its bytes."""
    at = 0
    for index in range(count):
        start = at + 4
        if start > len(binary):
            raise BadRequest(f"The shape says {count} photos, but the binary data has {index}.")
        length = struct.unpack_from("<I", binary, at)[0]
        at = start + length
        if at > len(binary):
            raise BadRequest(
                f"By the 4 bytes before it {photo_name(index)} has {length} bytes, but only "
                f"{len(binary) - start} follow: before each photo stand 4 bytes, its length, "
                "little-endian."
            )
        yield bytes(binary[start:at])
    if at != len(binary):
        raise BadRequest(f"The shape says {count} photos, but the binary data has more.")


def _decoded(index: int, text: str) -> bytes:
    try:
        return from_base64(text)
    except BadRequest as error:
        raise BadRequest(f"{photo_name(index)}: {error}") from None


def _wanted(
    outputs: Sequence[OutputTensor] | None, parameters: InferParameters
) -> Mapping[str, bool]:
    default = parameters.binary_data_output
    if not outputs:
        return dict.fromkeys(OUTPUTS, default)
    wanted: dict[str, bool] = {}
    for output in outputs:
        if output.name not in OUTPUTS:
            raise BadRequest(f"There is no such output; there are {', '.join(OUTPUTS)}.")
        if output.name in wanted:
            raise BadRequest(f"The output {output.name} is given twice.")
        given = output.parameters.binary_data if output.parameters else None
        wanted[output.name] = default if given is None else given
    return wanted


def answer(
    inference: Inference, photos: Sequence[Identified], request_id: str
) -> tuple[bytes | dict[str, Any], int | None]:
    """The answer's body: JSON and None, or JSON with binary data behind it and the JSON's length.

    Args:
        photos: for each photo its faces.
        request_id: for a request without an id of its own.
    """
    cards = {photo.card.id for photo in photos}
    if len(cards) > 1:
        raise Unavailable("The model was replaced in the middle of this request; send it again.")
    tensors = _tensors(photos)
    fields = {
        "id": request_id if inference.id is None else inference.id,
        "model_name": MODEL,
        "model_version": VERSION,
        "parameters": {
            "model": cards.pop(),
            "gallery_version": min(photo.matches.gallery_version for photo in photos),
            # Of any of the photos.
            "more_faces": any(photo.faces.more > 0 for photo in photos),
        },
    }
    return with_tensors(
        fields,
        [
            (name, OUTPUTS[name][0], tensors[name], binary)
            for name, binary in inference.outputs.items()
        ],
    )


def _tensors(photos: Sequence[Identified]) -> dict[str, NDArray[Any]]:
    """Every output; a face without a name has the similarity of its best candidate, and one that
    is too poor to say, or not live, has none."""
    ids: list[int] = []
    names: list[bytes] = []
    similarities: list[float] = []
    confidences: list[float] = []
    for photo in photos:
        for candidates, named in zip(photo.matches.candidates, photo.named, strict=True):
            best = candidates[0] if candidates else None
            ids.append(named.id if named else UNKNOWN_ID)
            names.append((named.name or "").encode() if named else b"")
            similarities.append(best.similarity if best else -1.0)
            confidences.append(
                photo.card.confidence(best.similarity, photo.matches.people) if best else 0.0
            )
    counts = [len(photo.faces) for photo in photos]
    return {
        "PHOTO": np.repeat(np.arange(len(photos), dtype=np.int64), counts),
        "ID": np.array(ids, np.int64),
        "NAME": np.array(names, np.object_),
        "SIMILARITY": np.array(similarities, np.float32),
        "CONFIDENCE": np.array(confidences, np.float32),
        "BOX": np.concatenate([photo.faces.boxes for photo in photos]),
        "DETECTION_SCORE": np.concatenate([photo.faces.scores for photo in photos]),
        "TURN": np.concatenate([photo.faces.turns for photo in photos]),
        "AMBIGUOUS": np.array(
            [
                ",".join(str(c.id) for c in photo.ambiguous.get(place, ())).encode()
                for photo in photos
                for place in range(len(photo.faces))
            ],
            np.object_,
        ),
        "LIVE": np.array(
            [
                -1 if verdict is None else int(verdict.live)
                for photo in photos
                for verdict in map(photo.live, range(len(photo.faces)))
            ],
            np.int64,
        ),
        "QUALITY": np.array(
            [
                ",".join(fault.gate for fault in of_face).encode()
                for photo in photos
                for of_face in photo.faults
            ],
            np.object_,
        ),
    }
