"""The plots of a report, as SVG; needs matplotlib (the extra ``report``)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from serving.evaluation import tables
from serving.evaluation.evaluate import Curves, Report
from serving.evaluation.groups import Differential, clean
from serving.evaluation.metrics import Bin, Floats
from serving.evaluation.sample import NotMeasurable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (5.2, 4.2)  # inches
_LEAST = 1e-5  # the lowest FPIR that is drawn
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


def check() -> None:
    """Raises NotMeasurable without matplotlib: better now than after hours of measuring."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise NotMeasurable(
            "--html draws with matplotlib, which is not installed: "
            "pip install 'facenet-serving[report]'."
        ) from None


def plots(report: Report, curves: Curves) -> dict[str, str]:
    """All plots by title, as ``svg`` elements to stand in a page."""
    drawn = {
        tables.ROC: _roc(curves),
        tables.DET: _det(curves),
        tables.SCORES: _scores(report, curves),
        tables.RELIABLE: _reliability(report.confidence.reliability),
        tables.OPEN_SET: _open_set_det(report, curves),
        tables.DIR: _open_set(report, curves),
        tables.CMC: _cmc(curves),
    }
    for differential in report.groups:
        drawn[tables.BY_GROUP + differential.attribute] = _by_group(differential)
    if report.growth.sizes:
        drawn[tables.LARGER] = _larger(report)
    return {
        title: _inline(_svg(figure), title, f"p{n}")
        for n, (title, figure) in enumerate(drawn.items())
    }


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
    _if_empty(axes, roc.tar)
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


def _open_set(report: Report, curves: Curves) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    for enrolled, roc in curves.identification.items():
        axes.step(_positive(roc.far), roc.tar, where="post", label=f"{enrolled} enrolled")
    axes.set(xscale="log", xlabel="unknown people named (FPIR)", ylabel="known people named (DIR)")
    _not_shown(axes, report)
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def _open_set_det(report: Report, curves: Curves) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    for enrolled, roc in curves.identification.items():
        missed = 1 - roc.tar
        axes.step(_positive(roc.far), _positive(missed), where="post", label=f"{enrolled} enrolled")
    axes.set(xscale="log", yscale="log", xlabel="FPIR", ylabel="FNIR")
    _not_shown(axes, report)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    return figure


def _not_shown(axes: Axes, report: Report) -> None:
    """Shade the rates that so few photos of strangers cannot show."""
    lowest = min(i.shown_from for i in report.identification)
    left = axes.get_xlim()[0]
    axes.axvspan(left, max(lowest, left), color="black", alpha=0.08, lw=0, label="not shown")
    axes.set_xlim(left=left)


def _cmc(curves: Curves) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure = _figure()
    axes = figure.subplots()
    lowest = 1.0
    for enrolled, shares in curves.ranks.items():
        axes.plot(np.arange(1, len(shares) + 1), shares, marker="o", label=f"{enrolled} enrolled")
        lowest = min(lowest, float(shares.min()))
    axes.set(xlabel="rank k", ylabel="enrolled people within the k best")
    axes.set_ylim(max(0.0, lowest - 0.05), 1.005)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def _by_group(differential: Differential) -> Figure:
    from matplotlib.figure import Figure

    groups = differential.groups
    figure = Figure(figsize=(_SIZE[0], 1.4 + 0.45 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for n, (name, marker) in enumerate((("fpir", "o"), ("fnir", "s"))):
        rates = [getattr(g, name) for g in groups]
        for place, rate in enumerate(rates):
            if rate.value is not None:
                y = place + 0.12 * (2 * n - 1)
                axes.plot([rate.low, rate.high], [y, y], color=f"C{n}", linewidth=1.5)
                axes.plot([rate.value], [y], marker, color=f"C{n}")
        axes.plot([], [], marker, color=f"C{n}", label=name.upper())
    # A $ would begin a formula.
    names = [clean(g.group).replace("$", r"\$") for g in groups]
    axes.set_yticks(range(len(groups)), names)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("rate, with its 95% interval")
    axes.grid(alpha=0.3, axis="x")
    axes.legend(loc="lower right")
    return figure


def _larger(report: Report) -> Figure:
    figure, growth = _figure(), report.growth
    axes = figure.subplots()
    sizes = [s for s in growth.sizes if s.fpir.value is not None]
    people = [s.people for s in sizes]
    axes.plot(people, [_shown(s.fpir_cautious.value) for s in sizes], "o-", label="cautious")
    axes.plot(people, [_shown(s.fpir.value) for s in sizes], "s-", label="free")
    low = [_shown(s.fpir.low) for s in sizes]
    high = [_shown(s.fpir_cautious.high) for s in sizes]
    axes.fill_between(people, low, high, alpha=0.15, label="95% intervals")
    axes.axhline(growth.fpir, color="black", linewidth=1, ls="--", label="wanted")
    axes.set(xscale="log", yscale="log", xlabel="people in the gallery")
    axes.set_ylabel("FPIR at the service's threshold")
    axes.set_ylim(_LEAST, 1.2)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    return figure


def _shown(rate: float | None) -> float:
    return max(rate or 0.0, _LEAST)


def _if_empty(axes: Axes, tar: Floats) -> None:
    """Without an error there is no curve, and a logarithmic axis without a point is no axis."""
    if not len(tar) or not (tar < 1).any():
        axes.text(0.5, 0.5, "nothing was rejected", ha="center", transform=axes.transAxes)


def _positive(rates: Floats) -> Floats:
    """The rates, with gaps where one is zero, which a logarithmic axis cannot show."""
    # A sum of many weights may be off in its last digit.
    return np.where(rates > 1e-12, rates, np.nan)


def _svg(figure: Figure) -> bytes:
    from matplotlib import rc_context

    file = io.BytesIO()
    # The same report must be the same file: no date, and no random names.
    # Text stays text: it can be read out, searched, and is smaller.
    with rc_context({"svg.hashsalt": "faces", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _inline(svg: bytes, title: str, prefix: str) -> str:
    """The element with ids of its own: all plots of a page share one space of them."""
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}metadata":
                parent.remove(child)
    for element in root.iter():
        for name, value in list(element.attrib.items()):
            if name == "id":
                element.set(name, f"{prefix}-{value}")
            elif name == f"{{{_XLINK}}}href":
                del element.attrib[name]
                element.set("href", f"#{prefix}-{value.removeprefix('#')}")
            elif "url(#" in value:
                element.set(name, value.replace("url(#", f"url(#{prefix}-"))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", title)
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")
