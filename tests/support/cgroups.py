"""A process in a control group with a limit of memory, as the container of a pod is."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


class NoCgroups(Exception):
    """No control group for memory can be made here, and why."""


@dataclass(frozen=True)
class Cgroup:
    """One for memory, of version 1 or 2."""

    folder: Path
    version: int

    def command(self, *words: str) -> Sequence[str]:
        """The command, run in the group with all that it starts."""
        join = f'echo $$ > "{self.folder / "cgroup.procs"}" && exec "$@"'
        return ["sh", "-c", join, "sh", *words]

    def add(self, pid: int) -> None:
        """Move a process here; what it holds already stays charged to the group that it leaves."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    @property
    def killed(self) -> int:
        """Processes that the kernel has killed for want of memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        lines = (self.folder / name).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    @property
    def peak(self) -> int:
        """The most bytes so far, with the files that the kernel could drop from memory."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        return int((self.folder / name).read_text())


@contextmanager
def limited(nbytes: int) -> Iterator[Cgroup]:
    """A new group with this limit, removed at the end.

    Raises:
        NoCgroups: this account cannot make one.
    """
    parent, version = _parent()
    folder = parent / f"facenet-serving-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        raise NoCgroups(f"no control group can be made in {parent}: {error.strerror}") from None
    try:
        limit = "memory.limit_in_bytes" if version == 1 else "memory.max"
        try:
            (folder / limit).write_text(str(nbytes))
        except OSError as error:
            raise NoCgroups(f"{folder / limit} cannot be set: {error.strerror}") from None
        yield Cgroup(folder, version)
    finally:
        _remove(folder)


def leave(pid: int) -> None:
    """Move a process out of its group, into the one of this process."""
    parent, version = _parent()
    mine = parent if version == 1 else _ROOT / _of_this_process()[""]
    (mine / "cgroup.procs").write_text(str(pid))


def _of_this_process() -> dict[str, str]:
    """Controller -> the path of the group; of version 2, the controller is ''."""
    mine: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        mine.update(dict.fromkeys(controllers.split(","), path.strip("/")))
    return mine


def _remove(folder: Path) -> None:
    for _ in range(50):
        try:
            folder.rmdir()
        except OSError:  # what has just ended is in it for a moment
            time.sleep(0.1)
        else:
            return


@cache
def _parent() -> tuple[Path, int]:
    """Where groups can be made, and of which version: below that of this process, or for version 2,
    where a group with processes has none below it, beside it."""
    mine = _of_this_process()
    if "memory" in mine:
        return _ROOT / "memory" / mine["memory"], 1
    parent = (_ROOT / mine.get("", "")).parent if mine.get("") else _ROOT
    enabled = parent / "cgroup.subtree_control"
    if not enabled.is_file() or "memory" not in enabled.read_text().split():
        raise NoCgroups(f"{parent} has no control groups for memory")
    return parent, 2


def run(nbytes: int, *words: str) -> tuple[subprocess.CompletedProcess[str], Cgroup, int, int]:
    """Run a command in a group with this limit; returns also the group's peak and its kills."""
    with limited(nbytes) as group:
        done = subprocess.run(group.command(*words), capture_output=True, text=True)
        return done, group, group.peak, group.killed
