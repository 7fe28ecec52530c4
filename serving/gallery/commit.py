"""The commit: replace the manifest, provided that no other writer has replaced it since.

Every change of a gallery, of people or of how they are stored, goes through `apply`.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable

from serving.errors import CommitConflict, GalleryError, NotConfirmed, Unavailable
from serving.gallery.limits import DEFAULT_LIMITS, Limits
from serving.gallery.manifest import Manifest
from serving.gallery.manifest_file import ManifestFile
from serving.gallery.observer import NOBODY, Observer
from serving.gallery.store import PreconditionFailed
from serving.gallery.version import Version

log = logging.getLogger(__name__)

_NOT_CONFIRMED = "The write was not confirmed: look whether it is there before you send it again."


def apply(
    file: ManifestFile,
    mutate: Callable[[Manifest, str], Manifest | None],
    sleep: Callable[[float], None],
    observer: Observer = NOBODY,
    limits: Limits = DEFAULT_LIMITS,
) -> Version:
    """Replace the manifest by what ``mutate`` makes of it; after a conflict, try on the new one.

    Args:
        mutate: from the manifest and the id of the commit, which the result must remember; may be
            called several times, each time with another id, and may write objects. None: there is
            nothing to commit.
        sleep: waits for a number of seconds.
        observer: is called for every conflict.

    Returns:
        The version that the commit made; the present one when there was nothing to commit.

    Raises:
        CommitConflict: other writers were faster each time; nothing was committed.
        Unavailable: the store is away; nothing was committed.
        NotConfirmed: the store went away during the last write, and the outcome is not known.
    """
    # Another id for each attempt: should two of them be carried out, one before a restore from a
    # backup and one after it, the id shows in which of the two histories a reader is.
    commits: list[str] = []
    failures = 0
    # The manifest that a replacement was made from whose reply got lost. While it is still the
    # current one, the store may yet carry out that write.
    doubted: tuple[Manifest, str | None] | None = None
    for attempt in range(limits.commit_tries):
        if attempt:
            sleep(random.uniform(0, min(2.0, 0.05 * 2**attempt)))
        replacing = False
        try:
            manifest, etag = file.read()
            if (version := manifest.version_of(commits)) is not None:
                return version  # the reply to an earlier try got lost
            if doubted is not None and etag != doubted[1]:
                if not manifest.remembers_all_since(doubted[0], limits.remembered_commits):
                    break  # ours may have been among those that are forgotten
                doubted = None
            file.require_writable(manifest)
            commits.append(uuid.uuid4().hex)
            after = mutate(manifest, commits[-1])
            if after is None:
                return manifest.at
            after = file.prepare(manifest, after)
            replacing = True
            file.replace(after, etag)
        except PreconditionFailed:
            observer.conflicted()
            continue
        except GalleryError:
            raise
        except Unavailable as error:
            log.warning("commit %s, attempt %d: %s", commits[-1:], attempt + 1, error)
            if replacing:
                doubted = (manifest, etag)
            failures += 1
            if failures < limits.store_failures:
                continue
            if doubted is None:
                raise Unavailable(f"{error} Nothing was written.") from error
            raise NotConfirmed(f"{error} {_NOT_CONFIRMED}") from error
        else:
            return after.at
    if doubted is not None:
        raise NotConfirmed(f"Other writers were faster. {_NOT_CONFIRMED}")
    raise CommitConflict(
        f"Other writers were faster {limits.commit_tries} times; nothing was written, try again."
    )
