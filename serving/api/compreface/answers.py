"""Answers in CompreFace's form.

Its `similarity` is between 0 and 1, and one half lies between the same and different people. So it
is the probability that they are the same person here, not the cosine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.api.compreface.image_ids import image_id
from serving.api.compreface.options import Wanted
from serving.matching.faces import FacesPage
from serving.matching.subjects import subject_of
from serving.model.card import ModelCard
from serving.model.liveness import all_live
from serving.pipeline.reports import NOT_LIVE, Identified
from serving.pipeline.timings import Timings
from serving.pipeline.verification import Compared
from serving.vision.records import Faces

_DETECTOR = "mtcnn"
_STAGES = {"detector": ("decode", "detect"), "calculator": ("embed",)}


def recognized(
    identified: Identified, predictions: int, wanted: Wanted, timings: Timings
) -> dict[str, Any]:
    """Only who would be named is among the ``subjects``; where they are empty, ``reason`` is a
    member of ours: unknown, ambiguous, too-poor or not-live."""
    card, matches = identified.card, identified.matches
    result = []
    for place, (candidates, known) in enumerate(
        zip(matches.candidates, identified.named, strict=True)
    ):
        near = [c for c in candidates if known and c.similarity >= identified.threshold]
        subjects = [
            {
                "subject": subject_of(c.id, c.name),
                "similarity": round(card.confidence(c.similarity, matches.people), 5),
            }
            for c in near[:predictions]
        ]
        face = {**_face(identified.faces, place, wanted, timings), "subjects": subjects}
        if not subjects:
            face["reason"] = _reason(identified, place)
        result.append(face)
    return {"result": result, **_versions(wanted, card)}


def detected(faces: Faces, wanted: Wanted, timings: Timings) -> dict[str, Any]:
    result = [_face(faces, place, wanted, timings) for place in range(len(faces))]
    return {"result": result, **_versions(wanted, None)}


def compared(
    found: Sequence[Compared], wanted: Wanted, timings: Timings, *, source: bool
) -> dict[str, Any]:
    """The faces of a photo with their similarity to one face.

    Args:
        found: for each face of the photo the comparison, at least one; see `similarity_of`.
        source: the one face is of a photo of the same request, and is in the answer.
    """
    matches = []
    for each in found:
        face = each.photos[-1].face
        assert face is not None
        match = {**_face(face, 0, wanted, timings), "similarity": similarity_of(each)}
        if not each.sufficient:
            match["reason"] = "too-poor" if all_live(each.liveness) else NOT_LIVE
        matches.append(match)
    versions = _versions(wanted, found[0].card)
    if not source:
        return {"result": matches, **versions}
    one = found[0].photos[0].face
    assert one is not None
    shown = _face(one, 0, wanted, timings)
    return {"result": [{"source_image_face": shown, "face_matches": matches, **versions}]}


def similarity_of(compared: Compared) -> float:
    """The probability that two faces are of one person; 0 where one is too poor to say, or not
    live."""
    if not compared.sufficient:
        return 0.0
    return round(compared.card.pairs.calibration.probability(compared.similarity), 5)


def listed(page: FacesPage, number: int, size: int) -> dict[str, Any]:
    return {
        "faces": [
            {"image_id": image_id(face.person, face.photo), "subject": face.subject}
            for face in page.faces
        ],
        "page_number": number,
        "page_size": size,
        "total_pages": -(-page.total // size),
        "total_elements": page.total,
    }


def _face(faces: Faces, place: int, wanted: Wanted, timings: Timings) -> dict[str, Any]:
    x_min, y_min, x_max, y_max = (round(v) for v in faces.boxes[place].tolist())
    face: dict[str, Any] = {
        "box": {
            "probability": round(float(faces.scores[place]), 5),
            "x_max": x_max,
            "y_max": y_max,
            "x_min": x_min,
            "y_min": y_min,
        }
    }
    if wanted.landmarks:
        face["landmarks"] = [[round(v) for v in p] for p in faces.landmarks[place].tolist()]
    if wanted.status:
        face["execution_time"] = _times(timings.ms)
    return face


def _times(ms: Mapping[str, float]) -> dict[str, float]:
    """Of the whole photo; milliseconds."""
    spent = {name: [ms[s] for s in stages if s in ms] for name, stages in _STAGES.items()}
    return {name: round(sum(parts), 1) for name, parts in spent.items() if parts}


def _versions(wanted: Wanted, card: ModelCard | None) -> dict[str, Any]:
    if not wanted.status:
        return {}
    calculator = {} if card is None else {"calculator": card.id}
    return {"plugins_versions": {"detector": _DETECTOR, **calculator}}


def _reason(identified: Identified, place: int) -> str:
    if place in identified.attacks:
        return NOT_LIVE
    if identified.faults[place]:
        return "too-poor"
    return "ambiguous" if identified.ambiguous.get(place) else "unknown"
