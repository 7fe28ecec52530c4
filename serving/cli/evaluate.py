"""The command `faces evaluate`."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from serving.cli.evaluation import (
    Opened,
    failures_by_file,
    list_failures,
    measuring,
    opened,
    print_section,
)
from serving.cli.terminal import (
    NEW_PATH,
    PATH,
    Command,
    Failed,
    Integer,
    Number,
    harmless,
    progress_bar,
)
from serving.evaluation import plots
from serving.evaluation.distractors import Distractors, read_distractors
from serving.evaluation.evaluate import STEPS, Asked, Report, evaluate, worst_pairs
from serving.evaluation.groups import Groups, clean, read_groups
from serving.evaluation.html_report import Pictures, page
from serving.evaluation.sample import Sample
from serving.evaluation.tables import headline, sections
from serving.matching.threshold import threshold_problem

_WORST = 8  # pairs of each kind


class _Threshold(click.ParamType[Any]):
    name = "FLOAT|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value == "auto" or isinstance(value, float):
            return value
        cosine = Number(-1, 1).convert(value, param, ctx)
        if math.isnan(cosine):
            self.fail("is no cosine", param, ctx)
        return cosine


@click.command("evaluate", cls=Command)
@measuring
@click.option("--threshold", type=_Threshold(), help="Cosine, or auto; default: the settings'.")
@click.option(
    "--fpir",
    type=Number(0, 1, min_open=True, max_open=True),
    help="The wanted FPIR, for the thresholds that are proposed; default: the settings'.",
)
@click.option(
    "--groups",
    "groups_file",
    type=PATH,
    help="A CSV file: a column id (the folder's name), and one or more with groups.",
)
@click.option("--group-folders", is_flag=True, help="DIR has a folder for each group of people.")
@click.option("--gallery", type=PATH, help="An export of a gallery, to look people up among more.")
@click.option("--splits", default=50, show_default=True, type=Integer(1, 10_000))
@click.option("--bootstrap", default=500, show_default=True, type=Integer(10, 100_000))
@click.option("--json", "json_file", type=NEW_PATH, help="Write the numbers into a file.")
@click.option("--html", "html_file", type=NEW_PATH, help="Write a page with plots.")
@click.option("--file-names", is_flag=True, help="Name photos with faults in both files, too.")
@click.option("--pictures", is_flag=True, help="Show the worst pairs of faces in that page.")
def evaluate_command(
    folder: Path,
    model: str,
    repository: Path,
    args: Path | None,
    seed: int,
    threshold: Any,
    fpir: float | None,
    groups_file: Path | None,
    group_folders: bool,
    gallery: Path | None,
    splits: int,
    bootstrap: int,
    json_file: Path | None,
    html_file: Path | None,
    file_names: bool,
    pictures: bool,
) -> None:
    """Measure how well the people of DIR are recognised: a folder of photos for each.

    The service need not run. Only aggregates are written, unless --pictures or --file-names is
    given.
    """
    if pictures and html_file is None:
        raise click.UsageError("--pictures shows faces in a page; give --html FILE too.")
    if html_file is not None:
        plots.check()
    measured = opened(folder, model, repository, args, grouped=group_folders)
    groups = _groups(measured, groups_file)
    card, matching = measured.model.card, measured.settings.match
    if threshold is not None:
        matching = matching.model_copy(update={"threshold": threshold})
    problem = threshold_problem(matching, card)
    if problem is not None:
        raise Failed(problem)
    others = Distractors(np.empty((0, 0), np.float16), 0)
    if gallery is not None:
        ids = np.array([person.id for person in measured.subjects.found.people])
        others = read_distractors(gallery, card.id, ids)
    sample = measured.embed()
    with progress_bar() as progress:
        task = progress.add_task("Measuring", total=STEPS)
        report, curves = evaluate(
            sample,
            card,
            matching,
            others,
            Asked(splits, bootstrap, seed, fpir),
            lambda: progress.advance(task),
            groups,
        )
        progress.update(task, completed=STEPS)
    _print(report)
    if others.left_out:
        click.echo(f"Left out of the gallery, as they are in {folder}: {others.left_out} people.")
    list_failures(sample, folder)
    for line in report.faults.details:
        click.echo(harmless(line))
    if file_names:
        files = [*failures_by_file(sample, folder), *report.faults.details]
        report = replace(report, files=[harmless(line) for line in files])
    strangers, own = worst_pairs(sample, curves.pairs, _WORST)
    if json_file is not None:
        _write(json_file, json.dumps(report.to_json(), indent=2) + "\n")
    if html_file is not None:
        shown = []
        if pictures:
            shown = [
                _pictures("The most alike strangers", strangers, sample, measured),
                _pictures("The least alike photos of one person", own, sample, measured),
            ]
        _write(html_file, page(report, plots.plots(report, curves), shown))


def _groups(measured: Opened, file: Path | None) -> Groups:
    """The groups of the folder's level and of the file; says who is in none of them."""
    subjects = measured.subjects
    by: dict[str, Mapping[str, str]] = {}
    unknown: Sequence[str] = ()
    if subjects.groups:
        by["folder"] = {name: clean(group) for name, group in subjects.groups.items()}
    if subjects.in_two_groups:
        click.echo(f"In two groups, so in none: {_some(subjects.in_two_groups)}.", err=True)
    if file is not None:
        read = read_groups(file, [str(person.name) for person in subjects.found.people])
        if taken := set(by) & set(read.by):
            raise Failed(f"{file}: {_some(sorted(taken))} is the name of the folders' level.")
        by.update(read.by)
        unknown = read.unknown
        if unknown:
            click.echo(
                f"{len(unknown)} rows of {harmless(file.name)} name nobody of the folder: "
                f"{_some(unknown)}.",
                err=True,
            )
    return Groups(by, unknown)


def _some(names: Sequence[str]) -> str:
    return harmless(", ".join(names[:5]) + (", …" if len(names) > 5 else ""))


def _print(report: Report) -> None:
    for line in headline(report):
        click.echo(line)
    for section in sections(report):
        print_section(section)


def _pictures(
    title: str, pairs: Sequence[tuple[int, int, float]], sample: Sample, measured: Opened
) -> Pictures:
    def picture(place: int) -> bytes:
        crop = measured.cropper.crop(sample.photos[place])
        if not isinstance(crop, np.ndarray):
            # It had a face when it was measured, so the file has changed since.
            raise Failed(f"{crop.photo}: {crop.detail}")
        file = io.BytesIO()
        Image.fromarray(crop.transpose(1, 2, 0)).save(file, "JPEG")
        return file.getvalue()

    def name(place: int) -> str:
        return f"{sample.name_of(int(sample.person[place]))}/{sample.photos[place].name}"

    return Pictures(
        title, [(picture(a), picture(b), f"{c:.3f}: {name(a)}, {name(b)}") for a, b, c in pairs]
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror or error}.") from None
    click.echo(f"Written to {path}.")
