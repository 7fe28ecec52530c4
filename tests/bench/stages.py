"""The time of a request in each stage, from the header Server-Timing of the answers."""

from __future__ import annotations

import re
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field

import httpx
import numpy as np

# A stage in the header Server-Timing.
_STAGE = re.compile(r"(\w+);dur=([\d.]+)(?:;work=([\d.]+))?")


@dataclass
class Stages:
    """Milliseconds of each request: total, in each stage, and of the stage's own work."""

    whole: list[float] = field(default_factory=list)
    waited: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    worked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def infer(self, api: httpx.Client, jpeg: bytes) -> None:
        """One request."""
        start = time.perf_counter()
        answer = api.post("/infer", content=jpeg, headers={"content-type": "image/jpeg"})
        self.whole.append((time.perf_counter() - start) * 1000)
        assert answer.status_code == 200, answer.text
        for stage, waited, worked in _STAGE.findall(answer.headers["server-timing"]):
            self.waited[stage].append(float(waited))
            if worked:
                self.worked[stage].append(float(worked))

    def table(self) -> list[str]:
        waited = dict(self.waited)
        waited["HTTP"] = list(np.array(self.whole) - np.sum([*self.waited.values()], axis=0))
        lines = ["| stage | total | work |", "|---|---:|---:|"]
        for stage, times in waited.items():
            work = f"{statistics.median(self.worked[stage]):.1f} ms" if stage in self.worked else ""
            lines.append(f"| {stage} | {statistics.median(times):.1f} ms | {work} |")
        return lines

    def apart(self) -> float:
        """Median of the time outside the work of stages: transport, queueing, HTTP."""
        return float(np.median(np.array(self.whole) - np.sum([*self.worked.values()], axis=0)))
