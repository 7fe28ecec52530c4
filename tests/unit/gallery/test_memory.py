"""Memory of a matcher: a reload while it serves, and an erasure, take little beside the people.

100,000 people in a process of its own, with what is read at once as much smaller than in
production as the gallery is. `make bench-gallery` measures a million, in the chart's memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import cgroups
from tests.support.folder_store import FolderStore
from tests.support.gallery_memory import fill

PEOPLE, AT_ONCE = 100_000, 5_000
MIB = 2**20
# Beside the people: what is read at once, and what a search takes. A second copy of the people
# would be 120, and the whole gallery as it is stored 100.
MORE_MIB = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bucket")
    fill(FolderStore(folder), PEOPLE, AT_ONCE)
    return folder


def words(folder: Path, person: int, *vectors: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "tests.support.gallery_memory",
        str(folder),
        str(person),
        *vectors,
    ]


def test_a_reload_and_an_erasure_take_little_beside_the_people(folder: Path) -> None:
    # Each thread's own arena keeps what it likes, 15 MiB more in one run than in the next.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        words(folder, 4_321), env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    figures = json.loads(done.stdout)
    print(figures)
    people_mib = PEOPLE * 1600 / MIB  # as the chart counts them
    assert figures["rest_mib"] < people_mib
    assert figures["load_mib"] < people_mib + MORE_MIB
    assert figures["reload_mib"] < MORE_MIB
    assert figures["erase_mib"] < MORE_MIB


def test_they_fit_into_a_control_group(folder: Path) -> None:
    """The kernel counts what the process does not: the files' pages, which it may drop."""
    bare = 160 * MIB
    limit = bare + PEOPLE * 1600 + MORE_MIB * MIB
    try:
        done, _, _, killed = cgroups.run(limit, *words(folder, 54_321))
    except cgroups.NoCgroups as error:
        pytest.skip(str(error))
    assert (done.returncode, killed) == (0, 0), done.stderr
    assert json.loads(done.stdout)["bare_mib"] < bare / MIB


def test_with_vectors_on_disk_they_fit_into_a_third(folder: Path, tmp_path: Path) -> None:
    """The kernel drops their pages, also those that were just written."""
    bare = 160 * MIB
    limit = bare + PEOPLE * 500 + MORE_MIB * MIB
    try:
        done, _, _, killed = cgroups.run(limit, *words(folder, 12_345, str(tmp_path)))
    except cgroups.NoCgroups as error:
        pytest.skip(str(error))
    assert (done.returncode, killed) == (0, 0), done.stderr
    assert json.loads(done.stdout)["anonymous_mib"] < PEOPLE * 500 / MIB
