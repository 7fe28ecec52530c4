"""Who has a name, without an index of names: a search in the encoded details of all people."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from serving.gallery.columns import Columns
from serving.gallery.details import Details

# Searched in pieces: each search holds the interpreter's lock.
_PIECE = 2**20


def slots_named(
    columns: Columns, details: Details, alive: NDArray[np.bool_], name: str
) -> list[int]:
    """The slots, in their order, of the living whose name is exactly this one."""
    # As `json.dumps` writes it; others may have left the characters beyond ASCII as they are.
    texts = {
        f'"name": {json.dumps(name, ensure_ascii=escaped)}'.encode("utf-8", "surrogatepass")
        for escaped in (True, False)
    }
    places = np.array(sorted(at for text in texts for at in _places(details, text)), np.int64)
    if not len(places):
        return []
    # Whoever has no details begins where another one does.
    living = np.flatnonzero(alive & (columns.details_length[: len(alive)] > 0))
    if not len(living):
        return []
    living = living[np.argsort(columns.details_start[living])]
    starts = columns.details_start[living]
    within = np.searchsorted(starts, places, side="right") - 1
    within = within[(within >= 0) & (places < (starts + columns.details_length[living])[within])]
    slots = np.unique(living[within]).tolist()
    # A word of the metadata may be called so, too.
    return [s for s in slots if columns.details_of(s, details).get("name") == name]


def _places(details: Details, text: bytes) -> Iterator[int]:
    """Where the text begins in the run of details."""
    size = details.nbytes
    for piece in range(0, size, _PIECE):
        at, end = piece - 1, min(size, piece + _PIECE + len(text) - 1)
        while (at := details.find(text, at + 1, end)) >= 0:
            yield at
