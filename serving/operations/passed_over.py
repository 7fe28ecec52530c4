"""The sentence on the files beside people's photos that are none."""

from __future__ import annotations

import os
from collections import Counter

# Suffixes that are counted apart, and places that are named.
_KINDS, _PLACES = 50, 3


class PassedOver:
    """Counts the files that are no photos of people, in the memory of a few."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._deeper = 0
        self._places: list[str] = []

    def add(self, name: str) -> None:
        """A file beside photos."""
        kind = os.path.splitext(name)[1].lower() or "without a suffix"
        # Times and versions look like suffixes, of which each is another one.
        room = len(self._kinds) < _KINDS or kind in self._kinds
        self._kinds[kind if room else "of other kinds"] += 1

    def add_deeper(self, folder: str) -> None:
        """A file in a folder in which no photos are looked for."""
        self._deeper += 1
        if folder not in self._places:
            self._places = sorted([*self._places, folder])[: _PLACES + 1]

    @property
    def total(self) -> int:
        return self._kinds.total() + self._deeper

    def sentence(self) -> str | None:
        """None: there are no such files."""
        parts = [f"{count} {kind}" for kind, count in sorted(self._kinds.items())]
        if self._deeper:
            more = ", …" * (len(self._places) > _PLACES)
            where = ", ".join(self._places[:_PLACES]) + more
            parts.append(f"{self._deeper} in sub-folders ({where})")
        if not self.total:
            return None
        were = "file was" if self.total == 1 else "files were"
        return f"{self.total} {were} passed over: {', '.join(parts)}."
