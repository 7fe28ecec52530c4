"""The bodies of HTTP answers, made of what the pipeline reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from serving.api.schemas import (
    CandidateBody,
    ComparedFace,
    ConflictBody,
    DetectAnswer,
    DetectedFace,
    DistinctBody,
    ErasureReceipt,
    FaceBody,
    GalleryLeft,
    GalleryReceipt,
    GenerateAnswer,
    Identity,
    ImageReport,
    InferAnswer,
    LegalBasis,
    LivenessBody,
    QualityBody,
    QualityReason,
    VerifyAnswer,
)
from serving.gallery import Person
from serving.gallery.duplicates import SAME
from serving.gallery.erasure import Erasure
from serving.matching.records import Candidate, Conflict
from serving.model.liveness import Liveness
from serving.pipeline.reports import (
    NOT_LIVE_REASON,
    EnrolmentReport,
    Identified,
    PhotoReport,
)
from serving.pipeline.verification import Compared
from serving.settings import QualityLimits
from serving.vision.quality import Fault, faults
from serving.vision.records import Faces, Quality


def infer_answer(identified: Identified) -> InferAnswer:
    card, matches = identified.card, identified.matches

    def candidate(c: Candidate) -> CandidateBody:
        return CandidateBody(
            id=c.id,
            name=c.name,
            similarity=round(c.similarity, 4),
            confidence=round(card.confidence(c.similarity, matches.people), 4),
        )

    faces = []
    for index, (candidates, named) in enumerate(
        zip(matches.candidates, identified.named, strict=True)
    ):
        # A stranger gets no number that could be taken for a name's.
        known = candidate(named) if named else None
        faces.append(
            FaceBody(
                id=known.id if known else None,
                name=known.name if known else None,
                confidence=known.confidence if known else None,
                similarity=known.similarity if known else None,
                box=_box(identified.faces, index),
                detection_score=_score(identified.faces, index),
                candidates=[candidate(c) for c in candidates],
                ambiguous=[candidate(c) for c in identified.ambiguous.get(index, ())],
                quality=_quality(identified.faces.quality[index], identified.faults[index]),
                liveness=_liveness(identified.live(index)),
                turn=_turn(identified.faces, index),
            )
        )
    return InferAnswer(
        faces=faces,
        more_faces=identified.faces.more > 0,
        threshold=round(identified.threshold, 4),
        model=card.id,
        gallery_version=matches.gallery_version,
    )


def detect_answer(faces: Faces, limits: QualityLimits) -> DetectAnswer:
    """``limits`` are what a face has to show to be looked up."""
    return DetectAnswer(
        faces=[
            DetectedFace(
                box=_box(faces, index),
                detection_score=_score(faces, index),
                landmarks=[[round(v, 1) for v in p] for p in faces.landmarks[index].tolist()],
                quality=_quality(faces.quality[index], faults(faces.quality[index], limits)),
                turn=_turn(faces, index),
            )
            for index in range(len(faces))
        ],
        more_faces=faces.more > 0,
    )


def verify_answer(compared: Compared, threshold: float) -> VerifyAnswer:
    """``threshold`` is the cosine from which on both are one person."""

    def face_of(photo: PhotoReport, poor: Sequence[Fault], live: Liveness | None) -> ComparedFace:
        assert photo.face is not None
        return ComparedFace(
            box=_box(photo.face, 0),
            detection_score=_score(photo.face, 0),
            faces=photo.faces,
            quality=_quality(photo.face.quality[0], poor),
            liveness=_liveness(live),
            turn=_turn(photo.face, 0),
        )

    similarity, card, told = compared.similarity, compared.card, compared.sufficient
    live = compared.liveness or (None, None)
    confidence = card.pairs.calibration.probability(similarity)
    return VerifyAnswer(
        same=similarity >= min(threshold, SAME) if told else None,
        similarity=round(similarity, 4) if told else None,
        confidence=round(confidence, 4) if told else None,
        threshold=threshold,
        image_a=face_of(compared.photos[0], compared.faults[0], live[0]),
        image_b=face_of(compared.photos[1], compared.faults[1], live[1]),
        model=card.id,
    )


def generate_answer(person: int, report: EnrolmentReport) -> GenerateAnswer:
    return GenerateAnswer(
        id=person,
        name=report.enrolled.name,
        photos=report.enrolled.photos,
        images=image_reports(report.photos),
        expires_at=report.enrolled.expires_at,
        conflicts=None
        if report.enrolled.conflicts is None
        else conflict_bodies(report.enrolled.conflicts, report.photos),
        model=report.card.id,
        gallery_version=report.enrolled.gallery_version,
    )


def image_reports(photos: Sequence[PhotoReport]) -> list[ImageReport]:
    return [
        ImageReport(
            used=photo.used,
            reason=photo.reason,
            gate=photo.gate,
            box=None if photo.face is None else _box(photo.face, 0),
            detection_score=None if photo.face is None else _score(photo.face, 0),
            faces=photo.faces,
            turn=None if photo.face is None else _turn(photo.face, 0),
            liveness=_liveness(photo.liveness),
        )
        for photo in photos
    ]


def conflict_bodies(
    conflicts: Sequence[Conflict], photos: Sequence[PhotoReport]
) -> list[ConflictBody]:
    """``photos`` are those of the request; conflicts count only those that were used."""
    used = [place for place, photo in enumerate(photos) if photo.used]
    return [
        ConflictBody(
            type=conflict.kind.value,
            images=[used[n] for n in conflict.photos],
            similarity=round(conflict.similarity, 4),
            confidence=round(conflict.confidence, 4),
            id=conflict.id,
            name=conflict.name,
        )
        for conflict in conflicts
    ]


def _box(faces: Faces, index: int) -> list[int]:
    return [round(v) for v in faces.boxes[index].tolist()]


def _quality(quality: Quality, poor: Sequence[Fault]) -> QualityBody:
    return QualityBody(
        sufficient=not poor,
        reasons=[QualityReason(gate=fault.gate, reason=fault.sentence) for fault in poor],
        side=round(quality.side, 1),
        sharpness=round(quality.sharpness, 4),
        evenness=round(quality.evenness, 2),
        tones=round(quality.tones, 2),
    )


def _liveness(verdict: Liveness | None) -> LivenessBody | None:
    if verdict is None:
        return None
    score = None if verdict.score is None else round(verdict.score, 4)
    return LivenessBody(
        live=verdict.live, score=score, reason=None if verdict.live else NOT_LIVE_REASON
    )


def _turn(faces: Faces, index: int) -> int:
    return int(faces.turns[index])


def _score(faces: Faces, index: int) -> float:
    return round(float(faces.scores[index]), 4)


def identity_of(person: Person, model: str) -> Identity:
    return Identity(
        id=person.id,
        name=person.name,
        metadata=person.metadata,
        expires_at=person.expires_at,
        legal_basis=LegalBasis(**person.legal_basis) if person.legal_basis else None,
        distinct=[
            DistinctBody(id=other, threshold=round(threshold, 4))
            for other, threshold in sorted(person.distinct.items())
        ],
        photos=person.photos,
        model=model,
        created=person.created,
        updated=person.updated,
    )


_REMAINS = [
    "Exports, backups and copies of the bucket that were made before.",
    "Until `sweep_until`: objects that a process which had read before uploads and then leaves.",
    "The memory of each matcher until it looks at the gallery the next time, which it does with "
    "every request and health check.",
    "Freed blocks of the disks below the object store.",
    "Lines of the log that have the id, and exports of the audit.",
]


def receipt_body(person: int, erasure: Erasure, withdrawn_at: str | None = None) -> ErasureReceipt:
    return ErasureReceipt(
        id=person,
        complete=not erasure.left,
        embeddings=sum(r.embeddings for r in erasure.receipts),
        galleries=[GalleryReceipt(**dataclasses.asdict(r)) for r in erasure.receipts],
        left=[GalleryLeft(**dataclasses.asdict(gallery)) for gallery in erasure.left],
        remains=_REMAINS,
        withdrawn_at=withdrawn_at,
    )
