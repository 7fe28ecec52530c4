"""A machine that cannot have the cluster of one node: a sentence says what it lacks."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from tests.cluster.onenode.__main__ import LACKING
from tests.support.chart.helm import ROOT

_CHECK = [sys.executable, "-m", "tests.cluster.onenode", "check"]
_NOBODY = "65534"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="takes root to take things away"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine alone says so"),
]


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        (["setpriv", "--reuid", _NOBODY], "needs root"),
        (
            ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"],
            "Namespaces cannot be made",
        ),
        (
            [
                "unshare",
                "--mount",
                "sh",
                "-c",
                'mount -t tmpfs none /sys/fs/cgroup && exec "$@"',
                "-",
            ],
            "has no control groups for cpu, memory, pids",
        ),
        (
            [
                *("unshare", "--mount", "sh", "-c"),
                'mount --bind /dev/null /proc/filesystems && exec "$@"',
                "-",
            ],
            "no overlay file system",
        ),
    ],
    ids=["root", "namespaces", "control groups", "overlay"],
)
def test_what_is_missing_is_said_in_a_sentence(without: list[str], sentence: str) -> None:
    done = subprocess.run([*without, *_CHECK], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (LACKING, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("No cluster on this machine: ")
    assert sentence in line
