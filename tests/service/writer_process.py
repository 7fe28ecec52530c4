"""A process that writes to a gallery in a loop, or maintains it, until it is killed.

A writer notes in its journal what it begins and what became of it: a line that is written is in
the file, whatever is killed next. What its commits hold follows from their numbers alone.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.errors import CommitConflict, GalleryError, Unavailable, UnknownIdentity
from serving.gallery import Gallery, Kind, Operation, Store
from serving.gallery.compaction import compact
from serving.gallery.s3 import connect
from serving.gallery.stored import StoredGallery
from serving.gallery.sweep import sweep
from serving.settings import GallerySettings
from tests.support.people import DIMENSION, LOCATION, unit_rows

# Each commit adds a row of its own to this person, so its rows tell which commits there are and in
# which order they came.
LOG = 0
_COMMITS_EACH = 100_000
_PEOPLE_EACH = 8
GRACE_S = 1.0


@dataclass(frozen=True)
class Plan:
    """What the commit number ``n`` of a writer does."""

    writer: int
    n: int

    @property
    def log_row(self) -> NDArray[np.float32]:
        return self._rows(1, 0)

    def operations(self) -> list[Operation]:
        chance = random.Random(f"{self.writer} {self.n}")
        kind = chance.choice([Kind.PUT, Kind.PUT, Kind.APPEND, Kind.DELETE, Kind.MERGE])
        person, *others = chance.sample(self._people(), 3)
        now = time.time()
        log = Operation(Kind.APPEND, LOG, now, self.log_row)
        if kind in (Kind.PUT, Kind.APPEND):
            change = Operation(kind, person, now, self._rows(chance.randint(1, 3), 1))
        else:
            change = Operation(kind, person, now, sources=others if kind is Kind.MERGE else ())
        return [log, change]

    def require(self) -> list[int]:
        chance = random.Random(f"{self.writer} {self.n} require")
        return chance.sample(self._people(), 1) if chance.random() < 0.2 else []

    def _people(self) -> range:
        first = 100 * (self.writer + 1)
        return range(first, first + _PEOPLE_EACH)

    def _rows(self, count: int, which: int) -> NDArray[np.float32]:
        number = self.writer * _COMMITS_EACH + self.n
        return unit_rows(count, DIMENSION, seed=10 * number + which)


@dataclass
class Journal:
    """What a writer noted, by the numbers of its commits."""

    begun: int = 0
    versions: dict[int, int] = field(default_factory=dict)  # of those that were acknowledged
    refused: dict[int, str] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)  # errors that no kill may cause

    @classmethod
    def read(cls, path: Path) -> Journal:
        journal = cls()
        for line in path.read_text().splitlines() if path.exists() else ():
            n, what, *rest = line.split(maxsplit=2)
            if what == "begun":
                journal.begun = int(n) + 1
            elif what == "done":
                journal.versions[int(n)] = int(rest[0])
            elif what == "refused":
                journal.refused[int(n)] = rest[0]
            elif what == "broken":
                journal.broken[int(n)] = rest[0]
        return journal


def gallery_in(store: Store) -> Gallery:
    return Gallery(store, "galleries", LOCATION)


def stored_gallery(store: Store) -> StoredGallery:
    return StoredGallery(store, "galleries", LOCATION)


def _write(settings: GallerySettings, writer: int, path: Path) -> None:
    gallery = gallery_in(connect(settings))
    first = Journal.read(path).begun
    with path.open("ab", buffering=0) as file:
        for n in range(first, _COMMITS_EACH):
            plan = Plan(writer, n)
            file.write(f"{n} begun\n".encode())
            try:
                outcome = f"done {gallery.commit(plan.operations(), plan.require())}"
            except (UnknownIdentity, CommitConflict) as error:
                outcome = f"refused {error}"
            except GalleryError as error:
                outcome = f"broken {error!r}"
            except Unavailable as error:
                certain = "Nothing was written." in str(error)
                outcome = f"{'refused' if certain else 'unknown'} {error}"
                time.sleep(0.1)
            file.write(f"{n} {outcome}\n".encode())


def _maintain(settings: GallerySettings) -> None:
    gallery = stored_gallery(connect(settings))
    while True:
        try:
            compact(gallery)
            sweep(gallery, grace_s=GRACE_S)
        except GalleryError:
            raise
        except (CommitConflict, Unavailable):
            pass
        time.sleep(0.1)


def main(arguments: Sequence[str]) -> None:
    what, settings, *rest = arguments
    loaded = GallerySettings.model_validate_json(settings)
    if what == "write":
        _write(loaded, int(rest[0]), Path(rest[1]))
    else:
        _maintain(loaded)


if __name__ == "__main__":
    main(sys.argv[1:])
