"""A report as tables of text, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.evaluation.calibrate import FEW_PEOPLE
from serving.evaluation.data_faults import ALIKE
from serving.evaluation.estimates import Estimate
from serving.evaluation.evaluate import Report
from serving.evaluation.groups import Differential, Ratio
from serving.evaluation.identification import Answers
from serving.evaluation.metrics import Bin
from serving.evaluation.proportions import Rate

ROC, DET, SCORES = "Verification: ROC", "Verification: DET", "Cosines of pairs"
OPEN_SET, DIR, CMC = "Identification: DET", "Identification: DIR over FPIR", "Identification: CMC"
BY_GROUP = "FPIR and FNIR by group: "
LARGER = "FPIR in larger galleries"
RELIABLE = "Reliability of the confidence"

_MEASURES = {
    "side": "side of the face, pixels",
    "sharpness": "sharpness",
    "evenness": "evenness",
    "tones": "tones, bits",
    "turn": "turn of the head",
    "eyes": "distance of the eyes",
}


@dataclass(frozen=True)
class Section:
    """A table; ``plots`` are the titles of those that belong to it."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    plots: Sequence[str] = ()


def sections(report: Report) -> list[Section]:
    pairs, sure = report.verification, report.confidence
    return [
        _failures(report),
        _identification(report),
        _answers(report),
        _ranks(report),
        _points(report),
        *(_groups(report, differential) for differential in report.groups),
        *([_bands(report)] if report.bands else []),
        *_larger(report),
        _verification(report),
        _reliability(
            "Confidence of an identification",
            f"Of the best candidate, in {sure.lookups:,} lookups, half for enrolled people.",
            sure.calibration_error,
            sure.reliability,
            (RELIABLE,),
        ),
        _reliability(
            "Confidence that two photos are of one person",
            "Half of the pairs count for those of one person.",
            pairs.calibration_error,
            pairs.reliability,
        ),
        _faults(report),
    ]


def headline(report: Report) -> list[str]:
    """Sentences that say what was measured, and how."""
    asked = report.asked
    lines = [
        f"{report.model}: {report.photos:,} photos of {report.people:,} people, "
        f"{report.people_with_two:,} of them with two or more",
        f"{report.without_embedding:,} photos without a face count as failures",
        f"95% intervals from {asked.replicates:,} replicates over people, or exact with people as "
        f"clusters; {asked.splits:,} divisions into known and unknown; seed {asked.seed}",
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


def summary(report: Report) -> list[tuple[str, str, str]]:
    """The figures to begin with: what, the number, and what it rests on."""
    at = report.identification[-1]
    return [
        ("Strangers with a candidate (FPIR)", told(at.fpir), counted(at.fpir)),
        ("Enrolled people without their name (FNIR)", told(at.fnir), counted(at.fnir)),
        (
            "Photos without an answer (FTA)",
            told(report.failures.to_acquire),
            counted(report.failures.to_acquire),
        ),
        (
            "The lowest FPIR that these photos can show",
            percent(at.shown_from),
            f"rule of three: {at.unknown_photos:,} photos of strangers; "
            f"{percent(at.shown_from_people)} if a person's photos are no better than one",
        ),
    ]


def told(estimate: Estimate) -> str:
    """``0.966 (0.931 to 0.989)``, and the note, if there is one."""
    if estimate.value is None:
        return f"- ({estimate.note})"
    text = _digits(estimate.value)
    if estimate.low is not None and estimate.high is not None:
        text += f" ({_digits(estimate.low)} to {_digits(estimate.high)})"
    return f"{text}, {estimate.note}" if estimate.note else text


def counted(rate: Rate) -> str:
    return (
        f"{rate.errors:,} of {rate.lookups:,} lookups; {rate.people_with_errors:,} of "
        f"{rate.people:,} people; {rate.photos:,} photos"
    )


def _digits(value: float) -> str:
    return f"{value:.3f}" if value >= 0.01 or value < 5e-6 else f"{value:.5f}"


def percent_of(rate: float) -> str:
    return f"{rate * 100:g}%"


def percent(rate: float) -> str:
    return f"{rate * 100:.2g}%"


def _failures(report: Report) -> Section:
    failures = report.failures

    def reasons(by: dict[str, int]) -> str:
        return ", ".join(f"{reason}: {count:,}" for reason, count in by.items()) or "none"

    return Section(
        "Photos that are not processed",
        "They stay in every rate of identification: a photo without an answer is never the right "
        "name. FTA and FTE: failure to acquire, failure to enrol.",
        ("", "value", "reasons"),
        [
            (
                "look-up gives no answer (FTA)",
                told(failures.to_acquire),
                reasons(failures.to_acquire_by),
            ),
            ("enrolment refuses the photo", told(failures.refused), reasons(failures.refused_by)),
            ("people of whom no photo can be enrolled (FTE)", told(failures.to_enrol), ""),
        ],
    )


def _verification(report: Report) -> Section:
    v = report.verification
    chosen = "" if v.chosen_threshold is None else f" (about {v.chosen_threshold:.2f})"
    return Section(
        "Verification (1:1): are two photos of one person?",
        f"{v.genuine_pairs:,} pairs of one person, {v.impostor_pairs:,} of strangers; "
        f"{percent(v.not_compared[0])} and {percent(v.not_compared[1])} of them with a photo that "
        "is not processed: FMR and FNMR leave these out, FAR and FRR count them.",
        ("", "value"),
        [
            (f"accuracy, threshold chosen on other people{chosen}", told(v.accuracy)),
            ("equal error rate", told(v.eer)),
            *(
                (f"accepted (TAR) where FAR is {percent_of(far)}", told(estimate))
                for far, estimate in v.tar_at_far.items()
            ),
            (f"false matches (FMR) at the card's {v.threshold:.3f}", told(v.fmr)),
            ("false non-matches there (FNMR)", told(v.fnmr)),
            ("accepted there (TAR = 1 - FRR)", told(v.tar)),
            ("strangers accepted there (FAR)", told(v.far)),
        ],
        (DET, ROC, SCORES),
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
        ("lowest FPIR that they can show", *(percent(i.shown_from) for i in trials)),
        ("current threshold", *(f"{i.threshold:.3f}" for i in trials)),
        ("FPIR there", *(told(i.fpir) for i in trials)),
        ("FNIR there", *(told(i.fnir) for i in trials)),
        ("known people named there (1 - FNIR)", *(told(i.identification_rate) for i in trials)),
        *(
            (f"DIR where FPIR is {percent_of(fpir)}", *(told(i.dir_at_fpir[fpir]) for i in trials))
            for fpir in trials[0].dir_at_fpir
        ),
        *(
            (f"FNIR where FPIR is {percent_of(f)}", *(told(i.fnir_at_fpir[f]) for i in trials))
            for f in trials[0].fnir_at_fpir
        ),
        ("rank-1", *(told(i.rank1) for i in trials)),
    ]
    return Section(
        "Identification (1:N): who is it, if anybody known?",
        "By the photos that are enrolled of a person.",
        ("", *(f"{i.enrolled} enrolled" for i in trials)),
        rows,
        (OPEN_SET, DIR),
    )


def _answers(report: Report) -> Section:
    trials = report.identification

    def row(kind: str, of: str, field: str) -> tuple[str, ...]:
        answers: list[Answers] = [getattr(i, of) for i in trials]
        return (kind, *(f"{getattr(a, field):,}" for a in answers))

    known = "of enrolled people: "
    unknown = "of strangers: "
    return Section(
        "Every answer at the current threshold",
        "Lookups of all divisions. "
        + (
            "An ambiguous face has the name of the nearest, by the settings."
            if report.ambiguous_named
            else "An ambiguous face, for which two people are nearly as likely, has no name; the "
            "answer lists both."
        ),
        ("", *(f"{i.enrolled} enrolled" for i in trials)),
        [
            row(f"{known}lookups", "of_known", "lookups"),
            row(f"{known}the right name", "of_known", "right"),
            row(f"{known}a wrong name", "of_known", "wrong"),
            row(f"{known}ambiguous, the person among them", "of_known", "ambiguous_with"),
            row(f"{known}ambiguous, others only", "of_known", "ambiguous_without"),
            row(f"{known}unknown", "of_known", "none"),
            row(f"{known}too poor to say", "of_known", "too_poor"),
            row(f"{known}no face", "of_known", "failed"),
            row(f"{unknown}lookups", "of_unknown", "lookups"),
            row(f"{unknown}a name", "of_unknown", "wrong"),
            row(f"{unknown}ambiguous", "of_unknown", "ambiguous_without"),
            row(f"{unknown}unknown", "of_unknown", "none"),
            row(f"{unknown}too poor to say", "of_unknown", "too_poor"),
            row(f"{unknown}no face", "of_unknown", "failed"),
        ],
    )


def _ranks(report: Report) -> Section:
    trials = report.identification
    ranks = sorted({rank for i in trials for rank in i.cmc})
    return Section(
        "Cumulative match characteristic (CMC)",
        "The share of lookups of enrolled people who are among the k best candidates, whatever the "
        "threshold. It says nothing about strangers.",
        ("k", *(f"{i.enrolled} enrolled" for i in trials)),
        [
            (str(rank), *(_digits(i.cmc[rank]) if rank in i.cmc else "-" for i in trials))
            for rank in ranks
        ],
        (CMC,),
    )


def _points(report: Report) -> Section:
    points = report.operating_points
    rows = [
        (
            point.of if point.of == "all people" else f"every group of {point.of}",
            "upper 95% bound" if point.bound else "as seen",
            "-" if point.threshold is None else f"{point.threshold:.4f}",
            "-" if point.fpir is None else told(point.fpir),
            "-" if point.fnir is None else told(point.fnir),
            "-" if point.setting is None else f"{point.setting:.3g}",
            "; ".join(
                part
                for part in (
                    f"strictest: {point.strictest}" if point.strictest else "",
                    point.note or "",
                )
                if part
            ),
        )
        for point in points
    ]
    return Section(
        f"Thresholds for an FPIR of {percent_of(report.fpir)}",
        f"The lowest ones in a gallery of {points[0].gallery:,} people"
        f" ({report.at_threshold} enrolled). match.fpir is the setting with which the service's "
        "automatic threshold is this one there, and follows the gallery as it grows.",
        ("for", "FPIR", "threshold", "FPIR of all", "FNIR of all", "match.fpir", ""),
        rows,
    )


def _groups(report: Report, differential: Differential) -> Section:
    rows = [
        (
            g.group,
            f"{g.people:,}, {g.photos:,}",
            told(g.fpir),
            f"{g.fpir.errors:,} of {g.fpir.lookups:,}",
            told(g.fnir),
            f"{g.fnir.errors:,} of {g.fnir.lookups:,}",
            told(g.not_answered),
            g.too_small or "",
        )
        for g in differential.groups
    ]

    def ratio(name: str, of: Ratio) -> str:
        if of.worst is None:
            return f"{name}: no comparison ({of.note})."
        apart = "" if of.shown else " Their intervals overlap: that they differ is not shown."
        if of.value is None:
            return f"{name} is worst in {of.worst} ({of.note}).{apart}"
        return f"{name} is worst in {of.worst}, {of.value:.3g} times that of {of.best}.{apart}"

    return Section(
        f"By group: {differential.attribute}",
        f"At the same threshold, {report.at_threshold} enrolled. "
        f"{ratio('FPIR', differential.fpir_ratio)} {ratio('FNIR', differential.fnir_ratio)}",
        (
            "group", "people, photos", "FPIR", "lookups", "FNIR", "lookups", "not answered", "",
        ),
        rows,
        (BY_GROUP + differential.attribute,),
    )  # fmt: skip


def _bands(report: Report) -> Section:
    def between(low: float, high: float | None) -> str:
        return f"{low:.3g} and more" if high is None else f"{low:.3g} to {high:.3g}"

    return Section(
        "By quality of the photo that is looked up",
        f"At the current threshold, {report.at_threshold} enrolled; thirds of the photos with a "
        "face, by each measure of the service.",
        ("measure", "band", "photos", "FNIR", "FPIR"),
        [
            (
                _MEASURES[band.measure],
                between(band.low, band.high),
                f"{band.photos:,}",
                told(band.fnir),
                told(band.fpir),
            )
            for band in report.bands
        ],
    )


def _larger(report: Report) -> list[Section]:
    growth = report.growth
    if growth.note is not None:
        return [Section("In larger galleries", f"{growth.note}.", ("",), [])]
    enrolled = list(growth.sizes[0].fnir)
    most = enrolled[-1]
    sizes = Section(
        "In larger galleries: an extreme-value estimate",
        f"A generalised Pareto tail, fitted to {growth.maxima:,} best strangers among "
        f"{growth.block:,} people each. Free: it ends where these photos put its end, which is too "
        "low far from the data; cautious: it ends at a cosine of 1, which is too high. Expect "
        "something between the two. It is no measurement: the further from the "
        f"{growth.people:,} people that were compared, the less it can be relied on. FNIR: the "
        f"person's own cosine is below the threshold, {most} enrolled.",
        (
            "people", "times more", "the service's threshold", "FPIR there, free",
            "FPIR there, cautious", "FNIR there",
            f"threshold for an FPIR of {percent_of(growth.fpir)}, free", "the same, cautious",
            "FNIR there",
        ),
        [
            (
                f"{size.people:,}",
                f"{size.extrapolated:,.0f}",
                f"{size.threshold:.3f}",
                told(size.fpir),
                told(size.fpir_cautious),
                _digits(size.fnir[most]),
                told(size.wanted_threshold),
                told(size.wanted_threshold_cautious),
                _digits(size.fnir_at_wanted[most]),
            )
            for size in growth.sizes
        ],
        (LARGER,),
    )  # fmt: skip
    if not growth.checks:
        return [sizes]
    return [
        sizes,
        Section(
            "Did that estimate hold here?",
            "Fitted to subsampled galleries, and tried on all people: the FPIR observed at the "
            "thresholds that the two fits predict. The service: the model of its card, which saw "
            "none of this, or was calibrated on the same photos.",
            (
                "fitted on", "tried on", "wanted FPIR", "threshold, free", "observed",
                "threshold, cautious", "observed", "the service's", "observed",
            ),
            [
                (
                    f"{c.fitted_on:,} people",
                    f"{c.people:,} people",
                    percent_of(c.wanted),
                    f"{c.threshold:.3f}",
                    _digits(c.observed),
                    f"{c.threshold_cautious:.3f}",
                    _digits(c.observed_cautious),
                    "-" if c.threshold_of_service is None else f"{c.threshold_of_service:.3f}",
                    "-" if c.observed_by_service is None else _digits(c.observed_by_service),
                )
                for c in growth.checks
            ],
        ),
    ]  # fmt: skip


def _faults(report: Report) -> Section:
    faults = report.faults
    return Section(
        "Faults of the photos",
        "They are measured as they are. Mend them, and measure again: a photo in the wrong folder "
        "is an error of recognition that is none.",
        ("", "number"),
        [
            ("files that are also in another person's folder", f"{faults.in_two_people:,}"),
            ("files that repeat one of the same person", f"{faults.repeated:,}"),
            (
                f"other pairs of two people with a cosine of {ALIKE} or more",
                f"{faults.alike:,}",
            ),
            ("people with a single photo, looked up as unknown only", f"{faults.one_photo:,}"),
            ("rows of the groups' file that name nobody", f"{faults.unknown_in_groups:,}"),
        ],
    )


def _reliability(
    title: str, note: str, error: Estimate, bins: Sequence[Bin], plots: Sequence[str] = ()
) -> Section:
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
        plots,
    )
