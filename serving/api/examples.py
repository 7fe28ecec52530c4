"""One example of each operation, for OpenAPI; the tests carry all of them out.

The photos are two of ``data/2576``, in grey and 72 pixels wide; `data/CREDITS.md` has their source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving import __version__
from serving.api import v2_codec

PHOTO = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA4KCw0LCQ4NDA0QDw4RFiQXFhQUFiwgIRokNC43NjMuMjI6QVNGOj1OPj"
    "IySGJJTlZYXV5dOEVmbWVabFNbXVn/wAALCABIAEgBAREA/8QAGwAAAgMBAQEAAAAAAAAAAAAABAUAAwYBBwL/xAAx"
    "EAACAQMCBQMCAwkAAAAAAAABAgMABBEFIRITMUFRImFxFEIGgbEkMjNic5GSoaL/2gAIAQEAAD8A82r1CA/skP8ATX"
    "9BSTWdTMTG3hbDfew7ewpM8juBuxGM0K7HO9W217NbNmJzjup3BrQWd1HewDh9JXqp7Gq9RObC5bORyyKxlSvSJbgW"
    "2lpKftiXHzgVkbaN726PdmOWNai00uKFAWHExHeqbvSIJSTw4+Kz+oaa1p64ySvcVRY3RtrlWz6Ts3xTzUGD6dORjB"
    "jJGO+1Y6pWz12fh0y2iHVkUn8lFc/DcSLbmTA42O5p+CaqkB80vvIubGV65rISqY5GQ7FTimdvOZNIuYyd0jP9qz9S"
    "tJq0nMmhTskKj/VE6FKY7FjjJVulfNzrE5l4I5wvsq7UZb3U01q7Nksg3OOtKJprt5ctziM9F2AoG+VuJZGVlLbHi6"
    "1VDLwRzDsyEUFUp3dNm6+EUf8AIo3QZF5ksDjIO+PIp4NPh2bKovgKP1r6jCMGEeCpBAIoM/TGXgl2kxnrjNK9bVPp"
    "/T9pGKz7bA/FU1KaczmyO38oqy0lMN7Gy7Fts04uLyZkAkPLQnBauSScCL9NLKBjoEOKGlJEIzHMXLbMy96FvVbkjm"
    "tgkilbgcJoepTaKExW6yPsZBkD2qiWUq/p2rQ2VzHdQhXAJIwQfNWie5t15cZJxsAVztVEj3E0gaYttvuMAUl1ScSy"
    "hFOQvX5oAnCmqqlMjMTGgLZ4QAKHcd/NMLVWMavGSDTWLUpokw659xQt3fSzow/dUDc0gPU1044G+KoqVeJlxg5qGV"
    "T5o+zv4IFAcv8AktENqlmc/wAT/Gh57+BomVOPJ8rS0uue9dMilT5qqv/Z"
)
OTHER_PHOTO = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA4KCw0LCQ4NDA0QDw4RFiQXFhQUFiwgIRokNC43NjMuMjI6QVNGOj1OPj"
    "IySGJJTlZYXV5dOEVmbWVabFNbXVn/wAALCABIAEgBAREA/8QAGgAAAwEBAQEAAAAAAAAAAAAABAUGBwMCAf/EADMQ"
    "AAIBAwIEAwcEAQUAAAAAAAECAwAEEQUxEhMhQQYiYRQVMkJRcZEjJYGhJENSscHw/9oACAEBAAA/AM3G4rbzFFwj9K"
    "PYfKKDvZba1iMkqIBsAFGSaSXeqpw4hgRW3JKg4pd72kz1jiceqAU1tNVtbx+AxRxSsdmAIP2NFuiZP6a47eQVwZEI"
    "xy1GRk9BSHxQo91MQqjEijIG+9Ro3FbiT5B9hUTqt499qLBG8inhQD/n+aMt9FkuIi0uVBHSgrvQbhSTGwP3pRKksD"
    "mOZeFxt61RaTf+1W/LkYmSPv3I+tGuck4+I9R6Ug8UnOk7586/91GDcVsuqzmDTZXBw3Bgfc9KmPDNpz55J5PhU8Kj"
    "1quBAGANq4y9e1Tuv2vMgaRR5k61O2ly1vcpKh+4+oqtEgkiV1+bqCKQ+Jz+09NuYN9+9Rw3Fap4ll4bKKPPxsP6FL"
    "/DMojS4RjjgfP8Uwutb5LhY4Qc7FmwfxXv3hzLVpgPh3H0NIpdVnklZXOF/wBqpmkF0nIuGAzw5yPsaf6Lc8y1MZyS"
    "m3oKH8TnOkHGSONTn81GjcVpXidvNaj/AN2oHQ5ETUJYm/1QCKde5Ld5DIFUknJZySfxRCQRpG8cYGMdvShAtuXZeI"
    "q67qDipvxJGvNiZcZIIpbp941pPxdiMMPSmXiGZJtE4o2VlLr1H81IDcVofiaVTeWsYPUKP7pOsvs9xFP1BRqpJ9Rl"
    "5GPgXHV+wrm0rJCotZZcY68KEj70JOJAkY5M3MY4DvgUr1cKhQSueLBIpSVDYP8AYr1cj9qmPF0Drgfmkw3FWDPJqW"
    "oSXLdFjGT6DsK4Xc3LUcIGc96caLfpLbJFNjiAwc9xTL/JiBS3L8PygDIFDSpOHMtyx6DdjUlqdz7Vdll+BfKtDLxD"
    "GKMvoFXQ+d87MoI/k1P1UwvLAjcwled8vc0LMRISc7DpRmlIJYyuzKcinUVxdW6cIbiA+tCXk800TmQ4UAnFTB+Ku0"
    "Z7EbUw1plfRSydFZ1OPzUsN6q72KXyScJ4cbk9aESIy5GcBR1NNtItSF4h14j2py8flDY3FAX0R9kdh3IAqZ5I5rBj"
    "ivnC3mA+JdvUVxubhzYPEduIHH0r/9k="
)

_MODEL = "facenet-casia-webface@d89e293bc6bc"
_PERSON = 2576
_IDENTITY = {
    "id": _PERSON,
    "name": "Jacinda Ardern",
    "metadata": {"desk": "4th floor"},
    "photos": 1,
    "model": _MODEL,
    "created": 1767225600.0,
    "updated": 1767225600.0,
}
_PHOTO_FACE = {"box": [20, 14, 54, 58], "detection_score": 0.9992}
_OTHER_FACE = {"box": [20, 15, 53, 58], "detection_score": 1.0}
_CANDIDATE = {"id": _PERSON, "name": "Jacinda Ardern", "similarity": 0.8051, "confidence": 0.9974}


@dataclass(frozen=True)
class Example:
    """What is sent and what comes back; ``parameters`` go into the path and the query."""

    answer: Any
    body: Any = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


_ONE = {"id": _PERSON}
_V2 = {"name": v2_codec.MODEL}

EXAMPLES: Mapping[tuple[str, str], Example] = {
    ("post", "/infer"): Example(
        body={"image": PHOTO, "top_k": 1},
        answer={
            "faces": [{**_CANDIDATE, **_PHOTO_FACE, "candidates": [_CANDIDATE]}],
            "threshold": 0.63,
            "model": _MODEL,
            "gallery_version": 17,
        },
    ),
    ("post", "/generate"): Example(
        body={"id": _PERSON, "name": "Jacinda Ardern", "images": [{"image": OTHER_PHOTO}]},
        answer={
            "id": _PERSON,
            "name": "Jacinda Ardern",
            "photos": 1,
            "images": [{"used": True, "reason": None, "gate": None, **_OTHER_FACE, "faces": 1}],
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
    ),
    ("post", "/verify"): Example(
        body={"image_a": PHOTO, "image_b": OTHER_PHOTO},
        answer={
            "same": True,
            "similarity": 0.8051,
            "confidence": 0.9978,
            "threshold": 0.45,
            "image_a": {**_PHOTO_FACE, "faces": 1},
            "image_b": {**_OTHER_FACE, "faces": 1},
            "model": _MODEL,
        },
    ),
    ("post", "/detect"): Example(
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
                }
            ]
        },
    ),
    ("get", "/collections"): Example(
        answer={"collections": [{"name": "default", "models": [_MODEL]}]}
    ),
    ("get", "/identities"): Example(
        parameters={"limit": 100, "cursor": -1},
        answer={
            "identities": [_IDENTITY],
            "next": None,
            "total": 1,
            "model": _MODEL,
            "gallery_version": 17,
        },
    ),
    ("get", "/duplicates"): Example(
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
    ),
    ("get", "/identities/{id}"): Example(
        parameters=_ONE, answer={**_IDENTITY, "gallery_version": 17}
    ),
    ("patch", "/identities/{id}"): Example(
        parameters=_ONE,
        body={"name": "Jacinda Ardern", "metadata": {"desk": "4th floor"}},
        answer={**_IDENTITY, "gallery_version": 18},
    ),
    ("delete", "/identities/{id}"): Example(
        parameters={**_ONE, "erase": False}, answer={"gallery_version": 18}
    ),
    ("delete", "/identities"): Example(
        parameters={"confirm": "all"}, answer={"gallery_version": 18}
    ),
    ("post", "/identities/{id}/merge"): Example(
        parameters=_ONE,
        body={"from": [104]},
        answer={**_IDENTITY, "photos": 2, "gallery_version": 18},
    ),
    ("post", "/identities/{id}/embeddings"): Example(
        parameters=_ONE,
        body={"model": _MODEL, "embeddings": [[1.0] + [0.0] * 511], "mode": "append"},
        answer={**_IDENTITY, "photos": 2, "gallery_version": 18},
    ),
    ("get", "/healthz"): Example(answer={"status": "ok"}),
    ("get", "/readyz"): Example(
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
    ),
    ("get", "/v2"): Example(
        answer={
            "name": "facenet-serving",
            "version": __version__,
            "extensions": ["binary_tensor_data"],
        }
    ),
    ("get", "/v2/health/live"): Example(answer={"live": True}),
    ("get", "/v2/health/ready"): Example(answer={"ready": True}),
    ("get", "/v2/models/{name}"): Example(
        parameters=_V2,
        answer={
            "name": v2_codec.MODEL,
            "versions": [v2_codec.VERSION],
            "platform": "ray_serve",
            "inputs": [{"name": v2_codec.INPUT, "datatype": "BYTES", "shape": [-1]}],
            "outputs": [
                {"name": name, "datatype": datatype, "shape": shape}
                for name, (datatype, shape) in v2_codec.OUTPUTS.items()
            ],
        },
    ),
    ("get", "/v2/models/{name}/ready"): Example(
        parameters=_V2, answer={"name": v2_codec.MODEL, "ready": True}
    ),
    ("post", "/v2/models/{name}/infer"): Example(
        parameters=_V2,
        body={
            "id": "job-7",
            "inputs": [
                {"name": v2_codec.INPUT, "shape": [1], "datatype": "BYTES", "data": [PHOTO]}
            ],
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
            "parameters": {"model": _MODEL, "gallery_version": 17},
        },
    ),
}
