"""A command as Kubernetes runs it in a pod that is locked down.

Nothing of the file system can be written to, HOME does not exist, the user has a number without a
name and no capability, and the environment holds what the pod was given and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[2]
_UID = 64123
_LOCK = f"""
for at in / /tmp /var/tmp /dev/shm; do
  ! mountpoint -q $at || mount -o remount,bind,ro $at || exit 1
done
exec unshare --user --map-user={_UID} --map-group={_UID} "$@"
"""
FACES = [sys.executable, "-m", "serving"]


@cache
def possible() -> bool:
    """Whether this system lets a user have name spaces of his own."""
    return run(["true"], {}).returncode == 0


def run(command: Sequence[str | Path], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", _LOCK, "sh"]
    return subprocess.run(
        [*inside, *map(str, command)],
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(_SOURCE), **env},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=240,
    )
