"""The command `faces evaluate-liveness`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import Progress

from serving.cli.terminal import (
    NEW_PATH,
    PATH,
    URL,
    Command,
    Failed,
    Number,
    client,
    harmless,
    plain,
    print_table,
    progress_bar,
)
from serving.client import Client, ClientError
from serving.errors import BadRequest, TooLarge, UnsupportedImage

if TYPE_CHECKING:
    from serving.evaluation.presentation_attacks import PadReport, Presentation, Proportion

# Refusals of one photo; with any other one, the next photo would fare no better.
_OF_THE_PHOTO = {BadRequest.type, TooLarge.type, UnsupportedImage.type}


@click.command("evaluate-liveness", cls=Command)
@click.argument("folder", metavar="DIR", type=PATH)
@click.option(
    "--threshold",
    type=Number(0, 1),
    help="Of the probability of live; default: the service's own verdicts.",
)
@click.option("--json", "json_file", type=NEW_PATH, help="Write the numbers into a file.")
@URL
def evaluate_liveness(
    folder: Path, threshold: float | None, json_file: Path | None, url: str
) -> None:
    """Measure how well the running service tells people from presentation attacks.

    DIR has photos in bona-fide/ and in attacks/SPECIES/, for example attacks/print/. A folder below
    these holds the photos of one person, or of one print or screen.

    Each photo is looked up, so it is in the service's audit and metrics, too.
    """
    try:
        # Here, since the Python client alone is installed without what these import.
        from serving.evaluation.presentation_attacks import measure
        from serving.operations.presentations import ATTACKS, BONA_FIDE, presentations_in
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        raise Failed(
            f"This command needs {package}, which is not installed: pip install facenet-serving."
        ) from None
    folder = folder.resolve()
    found = presentations_in(folder)
    if found.passed_over is not None:
        click.echo(harmless(found.passed_over), err=True)
    sources = [*found.bona_fide, *(s for kind in found.attacks.values() for s in kind)]
    with progress_bar() as progress:
        progress.add_task("Looking at photos", total=sum(map(len, sources)))
        test = _Test(client(url), folder, threshold is not None, progress)
        bona_fide = test.present(found.bona_fide)
        attacks = {kind: test.present(own) for kind, own in found.attacks.items()}
    if test.refused:
        click.echo(f"The service refused {_count(len(test.refused), 'photo')}; not counted:")
        for line in test.refused:
            click.echo(harmless(line))
    report = measure(bona_fide, attacks, threshold)
    for kind, rate in ((BONA_FIDE, report.bona_fide.bpcer), (ATTACKS, report.attacks.apcer)):
        if rate.value is None:
            raise Failed(f"No photo in {folder / kind} has a face; there is nothing to measure.")
    _print(report, test.several_faces)
    if json_file is not None:
        counts = {"refused": len(test.refused), "several_faces": test.several_faces}
        try:
            text = json.dumps({**report.to_json(), **counts}, indent=2) + "\n"
            json_file.write_text(text, encoding="utf-8")
        except OSError as error:
            problem = error.strerror or error
            raise Failed(f"{json_file} cannot be written: {problem}.") from None
        click.echo(f"Written to {json_file}.")


_NO_SCORES = (
    "The service gives this key no scores. Use a key that may enrol, or set match.near_misses to "
    "identify."
)


@dataclass
class _Test:
    """Asks the service about photos, and notes what is no verdict.

    Attributes:
        folder: the one that names of photos are relative to.
        scored: scores are needed.
        refused: a line for each photo that the service refused.
        several_faces: photos with more than one face.
    """

    service: Client
    folder: Path
    scored: bool
    progress: Progress
    refused: list[str] = field(default_factory=list)
    several_faces: int = 0

    def present(self, sources: Sequence[Sequence[Path]]) -> list[Presentation]:
        """The answers to the photos of some sources, without those to photos that were refused."""
        from serving.evaluation.presentation_attacks import Presentation

        presentations = []
        for number, photos in enumerate(sources):
            for photo in photos:
                name = photo.relative_to(self.folder)
                try:
                    # The largest face is the one that was presented.
                    answer = self.service.infer(photo, max_faces=1)
                except ClientError as error:
                    if error.type not in _OF_THE_PHOTO and error.status != TooLarge.status:
                        raise Failed(f"Stopped at {name}: {error}") from None
                    self.refused.append(f"{name}: {error}")
                else:
                    self.several_faces += answer["more_faces"]
                    presentations.append(Presentation(number, *self._verdict(answer["faces"])))
                self.progress.advance(self.progress.task_ids[0])
        return presentations

    def _verdict(self, faces: Sequence[Any]) -> tuple[bool | None, float | None]:
        """Whether the largest face counts as live, and its score; None: there is no face."""
        if not faces:
            return None, None
        liveness = faces[0].get("liveness")  # an older service has none
        if liveness is None:
            raise Failed("The service checks no faces for attacks; set liveness.model.")
        if self.scored and liveness["score"] is None:
            raise Failed(f"--threshold needs scores. {_NO_SCORES}")
        return liveness["live"], liveness["score"]


def _print(report: PadReport, several_faces: int) -> None:
    own = report.threshold is None
    click.echo(
        f"At {'the threshold of the service' if own else f'threshold {report.threshold:g}'}."
    )
    if several_faces:
        click.echo(f"{_count(several_faces, 'photo')} with several faces: the largest one counts.")
    rows = [(name, rates.apcer, rates.apnrr) for name, rates in report.species.items()]
    rows.append(("all attacks", report.attacks.apcer, report.attacks.apnrr))
    _table(
        "Attacks: APCER counts as live, APNRR has no face",
        ("species", "photos", "sources", "APCER (95%)", "APNRR (95%)", "shown from"),
        [_row(*row) for row in rows],
    )
    if report.worst_species is not None:
        worst = report.species[report.worst_species].apcer
        line = f"Highest APCER, the one that counts: {_told(worst)}, {report.worst_species}."
        click.echo(harmless(line))
    if silent := [name for name, rates in report.species.items() if rates.apcer.value is None]:
        click.echo(harmless(f"Not in it, as none of its photos has a face: {', '.join(silent)}."))
    real = report.bona_fide
    _table(
        "Bona fide: BPCER counts as an attack, BPNRR has no face",
        ("", "photos", "sources", "BPCER (95%)", "BPNRR (95%)", "shown from"),
        [_row("bona fide", real.bpcer, real.bpnrr)],
    )
    click.echo("Shown from: the upper end of the interval, had there been no error.")
    if report.operating_points is None:
        click.echo(f"No other thresholds. {_NO_SCORES}")
        return
    points = []
    for point in report.operating_points:
        limit = f"{point.apcer_at_most * 100:g}%"
        if point.threshold is None or point.apcer is None or point.bpcer is None:
            points.append((point.name, limit, "none up to 1", "-", "-", "-"))
            continue
        points.append(
            (
                point.name,
                limit,
                f"{point.threshold:.5f}",
                f"{_told(point.apcer)}, {point.species}",
                _percent(point.apcer_upper_bound or 0.0),
                _told(point.bpcer),
            )
        )
    _table(
        "BPCER at the lowest threshold with a highest APCER of at most a limit",
        (
            "",
            "limit",
            "threshold",
            "highest APCER (95%)",
            "upper bound",
            "BPCER (95%)",
        ),
        points,
    )
    click.echo("Upper bound: of the intervals of all species. Above the limit, it is not shown.")
    click.echo("Chosen on these photos: measure with other ones at --threshold.")


def _row(name: str, error: Proportion, silent: Proportion) -> tuple[str, ...]:
    shown = "-" if error.shown_from is None else _percent(error.shown_from)
    photos, sources = f"{silent.presentations:,}", f"{silent.sources:,}"
    return name, photos, sources, _told(error), _told(silent), shown


def _told(share: Proportion) -> str:
    if share.value is None or share.low is None or share.high is None:
        return f"- ({share.note})"
    return f"{_percent(share.value)} ({_percent(share.low)} to {_percent(share.high)})"


def _percent(share: float) -> str:
    percent = share * 100
    if 0 < percent < 0.01:
        return "<0.01%"
    return f"{percent:.1f}%" if percent >= 1 or percent == 0 else f"{percent:.2g}%"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    plain().print(f"\n{title}")
    print_table(header, [list(map(harmless, row)) for row in rows])
