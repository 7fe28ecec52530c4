"""What a command that ran as in a shell left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Faces = Callable[..., Ended]
