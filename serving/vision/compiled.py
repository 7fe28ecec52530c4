"""Loops that numba compiles, once for each machine and not for each process.

To compile those of the detection takes 4 s of a processor. numba keeps what it has compiled beside
the module, or where that cannot be written to, in ``~/.cache/numba``, for this kind of processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[F], F]:
    """`numba.njit` without the GIL, its result kept for other processes.

    A function may refer to nothing but its arguments, NumPy and Python: numba does not see when
    anything else has changed.

    Args:
        options: further ones of `numba.njit`.
    """

    def decorate(function: F) -> F:
        try:
            kept: F = njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # neither place can be written to
            kept = njit(nogil=True, **options)(function)
        return kept

    return decorate
