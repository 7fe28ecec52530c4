"""What `faces evaluate` and `faces calibrate` share: the photos, and how tables are printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serving.cli.config import read_overrides
from serving.cli.terminal import (
    PATH,
    Failed,
    Integer,
    harmless,
    plain,
    print_table,
    progress_bar,
)
from serving.evaluation.sample import NotMeasurable, Sample, sample_of
from serving.evaluation.tables import Section
from serving.model.repository import ModelError
from serving.operations.folders import Subjects, subjects_in
from serving.settings import DEFAULT_MODEL, AppArgs

if TYPE_CHECKING:
    from serving.operations.offline import Cropper, LocalModel


MODEL = click.option("--model", default=DEFAULT_MODEL, show_default=True)
REPOSITORY = click.option(
    "--repository",
    default=Path("triton/models"),
    show_default=True,
    type=PATH,
    help="Triton's model repository.",
)
ARGS = click.option(
    "--args", type=PATH, help="A YAML file with settings of the application, as for `faces up`."
)


def measuring(command: Callable[..., None]) -> Callable[..., None]:
    """The options of both commands; an error of the measurement becomes a sentence."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (NotMeasurable, ModelError) as error:
            raise Failed(str(error)) from None

    for option in (
        click.option(
            "--seed", type=Integer(0), default=0, show_default=True, help="Of all that is drawn."
        ),
        ARGS,
        REPOSITORY,
        MODEL,
        click.argument("folder", metavar="DIR", type=PATH),
    ):
        run = option(run)
    return run


@dataclass(frozen=True)
class Opened:
    """The people, the model and the settings of a measurement."""

    subjects: Subjects
    settings: AppArgs
    model: LocalModel
    cropper: Cropper

    def embed(self) -> Sample:
        """The embeddings of all photos; the photos themselves are read here."""
        from serving.operations.offline import embed_photos

        people = self.subjects.found.people
        of = {person.id: person.photos for person in people}
        photos = [photo for own in of.values() for photo in own]
        with progress_bar() as progress:
            task = progress.add_task("Looking at photos", total=len(photos))
            embeddings = embed_photos(
                photos, self.cropper, self.model, lambda count: progress.advance(task, count)
            )
        names = {person.id: person.name or str(person.id) for person in people}
        return sample_of(of, embeddings, names)


def opened(
    folder: Path, model: str, repository: Path, args: Path | None, *, grouped: bool = False
) -> Opened:
    """Open the people, settings and model: all that can fail before a photo is read.

    Raises:
        NotPeople, ModelError: the folder holds no people, or there is no such traced model.
    """
    settings = AppArgs.model_validate(read_overrides(args) if args else {})
    subjects = subjects_in(folder, grouped=grouped)
    if subjects.found.passed_over is not None:
        click.echo(harmless(subjects.found.passed_over), err=True)
    # Here, since it takes seconds to load, and the other commands have no use for it.
    from serving.operations.offline import Cropper, LocalModel

    local = LocalModel(repository, model)
    return Opened(subjects, settings, local, Cropper(settings, local.card))


def print_section(section: Section) -> None:
    plain().print(f"\n{section.title}\n{section.note}")
    print_table(section.header, section.rows)


def list_failures(sample: Sample, folder: Path) -> None:
    for line in failures_by_file(sample, folder):
        click.echo(harmless(line))


def failures_by_file(sample: Sample, folder: Path) -> list[str]:
    """A sentence for each photo without an embedding."""
    return [
        f"{_inside(photo, folder)}: {problem}"
        for photo, problem in zip(sample.photos, sample.problems, strict=True)
        if problem is not None
    ]


def _inside(photo: Path, folder: Path) -> Path:
    return photo.relative_to(folder.resolve())
