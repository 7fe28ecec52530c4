"""`faces enroll s3://…`: the people of a prefix of a bucket, enrolled by the running service."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from serving.cli import jobs
from serving.cli.enrolling import Enroller, conflict_sentence
from serving.cli.services import Services
from serving.cli.terminal import harmless, progress_bar
from serving.client import ClientError
from serving.errors import (
    EnrolmentConflict,
    NotConfirmed,
    RetentionEnded,
    ServingError,
    TimedOut,
    TooLarge,
    UnsupportedImage,
)
from serving.gallery.store import NotFound
from serving.operations.batch.enrolments import EnrolmentJob, Enrolments, Notes, Unconfirmed
from serving.operations.batch.formats import Line
from serving.operations.batch.job import Folder
from serving.operations.batch.patience import Patience
from serving.operations.batch.reading import Refused
from serving.operations.batch.run import run
from serving.operations.enrolment import Answer, Photo
from serving.operations.names import NotPeople, names_file, names_of, unused_sentence

# These blame the person. Everything else (no answer, a key that is refused, a collection that is
# full) would befall all people after them, too.
_OF_THE_PERSON = {
    error.type
    for error in (
        EnrolmentConflict,
        NotConfirmed,
        RetentionEnded,
        ServingError,
        TimedOut,
        TooLarge,
        UnsupportedImage,
    )
}


@dataclass(frozen=True)
class BucketOptions:
    """The options of a source in a bucket; see `serving.cli.enroll`."""

    out: Folder
    concurrency: int
    part_people: int
    max_bytes: int
    wait: int
    errors_are_results: bool
    endpoint: str | None
    region: str


def enroll_bucket(
    services: Services,
    source: Folder,
    names: Path | Folder | None,
    append: bool,
    force: bool,
    retention: Mapping[str, Any],
    url: str,
    collection: str | None,
    options: BucketOptions,
) -> None:
    """Run the job to its end, and print what became of it."""
    stopping = threading.Event()
    patience = jobs.patience(stopping)
    by_id, digest = _names(services, names, options, patience)
    job = EnrolmentJob(
        source=str(source),
        collection=collection,
        max_bytes=options.max_bytes,
        names=digest,
        append=append,
        force=force,
        part_people=options.part_people,
        **retention,
    )
    where = options.endpoint, options.region
    needs = "enrolling photos needs to get and list objects"
    photos = jobs.place(services, source, *where, needs, patience)
    needs = "writing results needs to get, put and list objects"
    results = jobs.place(services, options.out, *where, needs, patience)
    service = jobs.patient_client(url, collection, options.wait, stopping)
    enroller = Enroller(service, force, retention)

    def send(
        person: int, name: str | None, sent: Sequence[Photo], append: bool, notes: Notes
    ) -> Answer:
        try:
            return enroller.send(person, name, sent, append, notes.answered)
        except ClientError as error:
            # A proxy with a limit of its own has no type of ours.
            kind = TooLarge.type if error.status == TooLarge.status else error.type
            blamed = Refused(kind, error.status, error.detail) if kind in _OF_THE_PERSON else None
            # An enrolment is one commit: below 500 it is refused before that.
            if error.not_confirmed and (
                kind is None or (blamed is not None and (error.status or 500) >= 500)
            ):
                raise Unconfirmed(error, blamed) from None
            if blamed is None:
                raise
            raise blamed from None

    task = Enrolments(
        job, photos, results, by_id, send, lambda seconds: jobs.pause(stopping, seconds)
    )
    with progress_bar() as progress:
        bar = progress.add_task("Enrolling", total=None)
        errors = jobs.Errors(progress, "person")

        def done(line: Line) -> None:
            progress.update(bar, advance=1, total=len(task.people.folders))
            errors.line(line)
            for photo in line["not_used"]:
                errors.say(f"{photo['photo']}: not used. {photo['reason']}")
            for conflict in line["conflicts"]:
                for photo in conflict["photos"]:
                    errors.say(f"{photo}: {conflict_sentence(conflict)}")

        finished = run(
            task,
            results,
            concurrency=options.concurrency,
            begun=lambda lines: progress.advance(bar, lines),
            done=done,
            stopping=stopping,
        )
    jobs.report(finished, options.out, _say)
    if not finished.before:
        _say_of_source(task, by_id, names)
    jobs.fail_for(finished.summary, "could not be enrolled.", options.errors_are_results)


def _names(
    services: Services, names: Path | Folder | None, options: BucketOptions, patience: Patience
) -> tuple[Mapping[int, str], str | None]:
    """The names by id, and the SHA-256 of their file.

    Raises:
        NotPeople: it cannot be read, or holds no names.
    """
    if names is None:
        return {}, None
    if isinstance(names, Path):
        data = names_file(names)
        return names_of(data, str(names)), hashlib.sha256(data).hexdigest()
    uri, key = str(names).rstrip("/"), names.prefix.rstrip("/")
    if not key:
        raise NotPeople(f"{uri} is a bucket; give the file of names in it.")
    needs = "reading names needs to get objects"
    place = jobs.place(services, names, options.endpoint, options.region, needs, patience)
    try:
        data = place.store.get(key).data
    except NotFound:
        raise NotPeople(f"{uri} is not there.") from None
    return names_of(data, uri), hashlib.sha256(data).hexdigest()


def _say(summary: Mapping[str, Any]) -> None:
    click.echo(f"{summary['enrolled']} of {summary['people']} people are enrolled.")
    versions = summary["gallery_versions"]
    at = f" Gallery version {versions[1]}." if versions else ""
    click.echo(
        f"{summary['used']} of {summary['photos']} photos are used, in {summary['seconds']:.1f} s, "
        f"{summary['photos_per_second']:.1f} a second; errors: {jobs.errors_of(summary)}.{at}"
    )


def _say_of_source(task: Enrolments, by_id: Mapping[int, str], names: Path | Folder | None) -> None:
    """What is in the source and in the names beside people with photos."""
    people = task.people
    if (passed_over := people.passed_over.sentence()) is not None:
        click.echo(harmless(passed_over))
    unused = [] if people.alone else sorted(by_id.keys() - people.folders.keys())
    if (sentence := unused_sentence(unused, str(names).rstrip("/"))) is not None:
        click.echo(harmless(sentence))
