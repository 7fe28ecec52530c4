"""The number of replicas of each stage of a running stack, as Ray Serve reports it.

    python -m tests.support.replicas ADDRESS FILE

writes a line of JSON each second until it is terminated. `watched` starts it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.stack.process import Process
from tests.support.load import descendants

EVERY_S = 1.0
_RAYLET = re.compile(r"/raylet --.*?--gcs-address=(\S+)")


@dataclass(frozen=True)
class Count:
    """Replicas at one time.

    Attributes:
        at: time.monotonic().
        stages: stage -> Serve's name of the state -> number of replicas.
    """

    at: float
    stages: Mapping[str, Mapping[str, int]]

    def running(self, stage: str) -> int:
        return self.stages[stage].get("RUNNING", 0)

    def wanted(self, stage: str) -> int:
        """Running replicas, with those that are still starting."""
        return self.all(stage) - self.stages[stage].get("STOPPING", 0)

    def all(self, stage: str) -> int:
        """All replicas, with those that are starting and those that finish their last requests."""
        return sum(self.stages[stage].values())


@dataclass(frozen=True)
class Replicas:
    """The watcher of a stack; from `watched`."""

    _watcher: Process
    _file: Path

    def counts(self) -> list[Count]:
        """The counts so far. Raises StackError when the watcher has ended."""
        self._watcher.check()
        text = self._file.read_text() if self._file.exists() else ""
        complete = text[: text.rfind("\n") + 1]
        return [Count(**json.loads(line)) for line in complete.splitlines()]

    def now(self) -> Count | None:
        """The latest counts; None: there are none yet."""
        counts = self.counts()
        return counts[-1] if counts else None


@contextmanager
def watched(application: Process, folder: Path) -> Iterator[Replicas]:
    """Watch the replicas of a stack from a process of its own, which connects to that Ray.

    Args:
        application: of the processes of `serving.stack.run.running`, Ray Serve.
        folder: for the watcher's files.
    """
    file = folder / "replicas.jsonl"
    address, settings = _ray_of(application.pid)
    watcher = Process(
        "the replicas' watcher",
        [sys.executable, "-m", "tests.support.replicas", address, file],
        log=folder / "replicas.log",
        env=settings,
    )
    try:
        yield Replicas(watcher, file)
    finally:
        watcher.stop(5)


def _ray_of(application: int) -> tuple[str, dict[str, str]]:
    """The address of that Ray, as several may run on this machine; and its settings, such as the
    certificates, without which it accepts no connection."""
    ((pid, address),) = (
        (pid, found[1])
        for pid, command in descendants(application).items()
        if (found := _RAYLET.search(command))
    )
    # Not of the application's own process: some are set only when Ray starts.
    environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
    pairs = (entry.partition("=") for entry in environment)
    return address, {name: value for name, _, value in pairs if name.startswith("RAY_")}


def main(address: str, file: Path) -> None:
    import ray
    from ray import serve

    ray.init(address=address, log_to_driver=False)
    with file.open("w", buffering=1) as out:
        while True:
            began = time.monotonic()
            stages = {
                stage: dict(overview.replica_states)
                for application in serve.status().applications.values()
                for stage, overview in application.deployments.items()
            }
            out.write(json.dumps({"at": began, "stages": stages}) + "\n")
            time.sleep(EVERY_S)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
