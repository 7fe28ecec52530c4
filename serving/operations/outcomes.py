"""What became of a face in an answer of the service."""

from __future__ import annotations

from collections.abc import Mapping

NAMED, NOT_LIVE, TOO_POOR = "named", "not live", "too poor"
AMBIGUOUS, UNKNOWN = "ambiguous", "unknown"


def outcome_of(face: Mapping[str, object]) -> str:
    """One of the words above, for a face of an answer of ``/infer``; an older service reports less
    of it."""
    if face.get("id") is not None:
        return NAMED
    liveness, quality = face.get("liveness"), face.get("quality")
    if isinstance(liveness, Mapping) and not liveness.get("live"):
        return NOT_LIVE
    if isinstance(quality, Mapping) and quality.get("reasons"):
        return TOO_POOR
    return AMBIGUOUS if face.get("ambiguous") else UNKNOWN
