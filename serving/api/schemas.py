"""The bodies of HTTP answers; OpenAPI is made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

Box = Annotated[
    list[int],
    Field(
        min_length=4,
        max_length=4,
        description="x1, y1, x2, y2 in pixels of the upright photo",
    ),
]


Turn = Annotated[
    int,
    Field(
        description="degrees, clockwise, by which the photo has to be turned for the face to stand "
        "upright: 0, 90, 180 or 270",
    ),
]

GateName = Literal[
    "too-small", "too-turned", "too-blurred", "pixelated", "too-few-tones", "uninformative"
]


class QualityReason(BaseModel):
    gate: GateName
    reason: str = Field(description="a sentence for people")


class QualityBody(BaseModel):
    """How much a face shows; see docs/quality.md."""

    sufficient: bool = Field(description="false: too poor to say who it is")
    reasons: list[QualityReason] = Field(description="why it is not sufficient")
    side: float = Field(description="the box's shorter side, in pixels")
    sharpness: float = Field(description="low: blurred")
    evenness: float = Field(description="how evenly edges are spread; about 1, low: pixelated")
    tones: float = Field(description="entropy of the grey values, bits; low: black and white")


class LivenessBody(BaseModel):
    """Whether the liveness model takes a face for one that was there; see docs/liveness.md."""

    live: bool = Field(
        description="false: it is taken for an attack, so the face has neither name nor candidates"
    )
    score: float | None = Field(
        description="the model's probability of live, 0 to 1; null: this key may not know it"
    )
    reason: str | None = Field(description="a sentence for people; null: it is live")


LivenessOfFace = Annotated[
    LivenessBody | None,
    Field(description="null: faces are not checked for attacks"),
]


class CandidateBody(BaseModel):
    id: int
    name: str | None
    similarity: float = Field(description="cosine, -1 to 1")
    confidence: float = Field(description="calibrated probability of being this person")


class FaceBody(BaseModel):
    id: int | None = Field(
        description="null: nobody enrolled is similar enough, or the face is ambiguous, too poor "
        "to say, or not live"
    )
    name: str | None
    confidence: float | None
    similarity: float | None
    box: Box
    detection_score: float
    candidates: list[CandidateBody] = Field(
        description="none where the quality is insufficient, or the face is not live"
    )
    ambiguous: list[CandidateBody] = Field(
        description="those between whom the model cannot decide, the nearest first, whatever "
        "`top_k`; empty: there is no doubt. By default such a face has no name. One alone: the "
        "others are below the threshold, and this key may not know them"
    )
    quality: QualityBody
    liveness: LivenessOfFace
    turn: Turn


class InferAnswer(BaseModel):
    faces: list[FaceBody] = Field(description="largest first")
    more_faces: bool = Field(
        description="the photo shows more faces than are told: `max_faces` or the service's limit"
    )
    threshold: float = Field(description="cosine from which on a face was named")
    model: str
    gallery_version: int


class DetectedFace(BaseModel):
    box: Box
    detection_score: float
    landmarks: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        min_length=5,
        max_length=5,
        description="x, y in pixels of the upright photo: the eyes, the nose, the corners of the "
        "mouth; of two the left one first, as the photo shows them once the face is upright",
    )
    quality: QualityBody = Field(description="of the crop alone: `uninformative` takes a look-up")
    turn: Turn


class DetectAnswer(BaseModel):
    faces: list[DetectedFace] = Field(description="largest first")
    more_faces: bool = Field(
        description="the photo shows more faces than are told: `max_faces` or the service's limit"
    )


class ComparedFace(BaseModel):
    """The largest face of one photo."""

    box: Box
    detection_score: float
    faces: int = Field(description="faces in the photo")
    quality: QualityBody
    liveness: LivenessOfFace
    turn: Turn


class VerifyAnswer(BaseModel):
    same: bool | None = Field(
        description="the similarity reaches the threshold; null: a face is too poor to say, see "
        "its quality, or not live"
    )
    similarity: float | None = Field(description="cosine, -1 to 1; null with `same`")
    confidence: float | None = Field(
        description="calibrated probability that both are one person; null with `same`"
    )
    threshold: float
    image_a: ComparedFace
    image_b: ComparedFace
    model: str


class ImageReport(BaseModel):
    """What became of one photo."""

    used: bool
    reason: str | None = Field(None, description="why it was not used")
    gate: Literal[GateName, "not-live"] | None = Field(
        None, description="what kept it out; `force` lets it in, but not one that is `not-live`"
    )
    box: Box | None = None
    detection_score: float | None = None
    faces: int = Field(0, description="faces in the photo; the largest is taken")
    turn: Turn | None = None
    liveness: LivenessOfFace = None


class ConflictBody(BaseModel):
    """What speaks against an enrolment."""

    type: Literal["other-person", "already-enrolled"] = Field(
        description="other-person: a photo shows somebody else than the person's other photos; "
        "already-enrolled: photos show somebody who is enrolled under another id"
    )
    images: list[int] = Field(description="which photos of the request, from 0")
    similarity: float = Field(
        description="cosine, to the other photos or to who is enrolled; the highest of the photos"
    )
    confidence: float = Field(description="calibrated probability that it is the same person")
    id: int | None = Field(description="who is enrolled already")
    name: str | None


class GenerateAnswer(BaseModel):
    id: int
    name: str | None
    photos: int | None = Field(
        description="of this person in the gallery now; null: written, but not read back yet"
    )
    images: list[ImageReport] = Field(description="in the order of the request")
    expires_at: str | None = Field(description="RFC 3339, UTC; null: no end, or not read back yet")
    conflicts: list[ConflictBody] | None = Field(
        description="all the same enrolled; null: written, but they could not be looked for"
    )
    model: str
    gallery_version: int


class LegalBasis(BaseModel):
    kind: str = Field(description="consent, contract, …")
    reference: str | None = None
    date: str | None = Field(None, description="the day of the consent or the decision")
    text_version: str | None = None
    withdrawn_at: str | None = Field(
        None, description="RFC 3339, UTC; the erasure that followed was not complete"
    )


class DistinctBody(BaseModel):
    """Somebody who is known not to be this person."""

    id: int
    threshold: float = Field(
        description="cosine below which the two are not proposed as duplicates, and a face that is "
        "like both is not named"
    )


class Identity(BaseModel):
    id: int
    name: str | None
    metadata: dict[str, Any]
    expires_at: str | None = Field(
        description="RFC 3339, UTC; from then on nobody is named as this person; null: no end"
    )
    legal_basis: LegalBasis | None
    distinct: list[DistinctBody]
    photos: int
    model: str
    created: float = Field(description="seconds since 1970")
    updated: float = Field(description="seconds since 1970")


class IdentityAnswer(Identity):
    gallery_version: int


class PhotoBody(BaseModel):
    """An enrolled photo, of which only the embedding is kept."""

    photo: str = Field(description="its id: a hash of the embedding")
    similarity: float | None = Field(
        description="cosine to the person's other photos; low: it may show somebody else; null: "
        "there is no other"
    )


class PhotosAnswer(BaseModel):
    photos: list[PhotoBody] = Field(description="in the order of their enrolment")
    model: str
    gallery_version: int


class UndoneAnswer(BaseModel):
    ids: list[int] = Field(description="who has changed; some may be enrolled again, or gone")
    undone: int = Field(description="the version of the gallery whose change was undone")
    gallery_version: int


class CollectionBody(BaseModel):
    name: str
    models: list[str] = Field(description="ids of the models that it has a gallery of")


class CollectionsAnswer(BaseModel):
    collections: list[CollectionBody]


class IdentitiesAnswer(BaseModel):
    identities: list[Identity] = Field(description="in the order of their ids")
    next: int | None = Field(description="the cursor of the next page; null: this is the last")
    total: int = Field(
        description="people in the gallery; with `expires_before` those whom that leaves"
    )
    days_kept: int | None = Field(
        description="by the settings, for how many days a person is kept who is enrolled without "
        "an `expires_at`; null: without an end"
    )
    model: str
    gallery_version: int


class DuplicateBody(BaseModel):
    """Two people who may be one."""

    a: Identity = Field(description="of the two ids the lower one")
    b: Identity
    similarity: float = Field(description="cosine of the two, -1 to 1")
    confidence: float = Field(description="calibrated probability that they are one person")


class DuplicatesAnswer(BaseModel):
    duplicates: list[DuplicateBody] = Field(description="most alike first")
    found: int = Field(description="in this page; more than are told where `limit` was reached")
    next: int | None = Field(description="the cursor of the next page; null: this is the last")
    threshold: float = Field(description="cosine from which on two people are told")
    total: int = Field(description="people in the gallery")
    model: str
    gallery_version: int


class AuditAnswer(BaseModel):
    records: list[dict[str, Any]] = Field(
        description="newest first; an `id` that is text is a pseudonym: the person was erased"
    )
    next: str | None = Field(
        description="the cursor of the next page, which may hold records although this one has "
        "none; null: all was searched"
    )
    since: str = Field(description="RFC 3339, UTC: nothing before it was searched")
    look_ups: bool = Field(description="whether this service records look-ups, too")
    expired_before: str | None = Field(
        description="a day: what is older was removed by the retention of the audit"
    )
    problems: list[str] = Field(description="objects that could not be read")


class ChainBody(BaseModel):
    """One chain of objects: what one replica wrote from one of its starts on."""

    chain: str
    first: int = Field(description="number of the first object that was checked")
    last: int = Field(description="number of the last one")
    records: int
    lost: int = Field(description="records that the replica had to drop")
    ended: bool = Field(description="false: the replica runs, or it was killed")
    problems: list[str] = Field(description="what is missing or was changed; empty: nothing")


class ChainsAnswer(BaseModel):
    chains: list[ChainBody] = Field(description="in the order of their names")
    next: str | None = Field(description="the cursor of the next page; null: this is the last")
    expired_before: str | None = Field(
        description="a day: what is older was removed by the retention of the audit"
    )


class WriteAnswer(BaseModel):
    gallery_version: int


class GalleryReceipt(BaseModel):
    model: str
    embeddings: int = Field(description="removed from the objects")
    objects_rewritten: list[str]
    objects_removed: list[str]
    gallery_version: int
    time: float = Field(description="seconds since 1970")
    sweep_until: float = Field(
        description="until then a process that had read before may leave an object that "
        "nobody reads; the maintenance removes it"
    )


class GalleryLeft(BaseModel):
    gallery: str = Field(description="collection and model")
    problem: str


class ErasureReceipt(BaseModel):
    """After it, no object of the galleries in it holds the embeddings; `remains` says what else
    may."""

    id: int
    complete: bool = Field(description="false, with status 207: `left` names where it failed")
    embeddings: int = Field(description="removed in all")
    galleries: list[GalleryReceipt] = Field(description="one for each model that knew the person")
    left: list[GalleryLeft] = Field(description="to be erased again when they are mended")
    remains: list[str] = Field(description="what an erasure does not reach")
    withdrawn_at: str | None = Field(
        None, description="RFC 3339, UTC: when the consent was withdrawn"
    )


class Problem(BaseModel):
    """RFC 9457, application/problem+json."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    images: list[ImageReport] | None = None
    conflicts: list[ConflictBody] | None = None


class StreamEnd(BaseModel):
    """The last line of the answer to a stream. An answer without it is cut."""

    done: bool = Field(description="false: the lines behind these were not read")
    lines: int = Field(description="answers before this one")
    errors: int = Field(description="how many of them are problems")
    problem: Problem | None = Field(None, description="why the stream was not read to its end")


class Ready(BaseModel):
    ready: bool
    checks: dict[str, Any]
