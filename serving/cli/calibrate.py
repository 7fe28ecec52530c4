"""The command `faces calibrate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from serving.cli.evaluation import list_failures, measuring, opened, print_section
from serving.cli.terminal import NEW_PATH, Command, Failed, Integer, Number
from serving.evaluation import calibrate as calibrating
from serving.evaluation.card_file import write_card
from serving.evaluation.sample import read_card
from serving.evaluation.tables import Section
from serving.model.card import ModelCard

_SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)


@click.command("calibrate", cls=Command)
@measuring
@click.option("--card", type=NEW_PATH, help="The model.json to write; default: the model's.")
@click.option(
    "--fpir",
    default=0.01,
    show_default=True,
    type=Number(0, 1, min_open=True, max_open=True),
    help="The share of lookups of unknown people that may be given a name.",
)
@click.option(
    "--people",
    default=1000,
    show_default=True,
    type=Integer(1),
    help="In the gallery that the card's fixed threshold is for.",
)
@click.option(
    "--far",
    default=0.001,
    show_default=True,
    type=Number(0, 1, min_open=True, max_open=True),
    help="The share of pairs of strangers that may be taken for one person.",
)
@click.option("--source", help="What the photos are; a few words for the card.")
@click.option("--dry-run", is_flag=True, help="Write nothing.")
def calibrate_command(
    folder: Path,
    model: str,
    repository: Path,
    args: Path | None,
    seed: int,
    card: Path | None,
    fpir: float,
    people: int,
    far: float,
    source: str | None,
    dry_run: bool,
) -> None:
    """Fit thresholds and confidences to the people of DIR, and write them into the model's card."""
    measured = opened(folder, model, repository, args)
    path = card or repository / model / "model.json"
    before = read_card(path)
    if before.id != measured.model.card.id:
        raise Failed(
            f"{path} is the card of {before.id}, and {measured.model.card.id} was measured."
        )
    sample = measured.embed()
    wanted = calibrating.Wanted(gallery=people, fpir=fpir, far=far)
    calibrated = calibrating.calibrate(sample, wanted, np.random.default_rng(seed), source)
    after = calibrated.card(before)
    for section in _changes(calibrated, before, after):
        print_section(section)
    list_failures(sample, folder)
    if calibrated.compared.people < calibrating.FEW_PEOPLE:
        click.echo(
            f"{calibrated.compared.people} people are few: see the interval, and add people "
            f"(from {calibrating.FEW_PEOPLE} on it is useful)."
        )
    if dry_run:
        click.echo("Nothing was written.")
        return
    write_card(path, after)
    click.echo(
        f"Written to {path} and to config.pbtxt beside it. Triton tells it after it has loaded the "
        "model again: restart it, or publish the model."
    )


def _margin_of(card: ModelCard) -> str:
    return "unknown" if card.margin is None else f"{card.margin.cosine:.3f}"


def _changes(
    calibrated: calibrating.Calibrated, before: ModelCard, after: ModelCard
) -> Sequence[Section]:
    rows = [
        ("threshold, gallery", f"{before.threshold:.3f}", f"{after.threshold:.3f}"),
        ("threshold, pairs", f"{before.pairs.threshold:.3f}", f"{after.pairs.threshold:.3f}"),
        *(
            (f"confidence at {c:.2f}", *(f"{card.confidence(c):.3f}" for card in (before, after)))
            for c in (0.5, 0.6, 0.7, 0.8)
        ),
        ("ambiguous within", *(_margin_of(card) for card in (before, after))),
    ]
    impostors = calibrated.fit.expected
    own = (calibrated.compared.single, calibrated.compared.centroid)
    costs = []
    for people in _SIZES:
        threshold = impostors.threshold(people, calibrated.wanted.fpir)
        named = [float(((o.cosines >= threshold) * o.shares()).sum()) for o in own]
        costs.append((f"{people:,}", f"{threshold:.3f}", *(f"{n:.3f}" for n in named)))
    return [
        Section("The card", after.calibration.measured_on, ("", "before", "after"), rows),
        Section(
            "match.threshold: auto",
            f"FPIR {calibrated.wanted.fpir:g}. Strangers: mean {impostors.mean:.3f}, "
            f"{impostors.dimensions:.1f} effective dimensions. The threshold at "
            f"{calibrated.wanted.gallery:,} people lies between {calibrated.fit.low:.3f} and "
            f"{calibrated.fit.high:.3f} (95%).",
            ("people", "threshold", "named, one photo enrolled", "named, all others"),
            costs,
        ),
    ]
