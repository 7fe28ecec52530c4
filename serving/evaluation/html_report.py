"""A report as one self-contained page, without external files.

It is well-formed XML as well as HTML, so that it can be checked and read by programs.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from serving.evaluation.evaluate import Report
from serving.evaluation.tables import Section, headline, sections, summary

_STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
       max-width: 72rem; margin: 0 auto; padding: 1rem }
h1 { line-height: 1.2 }
h2 { margin: 2.5rem 0 .25rem; line-height: 1.25 }
p { max-width: 48rem }
a { color: #0b57a4 }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem;
           margin: 1.5rem 0; padding: 0 }
.figures div { border: 1px solid #c4c4c4; border-radius: .4rem; padding: .75rem 1rem }
.figures dt { font-size: .9rem }
.figures dd { margin: .25rem 0 0; font-size: 1.2rem; font-weight: 600 }
.figures dd + dd { font-size: .85rem; font-weight: 400; color: #4a4a4a }
nav ul { columns: 18rem; padding-left: 1.2rem }
.table { overflow-x: auto; margin: .75rem 0 1.25rem }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
td, th { padding: .3rem 1rem .3rem 0; text-align: left; vertical-align: top;
         border-bottom: 1px solid #d4d4d4; font-weight: 400; min-width: 3.5rem; max-width: 22rem }
thead th { font-weight: 600; border-bottom-color: #767676 }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
         gap: 1rem }
figure { margin: 0; max-width: 34rem }
figure svg { display: block; width: 100%; height: auto; font-family: system-ui, sans-serif }
figcaption { font-size: .85rem }
.faces figure { display: inline-block; margin: 0 1rem 1rem 0 }
@media print { h2, figure, tr { break-inside: avoid } h2 { break-after: avoid }
               .table { overflow: visible } }
"""
_TERMS = (
    ("FPIR", "false-positive identification rate: the share of lookups of strangers for which "
     "somebody reaches the threshold"),
    ("FNIR", "false-negative identification rate: the share of lookups of enrolled people that do "
     "not get the right name, photos without an answer included"),
    ("DIR", "detection and identification rate at a wanted FPIR: 1 - FNIR"),
    ("FMR, FNMR", "false match and false non-match rate of pairs of photos that were compared"),
    ("FAR, FRR", "the same of all pairs; a photo that is not processed is never accepted"),
    ("FTA, FTE", "failure to acquire, failure to enrol"),
    ("CMC", "cumulative match characteristic"),
    ("DET", "detection error trade-off: both kinds of errors, at every threshold"),
)  # fmt: skip
# A page is XML, too, and most control characters are no characters of that.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Pictures:
    """Pairs of faces, as JPEG, to show side by side, with a caption each."""

    title: str
    pairs: Sequence[tuple[bytes, bytes, str]]


def page(report: Report, plots: Mapping[str, str], pictures: Sequence[Pictures] = ()) -> str:
    """The page as text; it holds photos only where ``pictures`` are given.

    Args:
        plots: ``svg`` elements by title.
    """
    tables = sections(report)
    titles = [section.title for section in tables]
    placed = {title for section in tables for title in section.plots}
    parts = [
        "<!DOCTYPE html>",
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        f"<title>Face recognition, measured: {_text(report.model)}</title>",
        f"<style>{_STYLE}</style></head><body><header>",
        "<h1>How well faces are recognised</h1>",
        *(f"<p>{_text(line)}.</p>" for line in headline(report)),
        "</header><main>",
        _summary(report),
        '<nav aria-label="Contents"><ul>',
        *(f'<li><a href="#s{n}">{_text(title)}</a></li>' for n, title in enumerate(titles)),
        "</ul></nav>",
        *(_table(section, n, plots) for n, section in enumerate(tables)),
    ]
    if rest := [_plot(svg, title) for title, svg in plots.items() if title not in placed]:
        parts.append(f'<section><h2>Plots</h2><div class="plots">{"".join(rest)}</div></section>')
    if report.files is not None:
        items = "".join(f"<li>{_text(line)}</li>" for line in report.files)
        parts.append(
            f"<section><h2>Files with faults</h2><ul>{items or '<li>none</li>'}</ul></section>"
        )
    for group in pictures:
        parts.append(f'<section class="faces"><h2>{_text(group.title)}</h2>')
        parts += [_faces([a, b], caption) for a, b, caption in group.pairs]
        parts.append("</section>")
    terms = "".join(f"<dt>{_text(t)}</dt><dd>{_text(d)}</dd>" for t, d in _TERMS)
    parts.append(
        "<section><h2>Terms</h2><p>As in ISO/IEC 19795-1 and 19795-10, and NIST's FRTE 1:N.</p>"
        f"<dl>{terms}</dl></section>"
    )
    return "\n".join([*parts, "</main></body></html>"]) + "\n"


def _text(text: str) -> str:
    return escape(_NO_XML.sub("?", text))


def _summary(report: Report) -> str:
    at = report.identification[-1]
    figures = "".join(
        f"<div><dt>{_text(what)}</dt><dd>{_text(number)}</dd><dd>{_text(basis)}</dd></div>\n"
        for what, number, basis in summary(report)
    )
    return (
        "<section><h2>In short</h2>"
        f"<p>At the current threshold of {at.threshold:.3f}, in a gallery of {at.gallery:,} "
        f"people. Photos enrolled of each: {_text(at.enrolled)}.</p>"
        f'<dl class="figures">{figures}</dl></section>'
    )


def _table(section: Section, number: int, plots: Mapping[str, str]) -> str:
    title = _text(section.title)
    # An empty heading of a column says nothing to a screen reader.
    head = "".join(
        f'<th scope="col">{_text(text)}</th>' if text else "<td></td>" for text in section.header
    )
    rows = "".join(_row(row) for row in section.rows)
    table = (
        f'<div class="table" tabindex="0" role="region" aria-label="{title}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>"
    )
    drawn = "".join(_plot(plots[name], name) for name in section.plots if name in plots)
    return (
        f'<section><h2 id="s{number}">{title}</h2><p>{_text(section.note)}</p>'
        + (table if section.rows else "")
        + (f'<div class="plots">{drawn}</div>' if drawn else "")
        + "</section>"
    )


def _row(row: Sequence[str]) -> str:
    first, *rest = row
    cells = "".join(f"<td>{_text(text)}</td>" for text in rest)
    return f'<tr><th scope="row">{_text(first)}</th>{cells}</tr>\n'


def _plot(svg: str, title: str) -> str:
    return f"<figure>{svg}<figcaption>{_text(title)}</figcaption></figure>"


def _faces(images: Sequence[bytes], caption: str) -> str:
    inside = "".join(
        f'<img alt="{_text(caption)}" src="data:image/jpeg;base64,{base64.b64encode(i).decode()}"/>'
        for i in images
    )
    return f"<figure>{inside}<figcaption>{_text(caption)}</figcaption></figure>"
