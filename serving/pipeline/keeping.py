"""Until when a person is kept who is enrolled without an end of the retention."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from serving.gallery.retention import text_of
from serving.settings import RetentionSettings

_DAY_S = 86_400


def default_end(
    keeping: RetentionSettings,
    collection: str,
    given: Mapping[str, Any],
    now: float | None = None,
) -> str | None:
    """The ``expires_at`` by the settings; None: they want none, or ``given`` has its own, which may
    be None for no end.

    Args:
        now: seconds since 1970; None: now.
    """
    days = keeping.days_in(collection)
    if days is None or "expires_at" in given:
        return None
    return text_of((time.time() if now is None else now) + days * _DAY_S)
