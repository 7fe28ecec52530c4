"""Values that tell which knob they were set by, to turn many knobs in one rendering."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.support.chart.objects import Path
from tests.support.chart.values import is_valid, subschema

# Each makes a value of a knob out of the knob's number; the first that the schema allows is taken.
_FORMS: tuple[Callable[[int], Any], ...] = (
    lambda number: 7000 + number,
    lambda number: 60000 + number,
    lambda number: 100000 + number,
    lambda number: 0.7 + number / 100000,
    lambda number: f"mark-{number}",
    lambda number: f"mark-{number}.example.com",
    lambda number: f"http://mark-{number}.example.com:9000",
    lambda number: f"https://mark-{number}.example.com",
    lambda number: f"/mark-{number}",
    lambda number: f"MARK_{number}",
    lambda number: f"{7000 + number}Gi",
    lambda number: f"{7000 + number}m",
    lambda number: f"1.7.{number}",
    lambda number: f"{number % 60} {number // 60} * * *",
    lambda number: [f"mark-{number}"],
    lambda number: [f"10.77.{number // 256}.{number % 256}/32"],
    lambda number: [{"key": f"mark-{number}", "operator": "Exists"}],
    lambda number: [{"name": f"mark-{number}"}],
    lambda number: [{"name": f"mark-{number}", "mountPath": "/other"}],
    lambda number: [{"ip": "192.0.2.7", "hostnames": [f"mark-{number}"]}],
    lambda number: [
        {"maxSkew": 7, "topologyKey": f"mark-{number}", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    lambda number: [{"name": f"MARK_{number}", "value": "other"}],
    lambda number: [{"podSelector": {"matchLabels": {"app": f"mark-{number}"}}}],
    lambda number: {"example.com/other": f"mark-{number}"},
    lambda number: {"app": f"mark-{number}"},
    lambda number: {"cpu": f"{7000 + number}"},
    lambda number: {"other": {"matchLabels": {"app": f"mark-{number}"}}},
)
# What of such a value is found again in a manifest, also within a longer text.
_SEEN = re.compile(
    r"mark-\d{3}|MARK_\d{3}|\b7\d{3}(?=\b|Gi|m)|\b60\d{3}\b|\b100\d{3}\b|\b0\.70\d{3}\b|\b10\.77\.\d+\.\d+"
    r"|\b1\.7\.\d{3}\b|\b\d+ \d+ \* \* \*"
)


def mark(path: Path, number: int) -> Any | None:
    """A value of the knob with the mark of ``number``, 100 to 999; None if the schema has none."""
    node = subschema(path)
    values = (form(number) for form in _FORMS)
    return next((value for value in values if is_valid(node, value)), None)


def marks_in(value: Any) -> set[str]:
    """The marks in a value or in a manifest."""
    return set(_SEEN.findall(json.dumps(value)))
