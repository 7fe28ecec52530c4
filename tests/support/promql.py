"""The metrics and labels that a PromQL expression reads. No evaluation, no check of syntax."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FILES = Path(__file__).resolve().parents[2] / "helm" / "facenet-serving" / "files"
# Labels that Prometheus adds to everything that it scrapes.
TARGET_LABELS = {"namespace", "pod", "container", "job", "instance", "endpoint"}

_TOKEN = re.compile(
    r"""\s*(?: (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<range>\[[^\]]*\])
      | (?P<number>\d[\d.]*(?:e[+-]?\d+)?[smhdw]?)
      | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
      | (?P<operator>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){},]) )""",
    re.VERBOSE,
)
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_KEYWORDS = {"and", "or", "unless", "offset", "bool"}


@dataclass
class Selector:
    """A metric with its label matchers: label -> (operator, value)."""

    metric: str
    matchers: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass
class Reads:
    """The metrics that an expression reads; ``grouped`` are the labels in its by, on…"""

    selectors: list[Selector] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)


def read(expression: str) -> Reads:
    """The tokens of an expression. Raises ValueError at any other text."""
    tokens = list(_tokens(expression))
    found, at = Reads(), 0
    while at < len(tokens):
        kind, text = tokens[at]
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        if kind == "name" and text in _GROUPING and following == "(":
            end = tokens.index(("operator", ")"), at)
            found.grouped |= {t for k, t in tokens[at + 2 : end] if k == "name"}
            at = end
        elif kind == "name" and text not in _GROUPING | _KEYWORDS and following != "(":
            # An aggregation may be followed by its grouping: sum by (…) (…)
            if following in _GROUPING:
                at += 1
                continue
            selector = Selector(text)
            if following == "{":
                end = tokens.index(("operator", "}"), at)
                inside = tokens[at + 2 : end]
                for n, (k, label) in enumerate(inside):
                    if k == "name":
                        value = json.loads(inside[n + 2][1])
                        selector.matchers[label] = (inside[n + 1][1], value)
                at = end
            found.selectors.append(selector)
        at += 1
    return found


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    expression = expression.strip()
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise ValueError(f"no PromQL: {expression[at : at + 20]!r}")
        assert match.lastgroup is not None
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


def alerts() -> list[dict[str, Any]]:
    """The rules of alerts.yaml."""
    document = yaml.safe_load((FILES / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FILES / "dashboard.json").read_text())
    return found


def panels() -> Iterator[dict[str, Any]]:
    """All panels of the dashboard, also those in collapsed rows."""
    for panel in dashboard()["panels"]:
        yield panel
        yield from panel.get("panels", ())


def queries() -> list[tuple[str, str]]:
    """Every expression of the dashboard and the alerts, by its place; variables filled in."""
    shown = [
        (f"panel {panel['title']}", target["expr"])
        for panel in panels()
        for target in panel.get("targets", ())
    ]
    filled = {"$__rate_interval": "5m", "$namespace": ".*"}
    for variable, value in filled.items():
        shown = [(where, expression.replace(variable, value)) for where, expression in shown]
    return shown + [(f"alert {rule['alert']}", rule["expr"]) for rule in alerts()]
