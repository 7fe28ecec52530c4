"""What a request's reports say, and that the errors carry them."""

from __future__ import annotations

import dataclasses

from serving.errors import EnrolmentConflict, NoUsableFace
from serving.matching.records import Candidate, Conflict, ConflictKind, Matches
from serving.pipeline.reports import (
    ConflictsRefused,
    Identified,
    NoFaceInAny,
    NoFaceToCompare,
    PhotoReport,
)
from serving.vision.quality import UNINFORMATIVE
from tests.support.stages import CARD, faces

FACE = PhotoReport(faces((1, 2, 30, 40)), 1, None)
NO_FACE = PhotoReport(None, 0, "No face was found.")


def test_each_face_is_named_by_the_same_threshold() -> None:
    ada, eve = Candidate(7, "Ada", 0.75), Candidate(8, "Eve", 0.74)
    identified = Identified(
        faces((0, 0, 9, 9), (0, 0, 8, 8), (0, 0, 7, 7)),
        Matches(((ada, eve), (eve,), ()), 17, 2),
        CARD,
        threshold=0.75,
        faults=((), (), (UNINFORMATIVE,)),
    )
    assert identified.named == (ada, None, None)
    assert identified.poor == 1


def test_an_ambiguous_face_is_named_by_a_setting_and_by_a_threshold_that_names_always() -> None:
    ada, eve = Candidate(7, "Ada", 0.75), Candidate(8, "Eve", 0.74)
    identified = Identified(
        faces((0, 0, 9, 9), (0, 0, 8, 8)),
        Matches(((ada, eve), (ada,)), 17, 2),
        CARD,
        threshold=0.7,
        faults=((), ()),
        ambiguous={0: (ada, eve)},
    )
    assert identified.named == (None, ada)
    assert identified.unnamed == frozenset({0})
    for named in (
        dataclasses.replace(identified, names_ambiguous=True),
        dataclasses.replace(identified, threshold=-1.0),
    ):
        assert named.named == (ada, ada)
        assert not named.unnamed


def test_errors_carry_the_reports_and_keep_their_kind() -> None:
    nothing = NoFaceInAny([NO_FACE])
    assert (nothing.photos, nothing.conflicts) == ([NO_FACE], None)
    assert isinstance(nothing, NoUsableFace)
    conflict = Conflict(ConflictKind.ALREADY_ENROLLED, (0,), 0.8, 0.99, 8, "Eve")
    refused = ConflictsRefused([FACE], [conflict])
    assert (refused.photos, refused.conflicts) == ([FACE], [conflict])
    assert isinstance(refused, EnrolmentConflict)
    assert "Nothing was written" in str(refused)


def test_a_comparison_names_the_photos_without_a_face() -> None:
    one = NoFaceToCompare({"image_a": FACE, "image_b": NO_FACE})
    assert str(one) == "No face was found in image_b."
    assert one.photos == [FACE, NO_FACE]
    both = NoFaceToCompare({"image_a": NO_FACE, "image_b": NO_FACE})
    assert str(both) == "No face was found in image_a and image_b."
