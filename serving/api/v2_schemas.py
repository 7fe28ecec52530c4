"""Requests of the Open Inference Protocol v2: their JSON, and what one input may hold."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from serving.reading.spelling import shown
from serving.settings import MAX_FACES

INPUT = "IMAGE"


class _Strict(BaseModel):
    # An unknown field or parameter would silently be ignored.
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")


class InferParameters(_Strict):
    threshold: float | None = Field(None, ge=-1, le=1)
    max_faces: int | None = Field(None, ge=1, le=MAX_FACES)
    binary_data_output: bool = False


class InputParameters(_Strict):
    binary_data_size: int | None = Field(None, ge=0)


class OutputParameters(_Strict):
    binary_data: bool | None = None


def _photos(data: Any, info: ValidationInfo) -> Any:
    """The data of an input, flat; of the shape [n, 1] the protocol allows them to be nested."""
    datatype, shape = info.data.get("datatype"), info.data.get("shape", [])
    if datatype is not None:
        check_datatype(datatype)
    if not isinstance(data, list):
        return data
    if shape[1:] == [1] and all(isinstance(row, list) and len(row) == 1 for row in data):
        data = [photo for (photo,) in data]
    if not all(isinstance(photo, str) for photo in data):
        raise ValueError(
            f"The data of {INPUT} are texts, one for each photo: base64 of an image file; not "
            "pixels."
        )
    return data


def check_datatype(datatype: str) -> None:
    """Raise ValueError when an input is of another datatype than image files."""
    if datatype != "BYTES":
        raise ValueError(
            f"{INPUT} has the datatype BYTES, not {shown(datatype)}: send image files as they are "
            "(JPEG, PNG and others), not their pixels; in JSON as base64."
        )


class InputTensor(_Strict):
    name: str
    datatype: str
    shape: list[int]
    data: Annotated[list[str] | None, BeforeValidator(_photos)] = Field(
        None, description="base64 of the image files"
    )
    parameters: InputParameters | None = None


class OutputTensor(_Strict):
    name: str
    parameters: OutputParameters | None = None


class ProtocolRequest(_Strict):
    """An inference request; a field that only other servers know is an error."""

    id: str | None = None
    model_name: str | None = Field(None, description="as in the path; kserve's clients repeat it")
    parameters: InferParameters | None = None
    inputs: list[InputTensor]
    outputs: list[OutputTensor] | None = None
