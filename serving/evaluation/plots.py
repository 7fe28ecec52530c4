"""The plots of a report, as SVG; needs matplotlib (the extra ``report``)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from serving.evaluation.evaluate import Curves, Report
from serving.evaluation.metrics import Bin, Floats
from serving.evaluation.sample import NotMeasurable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = (5.2, 4.2)  # inches


def check() -> None:
    """Raises NotMeasurable without matplotlib: better now than after hours of measuring."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise NotMeasurable(
            "--html draws with matplotlib, which is not installed: "
            "pip install 'facenet-serving[report]'."
        ) from None


def plots(report: Report, curves: Curves) -> dict[str, bytes]:
    """All plots, as SVG, by title."""
    drawn = {
        "Verification: ROC": _roc(curves),
        "Verification: DET": _det(curves),
        "Cosines of pairs": _scores(report, curves),
        "Reliability of the confidence": _reliability(report.confidence.reliability),
    }
    if curves.identification:
        drawn["Identification: DIR over FPIR"] = _open_set(curves)
    return {title: _svg(figure) for title, figure in drawn.items()}


def _figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=_SIZE, layout="constrained")


def _roc(curves: Curves) -> Figure:
    figure, roc = _figure(), curves.verification
    axes = figure.subplots()
    axes.step(_positive(roc.far), roc.tar, where="post")
    axes.set(xscale="log", xlabel="strangers accepted (FAR)", ylabel="accepted (TAR)")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    return figure


def _det(curves: Curves) -> Figure:
    figure, roc = _figure(), curves.verification
    axes = figure.subplots()
    axes.step(_positive(roc.far), _positive(1 - roc.tar), where="post")
    axes.set(xscale="log", yscale="log", xlabel="strangers accepted (FAR)", ylabel="rejected (FRR)")
    axes.grid(alpha=0.3)
    return figure


def _scores(report: Report, curves: Curves) -> Figure:
    figure, pairs = _figure(), curves.pairs
    axes = figure.subplots()
    bins = np.linspace(-0.5, 1, 61)
    for scores, label in (
        (pairs.impostor_scores, "two people"),
        (pairs.genuine_scores, "one person"),
    ):
        seen = scores[np.isfinite(scores)]
        if len(seen):
            axes.hist(seen.clip(-0.5, 1), bins.tolist(), density=True, alpha=0.6, label=label)
    axes.axvline(report.verification.threshold, color="black", linewidth=1, label="card, pairs")
    if report.identification:
        threshold = report.identification[-1].threshold
        axes.axvline(threshold, color="black", linewidth=1, ls="--", label="current, gallery")
    axes.set(xlabel="cosine of two photos", ylabel="density")
    # A fixed place: matplotlib's search for the best one is slow with many points.
    axes.legend(loc="upper left")
    return figure


def _reliability(bins: list[Bin]) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    points = [
        (b.confidence, b.right) for b in bins if b.confidence is not None and b.right is not None
    ]
    axes.plot([0, 1], [0, 1], color="gray", linewidth=1, linestyle="--")
    axes.plot([p[0] for p in points], [p[1] for p in points], marker="o")
    axes.set(xlabel="confidence that was told", ylabel="share that was right")
    axes.grid(alpha=0.3)
    return figure


def _open_set(curves: Curves) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    for enrolled, roc in curves.identification.items():
        axes.step(_positive(roc.far), roc.tar, where="post", label=f"{enrolled} enrolled")
    axes.set(xscale="log", xlabel="unknown people named (FPIR)", ylabel="known people named (DIR)")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def _positive(rates: Floats) -> Floats:
    """The rates, with gaps where one is zero, which a logarithmic axis cannot show."""
    return np.where(rates > 0, rates, np.nan)


def _svg(figure: Figure) -> bytes:
    from matplotlib import rc_context

    file = io.BytesIO()
    # The same report must be the same file: no date, and no random names.
    with rc_context({"svg.hashsalt": "faces"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
