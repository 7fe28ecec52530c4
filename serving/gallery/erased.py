"""Who was erased: salted hashes of ids in the manifest, for a limited time and number.

They let a restore leave out who was erased since the backup, and let a sweep know that a writer may
still upload what an erasure could not see. An id is a small number, so a hash hides it only from
somebody who reads the manifest by the way; the ids of the erased are no secret from an operator.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable

from serving.gallery.formats import Stored
from serving.gallery.limits import Limits


class ErasedTogether(Stored):
    """The people of one erasure, by the hashes of their ids.

    Attributes:
        version: the gallery's, when their embeddings went.
    """

    time: float
    hashes: tuple[str, ...]
    version: int | None = None


class Erased(Stored):
    """The erasures that a manifest remembers, the oldest first."""

    salt: str
    erasures: tuple[ErasedTogether, ...] = ()

    def hash_of(self, person: int) -> str:
        """16 hex digits: a false match only makes a sweep or a restore more careful."""
        salt = bytes.fromhex(self.salt)
        return hashlib.blake2b(str(person).encode(), key=salt, digest_size=8).hexdigest()

    def among(self, people: Iterable[int], but: Erased | None = None) -> set[int]:
        """Those of ``people`` who were erased, by an erasure that ``but`` does not know."""
        known = but.erasures if but is not None and but.salt == self.salt else ()
        hashes = {h for e in self.erasures if e not in known for h in e.hashes}
        return {p for p in people if self.hash_of(p) in hashes} if hashes else set()

    def known_at(self, version: int) -> Erased:
        """The erasures that came before a version of the gallery; of the others it may hold people
        that were erased since."""
        kept = tuple(e for e in self.erasures if e.version is not None and e.version < version)
        return self.model_copy(update={"erasures": kept})

    def later_than(self, time: float) -> bool:
        """Whether somebody was erased after ``time``, in seconds since 1970."""
        return any(e.time > time for e in self.erasures)


def remembering(
    before: Erased | None, people: Collection[int], version: int, now: float, limits: Limits
) -> Erased:
    """With an erasure of ``people`` more, and without those that are too old or too many."""
    erased = before or Erased(salt=secrets.token_hex(16))
    hashes = tuple(erased.hash_of(p) for p in sorted(people))
    newest = ErasedTogether(time=now, hashes=hashes, version=version)
    kept: list[ErasedTogether] = []
    room = limits.remembered_erased
    for erasure in (newest, *reversed(erased.erasures)):
        if room <= 0 or erasure.time < now - limits.erased_life_s:
            break
        kept.append(erasure.model_copy(update={"hashes": erasure.hashes[:room]}))
        room -= len(erasure.hashes)
    return erased.model_copy(update={"erasures": tuple(reversed(kept))})
