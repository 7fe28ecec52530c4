"""The retention in a request -> the details that change."""

from __future__ import annotations

import time
from typing import Any

from pydantic import BaseModel

from serving.errors import UnusableRetention
from serving.gallery.retention import RETENTION, moment_problem


def retention_of(options: BaseModel, now: float | None = None) -> dict[str, Any]:
    """Those of ``expires_at`` and ``legal_basis`` that were given, as they are stored.

    Args:
        now: seconds since 1970; None: now.

    Raises:
        UnusableRetention: a date that cannot be meant now.
    """
    given = options.model_dump(include={*RETENTION}, exclude_unset=True)
    if (basis := given.get("legal_basis")) is not None:
        given["legal_basis"] = {k: v for k, v in basis.items() if v is not None}
    if (problem := moment_problem(given, time.time() if now is None else now)) is not None:
        raise UnusableRetention(problem)
    return given
