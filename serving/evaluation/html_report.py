"""A report as one self-contained XHTML page, without external files."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from serving.evaluation.evaluate import Report
from serving.evaluation.tables import Section, headline, sections

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 2rem }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top;
         border-bottom: 1px solid #ccc }
figure { display: inline-block; margin: 0 1rem 1rem 0 }
figcaption { font-size: 13px }
"""


@dataclass(frozen=True)
class Pictures:
    """Pairs of faces, as JPEG, to show side by side, with a caption each."""

    title: str
    pairs: Sequence[tuple[bytes, bytes, str]]


def page(report: Report, plots: Mapping[str, bytes], pictures: Sequence[Pictures] = ()) -> str:
    """The page as text; it holds photos only where ``pictures`` are given."""
    parts = [
        '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>',
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/>',
        f"<title>How well faces are recognised</title><style>{_STYLE}</style></head><body>",
        "<h1>How well faces are recognised</h1>",
        *(f"<p>{escape(line)}.</p>" for line in headline(report)),
        *(_table(section) for section in sections(report)),
        "<h2>Plots</h2>",
        *(_figure("image/svg+xml", [data], title) for title, data in plots.items()),
    ]
    for group in pictures:
        parts.append(f"<h2>{escape(group.title)}</h2>")
        parts += [_figure("image/jpeg", [a, b], caption) for a, b, caption in group.pairs]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _table(section: Section) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in section.header)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>\n"
        for row in section.rows
    )
    return (
        f"<h2>{escape(section.title)}</h2><p>{escape(section.note)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>"
    )


def _figure(kind: str, images: Sequence[bytes], caption: str) -> str:
    inside = "".join(
        f'<img alt="{escape(caption)}" src="data:{kind};base64,{base64.b64encode(i).decode()}"/>'
        for i in images
    )
    return f"<figure>{inside}<figcaption>{escape(caption)}</figcaption></figure>"
