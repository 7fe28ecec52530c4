"""Typed dictionaries for the JSON bodies of the API's answers.

The names and fields are those of `serving.api.schemas`, which says what each of them means; a
newer service may send additional fields.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

GateName = Literal[
    "too-small", "too-turned", "too-blurred", "pixelated", "too-few-tones", "uninformative"
]


class QualityReason(TypedDict):
    gate: GateName
    reason: str


class QualityBody(TypedDict):
    sufficient: bool
    reasons: list[QualityReason]
    side: float
    sharpness: float
    evenness: float
    tones: float


class LivenessBody(TypedDict):
    live: bool
    score: float | None
    reason: str | None


class CandidateBody(TypedDict):
    id: int
    name: str | None
    similarity: float
    confidence: float


class FaceBody(TypedDict):
    id: int | None
    name: str | None
    confidence: float | None
    similarity: float | None
    box: list[int]
    detection_score: float
    candidates: list[CandidateBody]
    ambiguous: list[CandidateBody]
    quality: QualityBody
    liveness: LivenessBody | None
    turn: int


class InferAnswer(TypedDict):
    faces: list[FaceBody]
    more_faces: bool
    threshold: float
    model: str
    gallery_version: int


class DetectedFace(TypedDict):
    box: list[int]
    detection_score: float
    landmarks: list[list[float]]
    quality: QualityBody
    turn: int


class DetectAnswer(TypedDict):
    faces: list[DetectedFace]
    more_faces: bool


class ComparedFace(TypedDict):
    box: list[int]
    detection_score: float
    faces: int
    quality: QualityBody
    liveness: LivenessBody | None
    turn: int


class VerifyAnswer(TypedDict):
    same: bool | None
    similarity: float | None
    confidence: float | None
    threshold: float
    image_a: ComparedFace
    image_b: ComparedFace
    model: str


class ImageReport(TypedDict):
    used: bool
    reason: str | None
    gate: Literal[GateName, "not-live"] | None
    box: list[int] | None
    detection_score: float | None
    faces: int
    turn: int | None
    liveness: LivenessBody | None


class ConflictBody(TypedDict):
    type: Literal["other-person", "already-enrolled"]
    images: list[int]
    similarity: float
    confidence: float
    id: int | None
    name: str | None


class GenerateAnswer(TypedDict):
    id: int
    name: str | None
    photos: int | None
    images: list[ImageReport]
    expires_at: str | None
    conflicts: list[ConflictBody] | None
    model: str
    gallery_version: int


class LegalBasis(TypedDict):
    kind: str
    reference: str | None
    date: str | None
    text_version: str | None
    withdrawn_at: str | None


class DistinctBody(TypedDict):
    id: int
    threshold: float


class Identity(TypedDict):
    id: int
    name: str | None
    metadata: dict[str, Any]
    expires_at: str | None
    legal_basis: LegalBasis | None
    distinct: list[DistinctBody]
    photos: int
    model: str
    created: float
    updated: float


class IdentityAnswer(Identity):
    gallery_version: int


class PhotoBody(TypedDict):
    photo: str
    similarity: float | None


class PhotosAnswer(TypedDict):
    photos: list[PhotoBody]
    model: str
    gallery_version: int


class UndoneAnswer(TypedDict):
    ids: list[int]
    undone: int
    gallery_version: int


class IdentitiesAnswer(TypedDict):
    identities: list[Identity]
    next: int | None
    total: int
    days_kept: int | None
    model: str
    gallery_version: int


class DuplicateBody(TypedDict):
    a: Identity
    b: Identity
    similarity: float
    confidence: float


class DuplicatesAnswer(TypedDict):
    duplicates: list[DuplicateBody]
    found: int
    next: int | None
    threshold: float
    total: int
    model: str
    gallery_version: int


class AuditAnswer(TypedDict):
    records: list[dict[str, Any]]
    next: str | None
    since: str
    look_ups: bool
    expired_before: str | None
    problems: list[str]


class ChainBody(TypedDict):
    chain: str
    first: int
    last: int
    records: int
    lost: int
    ended: bool
    problems: list[str]


class ChainsAnswer(TypedDict):
    chains: list[ChainBody]
    next: str | None
    expired_before: str | None


class WriteAnswer(TypedDict):
    gallery_version: int


class GalleryReceipt(TypedDict):
    model: str
    embeddings: int
    objects_rewritten: list[str]
    objects_removed: list[str]
    gallery_version: int
    time: float
    sweep_until: float


class GalleryLeft(TypedDict):
    gallery: str
    problem: str


class ErasureReceipt(TypedDict):
    id: int
    complete: bool
    embeddings: int
    galleries: list[GalleryReceipt]
    left: list[GalleryLeft]
    remains: list[str]
    withdrawn_at: str | None


class Ready(TypedDict):
    ready: bool
    checks: dict[str, Any]


class Health(TypedDict):
    status: str
