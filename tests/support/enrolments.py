"""Enrolments of people who do not exist, as a matcher is given them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.gallery import Gallery
from serving.matching.enrolment import enrol
from serving.matching.records import Enrolled, Enrolment
from serving.settings import MatchSettings
from tests.support.people import DIMENSION, unit_rows
from tests.support.stages import CARD


def alike(photos: int, seed: int = 0) -> NDArray[np.float32]:
    """Embeddings of one person: float32 (P, D)."""
    rows = unit_rows(1, DIMENSION, seed=seed) + 0.3 * unit_rows(photos, DIMENSION, seed=seed + 1000)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def enrolled(gallery: Gallery, person: Enrolment, **settings: Any) -> Enrolled:
    done = enrol(gallery, person, MatchSettings(**settings))
    assert isinstance(done, Enrolled)
    return done


def enrolment(person: int = 7, photos: int = 2, **options: Any) -> Enrolment:
    return Enrolment(person, alike(photos), CARD, **options)
