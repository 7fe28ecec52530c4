"""A report as tables of text, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.evaluation.calibrate import FEW_PEOPLE
from serving.evaluation.estimates import Estimate
from serving.evaluation.evaluate import Report
from serving.evaluation.metrics import Bin


@dataclass(frozen=True)
class Section:
    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def sections(report: Report) -> list[Section]:
    pairs, sure = report.verification, report.confidence
    measured = [
        _verification(report),
        *([_identification(report)] if report.identification else []),
    ]
    return [
        *measured,
        _reliability(
            "Confidence of an identification",
            f"Of the best candidate, in {sure.lookups:,} lookups, half for enrolled people.",
            sure.calibration_error,
            sure.reliability,
        ),
        _reliability(
            "Confidence that two photos are of one person",
            "Half of the pairs count for those of one person.",
            pairs.calibration_error,
            pairs.reliability,
        ),
    ]


def headline(report: Report) -> list[str]:
    """Sentences that say what was measured, and how."""
    asked = report.asked
    lines = [
        f"{report.model}: {report.photos:,} photos of {report.people:,} people, "
        f"{report.people_with_two:,} of them with two or more",
        f"{report.without_embedding:,} photos without a face count as failures",
        f"95% intervals from {asked.replicates:,} replicates over people; {asked.splits:,} "
        f"divisions into known and unknown; seed {asked.seed}",
    ]
    if report.people < FEW_PEOPLE:
        lines.insert(
            1,
            f"{report.people} people are few: this says little of others (from {FEW_PEOPLE} on it "
            "is useful)",
        )
    if report.distractors:
        lines.insert(1, f"{report.distractors:,} more people in every gallery")
    return lines


def told(estimate: Estimate) -> str:
    """``0.966 (0.931 to 0.989)``, and the note, if there is one."""
    if estimate.value is None:
        return f"- ({estimate.note})"
    text = _digits(estimate.value)
    if estimate.low is not None and estimate.high is not None:
        text += f" ({_digits(estimate.low)} to {_digits(estimate.high)})"
    return f"{text}, {estimate.note}" if estimate.note else text


def _digits(value: float) -> str:
    return f"{value:.3f}" if value >= 0.01 or not value else f"{value:.5f}"


def percent_of(rate: float) -> str:
    return f"{rate * 100:g}%"


def _verification(report: Report) -> Section:
    v = report.verification
    chosen = "" if v.chosen_threshold is None else f" (about {v.chosen_threshold:.2f})"
    return Section(
        "Verification (1:1): are two photos of one person?",
        f"{v.genuine_pairs:,} pairs of one person, {v.impostor_pairs:,} of strangers.",
        ("", "value"),
        [
            (f"accuracy, threshold chosen on other people{chosen}", told(v.accuracy)),
            ("equal error rate", told(v.eer)),
            *(
                (f"accepted (TAR) where FAR is {percent_of(far)}", told(estimate))
                for far, estimate in v.tar_at_far.items()
            ),
            (f"accepted at the card's {v.threshold:.3f}", told(v.tar)),
            ("strangers accepted there (FAR)", told(v.far)),
        ],
    )


def _identification(report: Report) -> Section:
    trials = report.identification
    rows = [
        ("people in the gallery", *(f"{i.gallery:,}" for i in trials)),
        (
            "known people, their lookups",
            *(f"{i.known_people}, {i.known_lookups:,}" for i in trials),
        ),
        ("photos of unknown people", *(f"{i.unknown_photos:,}" for i in trials)),
        ("rank-1", *(told(i.rank1) for i in trials)),
        *(
            (f"DIR where FPIR is {percent_of(fpir)}", *(told(i.dir_at_fpir[fpir]) for i in trials))
            for fpir in trials[0].dir_at_fpir
        ),
        ("current threshold", *(f"{i.threshold:.3f}" for i in trials)),
        ("known people named there", *(told(i.identification_rate) for i in trials)),
        ("unknown people named there (FPIR)", *(told(i.fpir) for i in trials)),
    ]
    return Section(
        "Identification (1:N): who is it, if anybody known?",
        "By the photos that are enrolled of a person.",
        ("", *(i.enrolled for i in trials)),
        rows,
    )


def _reliability(title: str, note: str, error: Estimate, bins: Sequence[Bin]) -> Section:
    rows = [
        (
            f"{b.low:.1f} to {b.high:.1f}",
            f"{b.share:.3f}",
            "-" if b.confidence is None else f"{b.confidence:.3f}",
            "-" if b.right is None else f"{b.right:.3f}",
        )
        for b in bins
    ]
    return Section(
        title,
        f"{note} Expected calibration error: {told(error)}.",
        ("told", "share of answers", "mean told", "right"),
        rows,
    )
