"""A job over a bucket: where its photos and its results are, its options, and its ``job.json``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from serving.errors import CommitConflict, InvalidInput, StoreUnfit
from serving.gallery.store import DescribedStore, NotFound, PreconditionFailed
from serving.operations.batch.once import create
from serving.reading.strict import load_json

JOB, SUMMARY = "job.json", "summary.json"
_VERSION = 1
_URI = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]*)(?:/(?P<prefix>.*))?", re.DOTALL)


@dataclass(frozen=True)
class Folder:
    """The objects of a bucket below a prefix, which is empty or ends in a slash."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, uri: str) -> Folder:
        """Raises ValueError when it is not ``s3://BUCKET/PREFIX``."""
        found = _URI.fullmatch(uri)
        try:
            uri.encode()
        except UnicodeEncodeError:  # bytes of the command line that are no UTF-8
            found = None
        if found is None:
            raise ValueError(f"{uri!r} is not of the form s3://BUCKET/PREFIX")
        prefix = (found["prefix"] or "").rstrip("/")
        return cls(found["bucket"], f"{prefix}/" if prefix else "")

    @property
    def name(self) -> str:
        """That of the folder alone; of a whole bucket, the bucket's."""
        return self.prefix.rstrip("/").rpartition("/")[2] or self.bucket

    def key(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def __str__(self) -> str:
        return self.uri(self.prefix)


@dataclass(frozen=True)
class Place:
    """A folder, and the store of its bucket."""

    store: DescribedStore
    folder: Folder


@dataclass(frozen=True, kw_only=True)
class Job:
    """What decides the lines of a job. How fast it runs, and the addresses of the servers, do not.

    Attributes:
        kind: of the job, in ``job.json``.
        source: the folder of the photos, as a URI.
        collection: None: the service's own.
        max_bytes: a photo with more bytes is not read.
    """

    kind: ClassVar[str]
    source: str
    collection: str | None = None
    max_bytes: int

    def parameters(self) -> dict[str, Any]:
        return {"version": _VERSION, "kind": self.kind, **dataclasses.asdict(self)}

    def digest(self) -> str:
        """SHA-256 of the parameters, hex; each part's metadata have it."""
        return hashlib.sha256(json.dumps(self.parameters(), sort_keys=True).encode()).hexdigest()


def is_begun(out: Place, job: Job) -> bool:
    """Whether the folder of results holds this job.

    Raises:
        InvalidInput: it holds another one.
    """
    key = out.folder.key(JOB)
    try:
        data = out.store.get(key).data
    except NotFound:
        return False
    there = None
    with suppress(ValueError, RecursionError):
        there = load_json(data.decode())
    if not isinstance(there, dict):
        raise InvalidInput(f"{out.folder}{JOB} is no job of this command; give another --out.")
    if differing := _differences(there, job.parameters()):
        raise InvalidInput(
            f"{out.folder} holds a job with another source or other options: {differing}. Give "
            "another --out, or the source and options of that job to go on with it."
        )
    return True


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    names = [name for name in {**here, **there} if there.get(name) != here.get(name)]
    shown = [f"{n} is {json.dumps(there.get(n))}, not {json.dumps(here.get(n))}" for n in names]
    return ", ".join(shown)


def begin(out: Place, job: Job, sleep: Callable[[float], None] = time.sleep) -> None:
    """Write ``job.json``, unless a run of this job has.

    Raises:
        CommitConflict: other writes of it go on, and none of them is there in the end.
        InvalidInput: another job took the folder at the same time.
        StoreUnfit: the store does not keep two runs from writing the same part.
        Unavailable: the store is away.
    """
    key = out.folder.key(JOB)
    data = json.dumps(job.parameters(), indent=2).encode() + b"\n"
    if not is_begun(out, job):
        # Whoever has written it: `is_begun` tells whether it is this job.
        create(out.store, key, data, {"run": uuid.uuid4().hex}, sleep)
        if not is_begun(out, job):
            raise CommitConflict(f"{out.folder}{JOB} was removed while it was written.")
    try:
        # It is there, so this must fail; should it not, it writes the same again.
        out.store.put(key, data, if_absent=True)
    except PreconditionFailed:
        return
    raise StoreUnfit(
        "The object store ignores If-None-Match on PUT, so two runs would overwrite each other's "
        "results; use AWS S3, MinIO, R2, SeaweedFS or another store that has it."
    )
