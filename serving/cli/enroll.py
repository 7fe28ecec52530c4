"""The command `faces enroll`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from serving.cli.retention import retention_of, retention_options
from serving.cli.terminal import PATH, URL, Command, Failed, client, harmless, progress_bar
from serving.client import Client, ClientError, ConflictBody
from serving.errors import NoUsableFace
from serving.operations.folders import PersonFolder, people_in

# Limits of one request, well under the service's defaults.
_BATCH_PHOTOS = 50
_BATCH_BYTES = 32 * 2**20


def batches(photos: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """Divide the photos into parts that fit into one request."""
    part: list[Path] = []
    size = 0
    for photo in photos:
        bytes_ = photo.stat().st_size
        if part and (len(part) == _BATCH_PHOTOS or size + bytes_ > _BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(photo)
        size += bytes_
    if part:
        yield part


def conflict_lines(photos: Sequence[Path], conflicts: Sequence[ConflictBody]) -> list[str]:
    """A line for each of ``photos`` that conflicts with their enrolment."""
    lines = []
    for conflict in conflicts:
        similarity = f"similarity {conflict['similarity']:.2f}"
        problem = f"seems to show somebody else than the other photos of this person ({similarity})"
        if conflict["type"] == "already-enrolled":
            name = f" ({conflict['name']})" if conflict["name"] else ""
            problem = (
                f"shows somebody who is enrolled already, as {conflict['id']}{name}: {similarity}"
            )
        lines += [f"{photos[n]}: {problem}" for n in conflict["images"]]
    return lines


@click.command(cls=Command)
@click.argument("folder", type=PATH)
@click.option("--names", type=PATH, help="A JSON object from id to name.")
@click.option("--append", is_flag=True, help="Add to the photos that are enrolled already.")
@click.option("--force", is_flag=True, help="Also photos that are poor, or of somebody else.")
@retention_options
@URL
def enroll(
    folder: Path,
    names: Path | None,
    append: bool,
    force: bool,
    url: str,
    **given: str | None,
) -> None:
    """Enrol the people of FOLDER: a folder of photos named by the id, or a folder of such."""
    retention = retention_of(**given)
    found = people_in(folder, names)
    people = found.people
    service = client(url)
    failed: list[str] = []
    with progress_bar() as progress:
        task = progress.add_task("Enrolling", total=sum(len(p.photos) for p in people))
        for person in people:
            progress.update(task, description=f"Enrolling {person.id}")
            try:
                _enroll(service, person, append, force, retention, progress, task)
            except ClientError as error:
                failed.append(f"{person.id}: {error}")
    for line in failed:
        click.echo(harmless(line), err=True)
    click.echo(f"{len(people) - len(failed)} of {len(people)} people are enrolled.")
    if found.passed_over is not None:
        click.echo(harmless(found.passed_over))
    if found.unused_names is not None:
        click.echo(harmless(found.unused_names))
    if failed:
        raise Failed(f"{len(failed)} could not be enrolled.")


def _enroll(
    service: Client,
    person: PersonFolder,
    append: bool,
    force: bool,
    retention: Mapping[str, Any],
    progress: Progress,
    task: Any,
) -> None:
    # The first batch with a usable photo creates the person, the later ones append to it.
    begun, refused = False, None
    for photos in batches(person.photos):
        try:
            answer = service.generate(
                person.id,
                photos,
                name=person.name,
                append=append or begun,
                force=force,
                **retention,
            )
        except ClientError as error:
            for line in conflict_lines(photos, error.conflicts):
                progress.console.print(line)
            if error.status != NoUsableFace.status:
                raise
            refused = error
        else:
            begun = True
            for photo, report in zip(photos, answer["images"], strict=True):
                if not report["used"]:
                    progress.console.print(f"{photo}: not used. {report['reason']}")
            for line in conflict_lines(photos, answer.get("conflicts") or ()):
                progress.console.print(line)
        progress.advance(task, len(photos))
    if refused is not None:
        if not begun:
            raise refused
        progress.console.print(f"{person.id}: {refused}")
