"""What the replicas of a stack have logged."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from serving.stack.config import SERVE_LOGS

ACCESS, AUDIT = "serving.access", "faces.audit"

Line = dict[str, Any]


def lines(folder: Path, part: str = "replica_") -> Iterator[Line]:
    """The lines of the files with this in their names.

    Args:
        folder: of the stack.
    """
    for file in sorted((folder / SERVE_LOGS).glob(f"*{part}*.log")):
        # What does not end yet is still being written.
        whole = file.read_text().rpartition("\n")[0]
        yield from map(json.loads, whole.splitlines())


def wait_for(
    folder: Path, request_ids: str | Collection[str], part: str = "_ingress_", logger: str = ACCESS
) -> list[Line]:
    """The lines about a request, or some, once each has one: it may come after the answer.

    Args:
        logger: which lines; empty: of all.
    """
    ids = {request_ids} if isinstance(request_ids, str) else set(request_ids)
    deadline = time.monotonic() + 30
    while True:
        found = [
            line
            for line in lines(folder, part)
            if line.get("request_id") in ids and logger in ("", line["name"])
        ]
        missing = ids - {line["request_id"] for line in found}
        if not missing:
            return found
        assert time.monotonic() < deadline, f"there is no line of {missing}"
        time.sleep(0.2)
