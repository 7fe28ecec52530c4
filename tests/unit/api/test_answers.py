"""From what the stages found to what a caller reads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from serving.api.answers import (
    detect_answer,
    generate_answer,
    image_reports,
    infer_answer,
    verify_answer,
)
from serving.api.schemas import FaceBody
from serving.matching.records import Candidate, Conflict, ConflictKind, Enrolled, Matches
from serving.pipeline.reports import EnrolmentReport, Identified, PhotoReport
from serving.pipeline.verification import Compared
from serving.settings import LookupSettings
from serving.vision.quality import UNINFORMATIVE
from tests.support.stages import CARD, faces

BOX = (10.4, 20.6, 110.5, 221.5)


def found(threshold: float, *similarities: float) -> Identified:
    """One face, whose candidates are this similar; ids count from 7."""
    candidates = tuple(Candidate(7 + n, f"P{n}", s) for n, s in enumerate(similarities))
    return Identified(faces(BOX), Matches((candidates,), 17, 2), CARD, threshold, ((),))


def only_face(threshold: float, *similarities: float) -> FaceBody:
    (face,) = infer_answer(found(threshold, *similarities)).faces
    return face


def test_somebody_similar_enough_is_named() -> None:
    face = only_face(0.5, 0.75, 0.25)
    assert (face.id, face.name, face.similarity) == (7, "P0", 0.75)
    assert face.confidence == round(CARD.confidence(0.75), 4)
    assert [(c.id, c.similarity) for c in face.candidates] == [(7, 0.75), (8, 0.25)]


def test_a_stranger_gets_no_name_and_no_number() -> None:
    face = only_face(0.5, 0.49, 0.25)
    assert (face.id, face.name, face.similarity, face.confidence) == (None, None, None, None)
    assert [(c.id, c.name, c.similarity) for c in face.candidates] == [
        (7, "P0", 0.49),
        (8, "P1", 0.25),
    ]


@pytest.mark.parametrize("threshold", [0.5, 0.0, -1.0, 1.0])
def test_the_threshold_itself_is_enough(threshold: float) -> None:
    assert only_face(threshold, threshold).id == 7


def test_rounding_does_not_turn_a_stranger_into_somebody() -> None:
    face = only_face(0.5, 0.499999)
    assert face.candidates[0].similarity == 0.5
    assert face.id is None


def test_rounding_does_not_turn_somebody_into_a_stranger() -> None:
    assert only_face(0.50001, 0.500011).id == 7


def test_nobody_enrolled_is_an_answer() -> None:
    face = only_face(-1)
    assert face.id is None
    assert face.candidates == []
    assert face.box == [10, 21, 110, 222]


def test_no_face_is_an_answer() -> None:
    answer = infer_answer(Identified(faces(), Matches((), 3, 0), CARD, 0.5, ()))
    assert (answer.faces, answer.model, answer.gallery_version) == ([], CARD.id, 3)


def test_each_face_keeps_its_own_box_and_candidates() -> None:
    two = Identified(
        faces((0, 0, 50, 50), (60, 0, 70, 10)),
        Matches(((Candidate(1, None, 0.2),), (Candidate(2, None, 0.9),)), 1, 2),
        CARD,
        0.5,
        ((), ()),
    )
    first, second = infer_answer(two).faces
    assert (first.id, first.box) == (None, [0, 0, 50, 50])
    assert (second.id, second.box) == (2, [60, 0, 70, 10])
    assert first.detection_score > second.detection_score


def test_boxes_are_whole_numbers_in_json() -> None:
    body = infer_answer(found(0.5, 0.75)).model_dump(mode="json")
    box = body["faces"][0]["box"]
    assert [type(v) for v in box] == [int] * 4


def test_an_enrolment_tells_of_every_photo_in_order() -> None:
    photos = [
        PhotoReport(None, 0, "No face was found."),
        PhotoReport(faces(BOX), 3, None),
    ]
    report = EnrolmentReport(photos, Enrolled("Ada", 4, 9), CARD)
    answer = generate_answer(2576, report)
    assert (answer.id, answer.name, answer.photos, answer.gallery_version) == (2576, "Ada", 4, 9)
    bad, good = answer.images
    assert (bad.used, bad.reason, bad.box, bad.faces) == (False, "No face was found.", None, 0)
    assert (good.used, good.reason, good.box, good.faces) == (True, None, [10, 21, 110, 222], 3)


def test_conflicts_count_the_photos_of_the_request() -> None:
    photos = [
        PhotoReport(None, 0, "No face was found."),
        PhotoReport(faces(BOX), 1, None),
        PhotoReport(faces(BOX), 1, "The face is too small.", "too-small"),
        PhotoReport(faces(BOX), 1, None),
    ]
    conflicts = (
        Conflict(ConflictKind.OTHER_PERSON, (1,), 0.12345, 0.01),
        Conflict(ConflictKind.ALREADY_ENROLLED, (0, 1), 0.8, 0.99996, 5, "Eve"),
    )
    answer = generate_answer(7, EnrolmentReport(photos, Enrolled(None, 2, 9, conflicts), CARD))
    assert [i.used for i in answer.images] == [False, True, False, True]
    assert (answer.images[2].gate, answer.images[2].box) == ("too-small", [10, 21, 110, 222])
    assert answer.conflicts is not None
    other, enrolled = [c.model_dump() for c in answer.conflicts]
    told = {"similarity": 0.1235, "confidence": 0.01, "id": None, "name": None}
    assert other == {"type": "other-person", "images": [3], **told}
    assert (enrolled["type"], enrolled["images"]) == ("already-enrolled", [1, 3])
    assert (enrolled["id"], enrolled["name"], enrolled["similarity"]) == (5, "Eve", 0.8)


def test_conflicts_that_are_not_known_are_not_told_to_be_none() -> None:
    report = EnrolmentReport(
        [PhotoReport(faces(BOX), 1, None)], Enrolled(None, None, 9, None), CARD
    )
    assert generate_answer(7, report).conflicts is None


def test_reports_of_photos_without_a_face_have_no_box() -> None:
    (report,) = image_reports([PhotoReport(None, 0, "No image.")])
    assert report.model_dump() == {
        "used": False,
        "reason": "No image.",
        "gate": None,
        "box": None,
        "detection_score": None,
        "faces": 0,
        "turn": None,
        "liveness": None,
    }


def test_a_face_that_is_too_poor_to_say_says_why_and_names_nobody() -> None:
    poor = Identified(faces(BOX), Matches(((),), 17, 2), CARD, -1, ((UNINFORMATIVE,),))
    (face,) = infer_answer(poor).faces
    assert (face.id, face.confidence, face.candidates) == (None, None, [])
    assert not face.quality.sufficient
    (reason,) = face.quality.reasons
    assert (reason.gate, reason.reason) == ("uninformative", UNINFORMATIVE.sentence)


def test_an_ambiguous_face_has_both_people_and_no_name() -> None:
    pair = (Candidate(7, "P0", 0.75), Candidate(8, "P1", 0.74))
    doubt = dataclasses.replace(found(0.5, 0.75), ambiguous={0: pair})
    (face,) = infer_answer(doubt).faces
    assert (face.id, face.name, face.similarity, face.confidence) == (None,) * 4
    assert [c.id for c in face.candidates] == [7]
    assert [(c.id, c.name, c.similarity) for c in face.ambiguous] == [
        (7, "P0", 0.75),
        (8, "P1", 0.74),
    ]
    assert face.ambiguous[0].confidence == face.candidates[0].confidence
    (named,) = infer_answer(dataclasses.replace(doubt, names_ambiguous=True)).faces
    assert (named.id, named.name, named.ambiguous) == (7, "P0", face.ambiguous)
    assert only_face(0.5, 0.75, 0.25).ambiguous == []


def test_two_photos_are_neither_the_same_nor_different_where_one_is_too_poor() -> None:
    photo = PhotoReport(faces(BOX), 1, None)
    told = verify_answer(Compared([photo, photo], 0.9, CARD, ((), (UNINFORMATIVE,))), 0.5)
    assert (told.same, told.similarity, told.confidence) == (None, None, None)
    assert [f.quality.sufficient for f in (told.image_a, told.image_b)] == [True, False]


def test_the_turn_of_a_face_is_told() -> None:
    turned = dataclasses.replace(faces(BOX), turns=np.array([270]))
    assert [f.turn for f in detect_answer(turned, LookupSettings()).faces] == [270]
    small = detect_answer(turned, LookupSettings(min_side=200)).faces[0].quality
    assert [reason.gate for reason in small.reasons] == ["too-small"]
