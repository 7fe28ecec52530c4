"""One example of each operation, for OpenAPI; the tests carry all of them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving import __version__
from serving.api import v2_codec
from serving.api.example_photos import OTHER_PHOTO, PHOTO
from serving.api.parsing import NDJSON
from serving.api.v2_schemas import INPUT

_MODEL = "facenet-casia-webface@d89e293bc6bc"
_PERSON = 2576
_CONSENT = {
    "kind": "consent",
    "reference": "form 12",
    "date": "2026-01-31",
    "text_version": "3",
}
_IDENTITY = {
    "id": _PERSON,
    "name": "Jacinda Ardern",
    "metadata": {"desk": "4th floor"},
    "expires_at": "2099-01-31T00:00:00Z",
    "legal_basis": {**_CONSENT, "withdrawn_at": None},
    "distinct": [{"id": 106, "threshold": 0.95}],
    "photos": 1,
    "model": _MODEL,
    "created": 1767225600.0,
    "updated": 1767225600.0,
}
_PHOTO_FACE = {"box": [20, 14, 54, 58], "detection_score": 0.9992, "turn": 0}
_OTHER_FACE = {"box": [20, 15, 53, 58], "detection_score": 1.0, "turn": 0}
# Faces are not checked for attacks by default.
_LIVENESS = {"liveness": None}
_PHOTO_QUALITY = {
    "sufficient": True,
    "reasons": [],
    "side": 33.7,
    "sharpness": 0.0085,
    "evenness": 1.01,
    "tones": 4.98,
}
_OTHER_QUALITY = {
    **_PHOTO_QUALITY,
    "side": 32.4,
    "sharpness": 0.0088,
    "evenness": 1.04,
    "tones": 5.19,
}
_CANDIDATE = {"id": _PERSON, "name": "Jacinda Ardern", "similarity": 0.8051, "confidence": 0.9974}


@dataclass(frozen=True)
class Example:
    """What is sent and what comes back; ``parameters`` go into the path and the query.

    Attributes:
        media: of both; of a stream a line of each.
    """

    answer: Any
    body: Any = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    media: str = "application/json"


_ONE = {"id": _PERSON}
_V2 = {"name": v2_codec.MODEL}

INFER = Example(
    body={"image": PHOTO, "top_k": 1},
    answer={
        "faces": [
            {
                **_CANDIDATE,
                **_PHOTO_FACE,
                "candidates": [_CANDIDATE],
                "ambiguous": [],
                "quality": _PHOTO_QUALITY,
                **_LIVENESS,
            }
        ],
        "more_faces": False,
        "threshold": 0.63,
        "model": _MODEL,
        "gallery_version": 17,
    },
)
GENERATE = Example(
    body={
        "id": _PERSON,
        "name": "Jacinda Ardern",
        "images": [{"image": OTHER_PHOTO}],
        "expires_at": "2099-01-31T00:00:00Z",
        "legal_basis": _CONSENT,
    },
    answer={
        "id": _PERSON,
        "name": "Jacinda Ardern",
        "photos": 1,
        "expires_at": "2099-01-31T00:00:00Z",
        "images": [
            {"used": True, "reason": None, "gate": None, **_OTHER_FACE, **_LIVENESS, "faces": 1}
        ],
        "conflicts": [
            {
                "type": "already-enrolled",
                "images": [0],
                "similarity": 0.9997,
                "confidence": 0.9999,
                "id": 104,
                "name": "J. Ardern",
            }
        ],
        "model": _MODEL,
        "gallery_version": 17,
    },
)
INFER_STREAM = Example(
    body={"ref": "gate-3/0017.jpg", **INFER.body},
    answer={"index": 0, "ref": "gate-3/0017.jpg", **INFER.answer},
    media=NDJSON,
)
GENERATE_STREAM = Example(
    body={"ref": "row 17", **GENERATE.body},
    answer={"index": 0, "ref": "row 17", **GENERATE.answer},
    media=NDJSON,
)
VERIFY = Example(
    body={"image_a": PHOTO, "image_b": OTHER_PHOTO},
    answer={
        "same": True,
        "similarity": 0.8051,
        "confidence": 0.9978,
        "threshold": 0.45,
        "image_a": {**_PHOTO_FACE, "faces": 1, "quality": _PHOTO_QUALITY, **_LIVENESS},
        "image_b": {**_OTHER_FACE, "faces": 1, "quality": _OTHER_QUALITY, **_LIVENESS},
        "model": _MODEL,
    },
)
DETECT = Example(
    body={"image": PHOTO, "max_faces": 10},
    answer={
        "faces": [
            {
                **_PHOTO_FACE,
                "landmarks": [
                    [29.7, 31.5],
                    [46.3, 30.0],
                    [39.7, 41.1],
                    [31.3, 47.6],
                    [48.0, 45.9],
                ],
                "quality": _PHOTO_QUALITY,
            }
        ],
        "more_faces": False,
    },
)
COLLECTIONS = Example(answer={"collections": [{"name": "default", "models": [_MODEL]}]})
PEOPLE = Example(
    parameters={"limit": 100, "cursor": -1},
    answer={
        "identities": [_IDENTITY],
        "next": None,
        "total": 1,
        "days_kept": None,
        "model": _MODEL,
        "gallery_version": 17,
    },
)
DUPLICATES = Example(
    parameters={"limit": 100, "cursor": -1, "threshold": 0.63},
    answer={
        "duplicates": [
            {
                "a": {**_IDENTITY, "id": 104, "name": "J. Ardern"},
                "b": _IDENTITY,
                "similarity": 0.9997,
                "confidence": 0.9999,
            }
        ],
        "found": 1,
        "next": None,
        "threshold": 0.63,
        "total": 2,
        "model": _MODEL,
        "gallery_version": 17,
    },
)
PERSON = Example(parameters=_ONE, answer={**_IDENTITY, "gallery_version": 17})
DESCRIBE = Example(
    parameters=_ONE,
    body={
        "name": "Jacinda Ardern",
        "metadata": {"desk": "4th floor"},
        "expires_at": "2099-01-31T00:00:00Z",
        "legal_basis": _CONSENT,
    },
    answer={**_IDENTITY, "gallery_version": 18},
)
DELETE = Example(parameters={**_ONE, "erase": False}, answer={"gallery_version": 18})
WITHDRAW = Example(
    parameters=_ONE,
    answer={
        "id": _PERSON,
        "complete": True,
        "embeddings": 1,
        "galleries": [
            {
                "model": _MODEL,
                "embeddings": 1,
                "objects_rewritten": ["0a93d2c2b2a5470f8b5cbd1c7a4c5d4e"],
                "objects_removed": ["0a93d2c2b2a5470f8b5cbd1c7a4c5d4e"],
                "gallery_version": 20,
                "time": 1767225600.0,
                "sweep_until": 1767312000.0,
            }
        ],
        "left": [],
        "remains": ["Exports, backups and copies of the bucket that were made before."],
        "withdrawn_at": "2026-01-01T00:00:00Z",
    },
)
DELETE_ALL = Example(parameters={"confirm": "all"}, answer={"gallery_version": 18})
MERGE = Example(
    parameters=_ONE,
    body={"from": [104]},
    answer={**_IDENTITY, "photos": 2, "gallery_version": 18},
)
_PHOTO_ID = "f78a55649760489f"  # of the embedding below
PHOTOS = Example(
    parameters=_ONE,
    answer={
        "photos": [{"photo": _PHOTO_ID, "similarity": 0.0213}],
        "model": _MODEL,
        "gallery_version": 17,
    },
)
MOVE = Example(
    parameters=_ONE,
    body={"photos": [_PHOTO_ID], "to": 104},
    answer={**_IDENTITY, "id": 104, "name": "J. Ardern", "photos": 2, "gallery_version": 18},
)
DISTINCT = Example(
    parameters=_ONE,
    body={"from": [106], "threshold": 0.95},
    answer={**_IDENTITY, "gallery_version": 18},
)
SAME = Example(
    parameters={**_ONE, "other": 106},
    answer={**_IDENTITY, "distinct": [], "gallery_version": 18},
)
UNMERGE = Example(
    parameters=_ONE,
    body={"from": [105]},
    answer={"ids": [105, _PERSON], "undone": 17, "gallery_version": 18},
)
UNDO = Example(
    parameters=_ONE,
    body={},
    answer={"ids": [105, _PERSON], "undone": 17, "gallery_version": 18},
)
ADD = Example(
    parameters=_ONE,
    body={"model": _MODEL, "embeddings": [[1.0] + [0.0] * 511], "mode": "append"},
    answer={**_IDENTITY, "photos": 2, "gallery_version": 18},
)
AUDIT = Example(
    parameters={"person": _PERSON, "action": "identify"},
    answer={
        "records": [
            {
                "action": "identify",
                "outcome": "done",
                "key": "gate-3",
                "collection": "default",
                "ids": [_PERSON],
                "gallery_version": 17,
                "request_id": "5457fabe6cbf4b8f8a1b0b6a0e6d2f11",
                "began": "2026-01-01T00:00:00.000Z",
                "ended": "2026-01-01T00:00:00.141Z",
                "faces": 1,
                "model": _MODEL,
                "answers": [
                    {
                        "threshold": 0.6301,
                        "faces": [
                            {
                                "id": _PERSON,
                                "similarity": 0.8051,
                                "candidates": [{"id": _PERSON, "similarity": 0.8051}],
                            }
                        ],
                    }
                ],
            }
        ],
        "next": None,
        "since": "2025-12-25T00:00:00Z",
        "look_ups": True,
        "expired_before": None,
        "problems": [],
    },
)
CHAINS = Example(
    parameters={"days": 7},
    answer={
        "chains": [
            {
                "chain": "ingress-x4Z1-20260101T000000Z-5b0e21",
                "first": 1,
                "last": 12,
                "records": 40,
                "lost": 0,
                "ended": False,
                "problems": [],
            }
        ],
        "next": None,
        "expired_before": None,
    },
)
HEALTHZ = Example(answer={"status": "ok"})
READYZ = Example(
    answer={
        "ready": True,
        "checks": {
            "stages": "ok",
            "triton": "ok",
            "gallery": {
                "loaded": True,
                "version": 17,
                "people": 1,
                "photos": 1,
                "problem": None,
            },
        },
    }
)
V2_SERVER = Example(
    answer={
        "name": "facenet-serving",
        "version": __version__,
        "extensions": ["binary_tensor_data"],
    }
)
V2_LIVE = Example(answer={"live": True})
V2_READY = Example(answer={"ready": True})
V2_METADATA = Example(
    parameters=_V2,
    answer={
        "name": v2_codec.MODEL,
        "versions": [v2_codec.VERSION],
        "platform": "ray_serve",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": shape}
            for name, (datatype, shape) in v2_codec.OUTPUTS.items()
        ],
    },
)
V2_MODEL_READY = Example(parameters=_V2, answer={"name": v2_codec.MODEL, "ready": True})
V2_INFER = Example(
    parameters=_V2,
    body={
        "id": "job-7",
        "inputs": [{"name": INPUT, "shape": [1], "datatype": "BYTES", "data": [PHOTO]}],
        "outputs": [{"name": "PHOTO"}, {"name": "ID"}, {"name": "BOX"}],
    },
    answer={
        "id": "job-7",
        "model_name": v2_codec.MODEL,
        "model_version": v2_codec.VERSION,
        "outputs": [
            {"name": "PHOTO", "shape": [1], "datatype": "INT64", "data": [0]},
            {"name": "ID", "shape": [1], "datatype": "INT64", "data": [_PERSON]},
            {
                "name": "BOX",
                "shape": [1, 4],
                "datatype": "FP32",
                "data": [
                    20.26984214782715,
                    14.313480377197266,
                    53.93425369262695,
                    58.28868865966797,
                ],
            },
        ],
        "parameters": {"model": _MODEL, "gallery_version": 17, "more_faces": False},
    },
)
