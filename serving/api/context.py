"""What the routes share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from serving import deadline
from serving.errors import TimedOut
from serving.matching.threshold import threshold_of
from serving.pipeline.identities import Identities
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.reports import Identified
from serving.pipeline.timings import Timings
from serving.settings import LimitSettings, MatchSettings
from serving.telemetry.metrics import ApiMetrics

T = TypeVar("T")


def _collection(request: Request) -> str:
    return str(request.state.collection)


# The collection that a request is about; `serving.api.middleware.gate` takes it from the path.
Collection = Annotated[str, Depends(_collection)]


@dataclass(frozen=True)
class Context:
    """The service behind the HTTP API."""

    pipeline: Pipeline
    register: Identities
    limits: LimitSettings
    matching: MatchSettings
    metrics: ApiMetrics

    def timings(self) -> Timings:
        """For one request."""
        return Timings(observe=self.metrics.waited)

    async def in_time(self, work: Coroutine[Any, Any, T], *, writes: bool = False) -> T:
        """The result of ``work``, which is given up when the request takes too long.

        What it took before, for its body or for other work, counts: see
        `serving.api.middleware.guard`.

        Raises:
            TimedOut: it did; when it ``writes``, it may have written.
        """
        now = time.time()
        until = deadline.current() or now + self.limits.timeout_s
        try:
            with deadline.until(until):
                return await asyncio.wait_for(work, until - now)
        except asyncio.TimeoutError:
            told = f"The answer took longer than {self.limits.timeout_s:g} s."
            if writes:
                told += " Look whether it was written before you send it again."
            raise TimedOut(told) from None

    def threshold(self, asked: float | None, found: Identified) -> float:
        """The cosine from which on a face of this photo is named: `serving.matching.threshold`."""
        return threshold_of(asked, self.matching, found.card, found.matches.people)
