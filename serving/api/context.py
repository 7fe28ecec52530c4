"""The service behind the HTTP API: what the routes share, and how a handler gets it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from serving import deadline
from serving.api.disclosure import Disclosure
from serving.errors import TimedOut
from serving.events.outbox import Outbox
from serving.pipeline.identities import Identities
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.reports import Identified
from serving.pipeline.timings import Timings
from serving.settings import AuditSettings, LimitSettings, LookupSettings, MatchSettings
from serving.telemetry.metrics import ApiMetrics
from serving.trail.paging import Reader
from serving.trail.writer import Trail
from serving.valid_keys import Keys

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """The service behind the HTTP API. Without ``keys`` callers need none.

    Attributes:
        trail: writes the audit's objects; None: the settings want none.
        input_key: of the hashes of photos in the audit; None: there are none.
        records: reads the audit's objects; None: there are none.
        outbox: takes the events of look-ups; None: the settings want none.
    """

    pipeline: Pipeline
    register: Identities
    limits: LimitSettings
    matching: MatchSettings
    lookup: LookupSettings
    metrics: ApiMetrics
    keys: Keys | None
    audit: AuditSettings
    trail: Trail | None = None
    input_key: bytes | None = None
    records: Reader | None = None
    outbox: Outbox | None = None

    def timings(self) -> Timings:
        """For one request."""
        return Timings(observe=self.metrics.waited)

    def count(self, collection: str, identified: Identified) -> None:
        """Count the faces of a photo that was looked up."""
        candidates, unnamed = identified.matches.candidates, len(identified.unnamed)
        self.metrics.identified(
            candidates,
            identified.named,
            identified.poor,
            unnamed,
            len(identified.attacks),
        )
        self.metrics.ambiguous(collection, len(identified.ambiguous))

    async def in_time(self, work: Coroutine[Any, Any, T], *, writes: bool = False) -> T:
        """The result of ``work``, which is cancelled when the request takes too long.

        The time that the request has taken so far, for its body or for other work, counts: see
        `serving.api.middleware.guard`.

        Raises:
            TimedOut: the deadline has passed; if the work ``writes``, it may have written.
        """
        now = time.monotonic()
        until = deadline.current() or now + self.limits.timeout_s
        try:
            with deadline.until(until):
                return await asyncio.wait_for(work, until - now)
        except asyncio.TimeoutError:
            sentence = f"The answer took longer than {self.limits.timeout_s:g} s."
            if writes:
                sentence += " Look whether it was written before you send it again."
            raise TimedOut(sentence) from None


# Coroutines, since FastAPI runs any other dependency in a thread.
async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def _collection(request: Request) -> str:
    return str(request.state.collection)


async def _knows(request: Request) -> bool:
    return bool(request.state.knows)


async def _disclosure(request: Request) -> Disclosure:
    # Without the gate in front there is no caller: that is an error, and nothing is said.
    return Disclosure(request.state.caller, request.app.state.context.matching)


ContextDep = Annotated[Context, Depends(_context)]
# The collection that a request is about; `serving.api.middleware.gate` takes it from the path.
Collection = Annotated[str, Depends(_collection)]
# Whether the caller of an open route may read what is said about the default collection.
Knows = Annotated[bool, Depends(_knows)]
# What the caller may learn of people; not for open routes.
DisclosureDep = Annotated[Disclosure, Depends(_disclosure)]
