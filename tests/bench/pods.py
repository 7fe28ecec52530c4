"""Puts the stages of a running stack into control groups with the memory of the chart's pods."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from serving.settings import ScaleSettings
from serving.stack.process import Process
from tests.support import cgroups
from tests.support.load import alive, descendants, replicas

_CHART = Path(__file__).resolve().parents[2] / "helm" / "facenet-serving"
_UNITS = {"Mi": 2**20, "Gi": 2**30}
STAGES = tuple(ScaleSettings.model_fields)


def memory_of(*path: str) -> int:
    """Bytes of memory that the chart gives, by default, at this path of its values."""
    values = yaml.safe_load((_CHART / "values.yaml").read_text())
    for key in path:
        values = values[key]
    return int(values[:-2]) * _UNITS[values[-2:]]


def limit_of(stage: str) -> int:
    return memory_of("stages", stage, "resources", "limits", "memory")


class Pods:
    """The groups of a stack.

    Attributes:
        limits: name -> bytes: of a stage, or Triton.
        deaths: what was killed or replaced, in words.
    """

    # Ray's own processes in a pod, by the chart's count.
    OF_RAY = 512 * 2**20

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        self.deaths: list[str] = []
        self._groups: dict[str, cgroups.Cgroup] = {}
        self._before: dict[str, int] = {}
        self._pids: dict[str, set[int]] = {}

    @classmethod
    def budgets(cls) -> dict[str, Any]:
        """The arguments of the application that the chart derives from the memory of its pods."""

        def store(stage: str) -> int:
            return memory_of("stages", stage, "objectStoreMemory")

        def work(stage: str) -> int:
            return (limit_of(stage) - store(stage)) // 2

        matcher = limit_of("match") - store("match") - cls.OF_RAY
        return {
            "limits": {"body_memory_bytes": work("ingress")},
            "decode": {"memory_bytes": work("decode")},
            "match": {"memory_bytes": matcher - 768 * 2**20},
        }

    def add(
        self, name: str, group: cgroups.Cgroup, limit: int, before: int, pids: set[int]
    ) -> None:
        self.limits[name], self._groups[name] = limit, group
        self._before[name], self._pids[name] = before, pids
        for pid in pids:
            group.add(pid)

    def peaks(self) -> dict[str, int]:
        """Name -> the most bytes so far."""
        return {name: self._before[name] + group.peak for name, group in self._groups.items()}

    def look(self) -> None:
        """Find out what has died."""
        for name, group in self._groups.items():
            if group.killed:
                self.deaths.append(f"{name}: {group.killed} killed for want of memory")
            elif gone := [pid for pid in self._pids[name] if not alive(pid)]:
                self.deaths.append(f"{name}: {len(gone)} processes ended")

    @property
    def limits_in_words(self) -> str:
        return ", ".join(f"{limit / 2**20:,.0f} MiB ({n})" for n, limit in self.limits.items())


@contextlib.contextmanager
def of_the_chart(processes: list[Process]) -> Iterator[Pods]:
    """Put them there. What a process holds already is charged to the group it was in, so the new
    group's limit is less by that.

    Raises:
        cgroups.NoCgroups: this account cannot make any.
    """
    _, triton, application = processes
    found = {stage: set(replicas(application.pid, stage)) for stage in STAGES}
    haproxies = [p for p, words in descendants(application.pid).items() if "haproxy" in words]
    found["ingress"] |= set(haproxies)
    wanted = {stage: limit_of(stage) - Pods.OF_RAY for stage in STAGES}
    wanted["triton"] = memory_of("triton", "resources", "limits", "memory")
    found["triton"] = {triton.pid, *descendants(triton.pid)}
    pods = Pods()
    with contextlib.ExitStack() as groups:
        for name, limit in wanted.items():
            before = sum(own_memory(pid) for pid in found[name])
            group = groups.enter_context(cgroups.limited(limit - before))
            pods.add(name, group, limit, before, found[name])
            # When the with ends, the stack still runs, and a group in use cannot be removed.
            groups.callback(_release, found[name])
        yield pods


def _release(pids: set[int]) -> None:
    for pid in pids:
        if alive(pid):
            cgroups.leave(pid)


def own_memory(pid: int) -> int:
    """Bytes of private memory, without shared memory such as Ray's object store."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 2**10 for line in lines if line.startswith("RssAnon:"))
