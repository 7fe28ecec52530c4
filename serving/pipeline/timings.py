"""Timings: how long a request waited for each stage, and how long the stage worked on it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from serving import tracing
from serving.stages import refs

T = TypeVar("T")


@dataclass
class Timings:
    """Milliseconds that a request spent waiting for each stage, queueing and transport included.

    Attributes:
        work_ms: those of them in which the stage worked on the request, for stages that report it.
        observe: called after every wait with the stage and the seconds.
    """

    ms: dict[str, float] = field(default_factory=dict)
    work_ms: dict[str, float] = field(default_factory=dict)
    observe: Callable[[str, float], None] = lambda stage, seconds: None

    async def of(self, stage: str, work: Awaitable[T]) -> T:
        """The result of ``work``, timed as a wait for ``stage``, in a span of that name."""
        start = time.perf_counter()
        try:
            with tracing.span(stage):
                return await work
        finally:
            seconds = time.perf_counter() - start
            self.ms[stage] = self.ms.get(stage, 0.0) + seconds * 1000
            self.observe(stage, seconds)

    async def made(self, stage: str, work: Awaitable[refs.Ref[T]]) -> refs.Ref[T]:
        """`of` for a stage that returns a reference, which has the time that the stage worked."""
        return self.worked(stage, await self.of(stage, work))

    def worked(self, stage: str, ref: refs.Ref[T]) -> refs.Ref[T]:
        """``ref``, after its stage's work is added."""
        self.work_ms[stage] = self.work_ms.get(stage, 0.0) + ref.work_ms
        return ref

    def waited_and_worked(self, embed_ms: float | None) -> tuple[float, float]:
        """Milliseconds in which the request waited for its turns and was on its way, and in which
        it was worked on.

        Args:
            embed_ms: of them the work on the embeddings, which Triton does not tell; None: all.
        """
        work_ms = dict(self.work_ms)
        if "embed" in self.ms:
            took = self.ms["embed"]
            work_ms["embed"] = took if embed_ms is None else min(took, embed_ms)
        worked = sum(work_ms.values())
        return sum(self.ms.get(stage, 0.0) for stage in work_ms) - worked, worked

    def header(self) -> str:
        """The value of the HTTP header Server-Timing; ``work`` is a parameter of our own."""
        return ", ".join(
            f"{stage};dur={ms:.1f}"
            + (f";work={self.work_ms[stage]:.1f}" if stage in self.work_ms else "")
            for stage, ms in self.ms.items()
        )
