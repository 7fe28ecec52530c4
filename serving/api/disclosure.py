"""What a caller may learn of people beyond whether a face is known.

A key that may only identify learns nothing of anybody below the service's threshold: neither who
is nearest to a stranger, nor by lowering the threshold, nor by digits that show the way to a photo
that is taken for somebody. Nor does it learn how near a face comes to be taken for a live one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from serving.keys import Key, Scope
from serving.matching.records import Candidate
from serving.matching.threshold import pair_threshold_of, threshold_of
from serving.model.liveness import Liveness
from serving.pipeline.reports import Identified
from serving.pipeline.verification import Compared
from serving.settings import MatchSettings


@dataclass(frozen=True)
class Disclosure:
    """For one caller.

    Args:
        caller: None: the service needs no keys.
    """

    caller: Key | None
    matching: MatchSettings

    @property
    def everything(self) -> bool:
        """Whether the caller learns of candidates below the threshold, and may lower it."""
        allowed = Scope(self.matching.near_misses)
        return self.caller is None or self.caller.may(Scope.ENROL) or self.caller.may(allowed)

    def identified(self, identified: Identified) -> Identified:
        """Without what the caller may not learn.

        Raises:
            Unavailable: see `serving.matching.threshold.threshold_of`.
        """
        if self.everything:
            return identified
        matches = identified.matches
        own = threshold_of(None, self.matching, identified.card, matches.people)
        threshold = max(own, _up(identified.threshold))

        def rounded(candidate: Candidate) -> Candidate:
            # Not below the threshold, or it would lose its name.
            similarity = max(threshold, round(candidate.similarity, 2))
            return dataclasses.replace(candidate, similarity=similarity)

        candidates = tuple(
            tuple(rounded(c) for c in of_face if c.similarity >= threshold)
            for of_face in matches.candidates
        )
        # Where the others are below the threshold, a face stays ambiguous, with the first alone.
        ambiguous = {
            place: likely
            for place, of_face in identified.ambiguous.items()
            if (likely := tuple(rounded(c) for c in of_face if c.similarity >= threshold))
        }
        return dataclasses.replace(
            identified,
            matches=dataclasses.replace(matches, candidates=candidates),
            threshold=threshold,
            ambiguous=ambiguous,
            liveness=_without_scores(identified.liveness),
        )

    def compared(self, compared: Compared, threshold: float) -> tuple[Compared, float]:
        """The same of two photos, and the threshold by which they are one person."""
        if self.everything:
            return compared, threshold
        threshold = max(
            pair_threshold_of(None, self.matching, compared.card),
            _up(threshold),
        )
        similarity = round(compared.similarity, 2)
        if compared.similarity >= threshold:
            similarity = max(threshold, similarity)
        elif similarity >= threshold:
            similarity = math.floor(compared.similarity * 100) / 100
        liveness = _without_scores(compared.liveness)
        return (
            dataclasses.replace(compared, similarity=similarity, liveness=liveness),
            threshold,
        )


def _without_scores(verdicts: Sequence[Liveness | None]) -> tuple[Liveness | None, ...]:
    return tuple(verdict and dataclasses.replace(verdict, score=None) for verdict in verdicts)


def _up(threshold: float) -> float:
    """To two digits: by finer ones a similarity could be found out, one request after the other."""
    return math.ceil(round(threshold * 100, 6)) / 100
