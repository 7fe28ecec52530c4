"""Limits of a gallery: sizes of segments, entries of the manifest, attempts of commits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The defaults are for production; tests pass smaller ones, to reach them in a few steps.

    All processes that write to a gallery should have the same.

    Attributes:
        recent_segments: segments that the manifest lists itself. More make each commit larger;
            fewer make commits write an index more often.
        remembered_commits: ids of past commits that the manifest keeps. A writer looks for its own
            within seconds.
        remembered_erased, erased_life_s: how many erased people the manifest remembers, and for how
            long; a restore of an older backup may bring others back.
        writer_life_s: longest time from a writer's first look at the gallery to its last upload.
            For as long after an erasure, sweeps remove uploads that were never listed at once.
        commit_tries: attempts of one commit while other writers are faster.
        store_failures: failures of the store after which a commit gives up.
        erase_tries: attempts of one erasure while compactions come between.
        segment_bytes: size of one segment that a compaction or an erasure writes. A process holds
            a few of them in memory at once, and an erasure rewrites the one that holds the person.
        small_segment_bytes: a segment up to this size is always folded.
        fold_factor: an older segment is folded with the newer ones when it is at most this many
            times as heavy as they are together. So the number of times that an embedding is
            rewritten grows only with the logarithm of the gallery's size, and dead rows of a large
            segment go when much has changed since.
    """

    recent_segments: int = 32
    remembered_commits: int = 128
    remembered_erased: int = 1000
    erased_life_s: float = 35 * 86400.0
    writer_life_s: float = 24 * 3600.0
    commit_tries: int = 12
    store_failures: int = 3
    erase_tries: int = 5
    segment_bytes: int = 64 * 2**20
    small_segment_bytes: int = 2**20
    fold_factor: int = 2


DEFAULT_LIMITS = Limits()
