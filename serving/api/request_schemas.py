"""The bodies and options of HTTP requests; OpenAPI is made from them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, field_validator

from serving.settings import MAX_FACES, MAX_ID

PersonId = Annotated[int, Field(strict=True, ge=0, le=MAX_ID)]
# Without control characters: a terminal that lists people would obey them.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]

_METADATA_BYTES = 4096


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class InferOptions(_Request):
    """Fields of the JSON body, or query parameters beside a raw or multipart body."""

    top_k: int = Field(1, ge=1, le=100, description="candidates that are told for each face")
    threshold: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="cosine from which on a face is named; default: the model's; -1: always; "
        "of a key that may only identify not below the default",
    )
    max_faces: int | None = Field(None, ge=1, le=MAX_FACES, description="the largest so many")


class InferRequest(InferOptions):
    image: str = Field(description="base64 of the image file; a data: URL too")


class EncodedImage(_Request):
    image: str = Field(description="base64 of the image file; a data: URL too")


class GenerateOptions(_Request):
    id: PersonId
    name: Name | None = None
    mode: Literal["replace", "append"] = Field(
        "replace", description="replace the person's photos, or add to them"
    )
    force: bool = Field(
        False, description="enrol whatever the quality of the photos and whatever conflicts"
    )


class GenerateRequest(GenerateOptions):
    images: list[EncodedImage] = Field(min_length=1)


class DetectOptions(_Request):
    max_faces: int | None = Field(None, ge=1, le=MAX_FACES, description="the largest so many")


class DetectRequest(DetectOptions):
    image: str = Field(description="base64 of the image file; a data: URL too")


class VerifyOptions(_Request):
    threshold: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="cosine from which on both are one person; default: the model's for two photos",
    )


class VerifyRequest(VerifyOptions):
    image_a: str = Field(description="base64 of an image file; a data: URL too")
    image_b: str = Field(description="base64 of another")


class IdentityPatch(_Request):
    """What is not given stays; null removes it."""

    name: Name | None = None
    metadata: dict[str, Any] | None = Field(None, description="replaced as a whole")

    @field_validator("metadata")
    @classmethod
    def _small(cls, metadata: dict[str, Any] | None) -> dict[str, Any] | None:
        if len(json.dumps(metadata, allow_nan=False)) > _METADATA_BYTES:
            raise ValueError(f"metadata is longer than {_METADATA_BYTES} bytes of JSON")
        return metadata


class MergeRequest(_Request):
    sources: list[PersonId] = Field(
        alias="from", min_length=1, max_length=100, description="they are gone afterwards"
    )


class EmbeddingsRequest(_Request):
    """Embeddings that were made elsewhere, with this model."""

    model: str = Field(description="id of the model that made them")
    # FailFast: the error of one number is enough, of half a million that are wrong.
    embeddings: Annotated[list[Annotated[list[float], FailFast()]], FailFast()] = Field(
        min_length=1, max_length=1000
    )
    mode: Literal["append", "replace"] = "append"
