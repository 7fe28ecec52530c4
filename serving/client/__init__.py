"""A client of the HTTP API: blocking (`Client`) and for asyncio (`AsyncClient`).

    from serving.client import Client

    with Client("http://127.0.0.1:8000") as faces:
        faces.enrol(7, ["ada.jpg"], name="Ada")
        for face in faces.infer("photo.jpg")["faces"]:
            print(face["id"], face["confidence"], face["box"])

Importing it needs httpx and nothing else of the service; to send arrays or Pillow images needs
Pillow too.
"""

from serving.client.answers import (
    CandidateBody,
    ComparedFace,
    ConflictBody,
    DetectAnswer,
    DetectedFace,
    DuplicateBody,
    ErasureReceipt,
    FaceBody,
    GalleryReceipt,
    GenerateAnswer,
    Health,
    Identity,
    IdentityAnswer,
    ImageReport,
    InferAnswer,
    LegalBasis,
    LivenessBody,
    QualityBody,
    QualityReason,
    Ready,
    VerifyAnswer,
    WriteAnswer,
)
from serving.client.asynchronous import AsyncClient
from serving.client.errors import ClientError
from serving.client.photos import Photo
from serving.client.retry import Retry
from serving.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "CandidateBody",
    "Client",
    "ClientError",
    "ComparedFace",
    "ConflictBody",
    "DetectAnswer",
    "DetectedFace",
    "DuplicateBody",
    "ErasureReceipt",
    "FaceBody",
    "GalleryReceipt",
    "GenerateAnswer",
    "Health",
    "Identity",
    "IdentityAnswer",
    "ImageReport",
    "InferAnswer",
    "LegalBasis",
    "LivenessBody",
    "Photo",
    "QualityBody",
    "QualityReason",
    "Ready",
    "Retry",
    "VerifyAnswer",
    "WriteAnswer",
]
