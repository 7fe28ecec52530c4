"""The gallery of embeddings: immutable segments and one manifest in an object store.

Imports neither Ray nor torch, so a small process (a CronJob, the command line) can work on it.
"""

from serving.gallery.gallery import Gallery
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.snapshot import Person, Snapshot
from serving.gallery.store import Store, check_conditional_writes

__all__ = [
    "Gallery",
    "Kind",
    "Operation",
    "Person",
    "Segment",
    "Snapshot",
    "Store",
    "check_conditional_writes",
]
