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
    used = len(alive)
    starts, lengths = columns.details_start[:used], columns.details_length[:used]
    ends = starts + lengths
    found: set[int] = set()
    # Other versions may have written the characters beyond ASCII as they are.
    for text in {json.dumps(name).encode(), json.dumps(name, ensure_ascii=False).encode()}:
        for at in _places(details, text):
            for slot in np.flatnonzero(alive & (starts <= at) & (at < ends)).tolist():
                # It may also be a word of the metadata.
                if slot not in found and columns.details_of(slot, details).get("name") == name:
                    found.add(slot)
    return sorted(found)


def _places(details: Details, text: bytes) -> Iterator[int]:
    """Where the text begins in the run of details."""
    size = details.nbytes
    for piece in range(0, size, _PIECE):
        at, end = piece - 1, min(size, piece + _PIECE + len(text) - 1)
        while (at := details.find(text, at + 1, end)) >= 0:
            yield at
