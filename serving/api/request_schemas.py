"""The bodies and options of HTTP requests; OpenAPI is made from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from serving.gallery.names import metadata_problem
from serving.gallery.retention import day, text_problem, utc
from serving.reading.names import NAME_CHARACTERS, name_problem
from serving.settings import MAX_FACES, MAX_ID
from serving.written import Written

T = TypeVar("T")


def _without(problem_of: Callable[[T], str | None]) -> AfterValidator:
    """A validator that refuses a value with a problem, in the problem's words."""

    def validated(value: T) -> T:
        if (problem := problem_of(value)) is not None:
            raise ValueError(problem)
        return value

    return AfterValidator(validated)


def _text_of_photo(value: object) -> object:
    if not isinstance(value, str):  # as a list of bytes, or an object of Node's Buffer
        raise ValueError("should be text, the bytes of the image file as base64")
    return value


Encoded = Annotated[str, BeforeValidator(_text_of_photo)]
PersonId = Annotated[int, Field(ge=0, le=MAX_ID)]
Name = Annotated[
    str,
    _without(name_problem),
    Field(
        # What of `serving.reading.names` a schema can say.
        json_schema_extra={
            "minLength": 1,
            "maxLength": NAME_CHARACTERS,
            "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$",
        }
    ),
]
PhotoId = Annotated[str, Written(r"^[0-9a-f]{16}$", "the id of a photo is 16 of 0-9 and a-f")]
Metadata = Annotated[dict[str, Any], _without(metadata_problem)]
Time = Annotated[str, AfterValidator(utc), Field(json_schema_extra={"format": "date-time"})]
Day = Annotated[str, AfterValidator(day), Field(json_schema_extra={"format": "date"})]
Text = Annotated[
    str,
    _without(text_problem),
    Field(json_schema_extra={"minLength": 1, "maxLength": NAME_CHARACTERS}),
]


class _Request(BaseModel):
    # Strict: true is no 1 and "1" is no 1; in JSON, 1 may stand for 1.0.
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class LegalBasisRequest(_Request):
    """Replaced as a whole."""

    kind: Literal[
        "consent",
        "contract",
        "legal-obligation",
        "vital-interests",
        "public-task",
        "legitimate-interests",
    ]
    reference: Text | None = Field(None, description="where the consent or the decision is kept")
    date: Day | None = Field(None, description="the day of the consent or the decision")
    text_version: Text | None = Field(None, description="of the text that the person agreed to")


_EXPIRES = (
    "RFC 3339 with a time zone: from this second on nobody is named as this person, and the "
    "maintenance erases the record"
)


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
    image: Encoded = Field(description="base64 of the image file; a data: URL too")


# What a line of a stream is called by its sender.
Ref = Annotated[
    str,
    _without(lambda text: (problem := name_problem(text)) and problem.replace("A name", "A ref")),
    Field(
        description="comes back in the line of the answer",
        json_schema_extra={"minLength": 1, "maxLength": NAME_CHARACTERS},
    ),
]


class InferLine(InferRequest):
    """A line of `/infer/stream`."""

    ref: Ref | None = None


class EncodedImage(_Request):
    image: Encoded = Field(description="base64 of the image file; a data: URL too")


class GenerateOptions(_Request):
    id: PersonId
    name: Name | None = None
    mode: Literal["replace", "append"] = Field(
        "replace", description="replace the person's photos, or add to them"
    )
    force: bool = Field(
        False, description="enrol whatever the quality of the photos and whatever conflicts"
    )
    expires_at: Time | None = Field(None, description=_EXPIRES)
    legal_basis: LegalBasisRequest | None = None


class GenerateRequest(GenerateOptions):
    images: list[EncodedImage] = Field(min_length=1)


class GenerateLine(GenerateRequest):
    """A line of `/generate/stream`."""

    ref: Ref | None = None


class DetectOptions(_Request):
    max_faces: int | None = Field(None, ge=1, le=MAX_FACES, description="the largest so many")


class DetectRequest(DetectOptions):
    image: Encoded = Field(description="base64 of the image file; a data: URL too")


class VerifyOptions(_Request):
    threshold: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="cosine from which on both are one person; default: the model's for two photos",
    )


class VerifyRequest(VerifyOptions):
    image_a: Encoded = Field(description="base64 of an image file; a data: URL too")
    image_b: Encoded = Field(description="base64 of another")


class IdentityPatch(_Request):
    """What is not given stays; null removes it."""

    name: Name | None = None
    metadata: Metadata | None = Field(None, description="replaced as a whole")
    expires_at: Time | None = Field(None, description=_EXPIRES)
    legal_basis: LegalBasisRequest | None = None


class MergeRequest(_Request):
    sources: list[PersonId] = Field(
        alias="from", min_length=1, max_length=100, description="they are gone afterwards"
    )


class MoveRequest(_Request):
    photos: list[PhotoId] = Field(min_length=1, max_length=1000, description="of this person")
    to: PersonId = Field(description="whose they are; enrolled if need be")


class UnmergeRequest(_Request):
    sources: list[PersonId] = Field(
        [], alias="from", max_length=100, description="only these; none: all of the last merge"
    )


class UndoRequest(_Request):
    version: int | None = Field(
        None, ge=1, description="that the change made; none: the person's last change"
    )


class DistinctRequest(_Request):
    others: list[PersonId] = Field(
        alias="from", min_length=1, max_length=100, description="none of them is this person"
    )
    threshold: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="cosine below which a pair is not proposed again, and a face that is like both "
        "is not named; default: halfway between their similarity and 1",
    )


class EmbeddingsRequest(_Request):
    """Embeddings that were made elsewhere, with this model."""

    model: str = Field(description="id of the model that made them")
    # FailFast: the error of one number is enough, of half a million that are wrong.
    embeddings: Annotated[list[Annotated[list[float], FailFast()]], FailFast()] = Field(
        min_length=1, max_length=1000
    )
    mode: Literal["append", "replace"] = "append"
