"""Checking: read every object of a gallery, and report damage and orphaned objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serving.errors import GalleryError
from serving.gallery.manifest import Manifest, SegmentRef
from serving.gallery.store import NotFound
from serving.gallery.stored import StoredGallery
from serving.gallery.sweep import unlisted_since


@dataclass(frozen=True)
class CheckReport:
    """Problems of a gallery, as sentences, and orphans: objects that nothing refers to.

    ``overdue`` are the ids of people who should have been erased by now, where that was looked for.
    """

    version: int
    segments: int
    operations: int
    embeddings: int
    problems: Sequence[str]
    orphans: Sequence[str]
    overdue: Sequence[int] = ()


def check(gallery: StoredGallery) -> CheckReport:
    """Read and verify everything. Raises Unavailable when the store is away."""
    manifest, _ = gallery.file.read()
    problems = list(_order_problems(manifest))
    missing: dict[str, str] = {}
    operations = embeddings = 0
    for ref in manifest.segments:
        try:
            segment = gallery.objects.read(ref)
        except NotFound as error:
            missing[ref.name] = f"The object {error} is missing."
        except GalleryError as error:
            problems.append(str(error))
        else:
            operations += len(segment)
            embeddings += len(segment.embeddings)
            if (len(segment), len(segment.embeddings)) != (ref.operations, ref.rows):
                key = gallery.objects.key(ref.name)
                problems.append(f"The manifest has other counts than the object {key}.")
    if missing:
        # Segments that were folded and swept meanwhile are not missing.
        listed = {s.name for s in gallery.file.read()[0].segments}
        problems += [text for name, text in missing.items() if name in listed]
    objects = dict(gallery.objects.all())
    known = manifest.names | unlisted_since(gallery, objects).keys()
    return CheckReport(
        version=manifest.version,
        segments=len(manifest.segments),
        operations=operations,
        embeddings=embeddings,
        problems=problems,
        orphans=sorted(objects.keys() - known),
    )


def _order_problems(manifest: Manifest) -> Iterator[str]:
    before: SegmentRef | None = None
    for ref in manifest.segments:
        if not ref.first <= ref.last <= manifest.version:
            yield f"The segment {ref.name} covers the versions {ref.first} to {ref.last}."
        together = before and (before.first, before.last) == (ref.first, ref.last)
        if before and not together and ref.first <= before.last:
            yield f"The segments {before.name} and {ref.name} cover the same versions."
        before = ref
