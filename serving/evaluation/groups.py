"""Differential performance: error rates by group of people (ISO/IEC 19795-10).

Every group is measured at the same threshold, in the same galleries: a lookup counts for the group
of the person on the photo.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.identification import Told
from serving.evaluation.lookups import Trial
from serving.evaluation.proportions import Rate, rate_of
from serving.evaluation.sample import NotMeasurable, Sample

NOT_STATED = "(not stated)"
FEWEST_PEOPLE = 10  # in a group, for a ratio
_MOST_LABELS, _LONGEST = 50, 60
_ID = "id"


@dataclass(frozen=True)
class Groups:
    """``by`` attribute, such as an age band, the label of each person, by the name of the folder.

    ``unknown``: the names of the file that are no person's.
    """

    by: Mapping[str, Mapping[str, str]]
    unknown: Sequence[str] = ()


@dataclass(frozen=True)
class GroupRates:
    """The rates of one group; ``too_small`` says why a ratio leaves it out."""

    group: str
    people: int
    photos: int
    fnir: Rate
    fpir: Rate
    not_answered: Rate
    too_small: str | None


@dataclass(frozen=True)
class Ratio:
    """The largest rate over the smallest one.

    Attributes:
        value: None: there is none, and the note says why.
        worst, best: the groups.
        shown: whether their intervals are apart.
    """

    value: float | None
    worst: str | None = None
    best: str | None = None
    shown: bool = False
    note: str | None = None


@dataclass(frozen=True)
class Differential:
    """All groups of one attribute."""

    attribute: str
    groups: list[GroupRates]
    fnir_ratio: Ratio
    fpir_ratio: Ratio


def read_groups(path: Path, people: Sequence[str]) -> Groups:
    """Read a CSV file: a column ``id`` (the folder's name), and one or more with groups.

    Raises:
        NotMeasurable: it cannot be read, a column is missing, or a row is unclear.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except OSError as error:
        raise NotMeasurable(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise NotMeasurable(f"{path} is not UTF-8.") from None
    except csv.Error as error:
        raise NotMeasurable(f"{path} is no CSV: {error}.") from None
    header = [clean(name) for name in rows[0]] if rows else []
    if _ID not in header:
        raise NotMeasurable(f"{path} has no column {_ID!r} in its first line.")
    if len(set(header)) < len(header) or "" in header:
        raise NotMeasurable(f"{path}: each column needs a name of its own.")
    if len(header) < 2:
        raise NotMeasurable(f"{path} has no column with groups beside {_ID!r}.")
    known = {_key(name): name for name in people}
    by: dict[str, dict[str, str]] = {name: {} for name in header if name != _ID}
    seen: set[str] = set()
    unknown = []
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise NotMeasurable(f"{path}, row {line}: {len(row)} cells, not {len(header)}.")
        cells = dict(zip(header, row, strict=True))
        key = _key(cells[_ID])
        if key in seen:
            raise NotMeasurable(f"{path}, row {line}: {clean(cells[_ID])!r} is there twice.")
        seen.add(key)
        if key not in known:
            unknown.append(clean(cells[_ID]))
            continue
        for attribute, labels in by.items():
            if label := clean(cells[attribute]):
                labels[known[key]] = label
    for attribute, labels in by.items():
        if len(set(labels.values())) > _MOST_LABELS:
            raise NotMeasurable(
                f"{path}: {attribute!r} has more than {_MOST_LABELS} different values; "
                "that is no grouping."
            )
    if not any(by.values()):
        raise NotMeasurable(f"{path} names a group for nobody in the folder.")
    return Groups(by, unknown)


def labels_of(groups: Groups, attribute: str, sample: Sample) -> list[str]:
    """The group of each person of the sample."""
    of = groups.by[attribute]
    return [of.get(sample.name_of(p), NOT_STATED) for p in range(len(sample.ids))]


def differential(
    attribute: str,
    labels: Sequence[str],
    sample: Sample,
    trial: Trial,
    known: Told,
    unknown: Told,
) -> Differential:
    """Measure every group.

    Args:
        labels: of each person.
    """
    of = np.array(labels, object)
    rates = []
    for label in sorted(set(labels)):
        here: NDArray[np.bool_] = of == label
        mine, strange = here[trial.known.person], here[trial.unknown.person]
        photos = np.flatnonzero(here[sample.person])
        people = int(here.sum())
        rates.append(
            GroupRates(
                group=label,
                people=people,
                photos=len(photos),
                fnir=rate_of(~known.right[mine], trial.known.person[mine], trial.known.photo[mine]),
                fpir=rate_of(
                    unknown.reached[strange],
                    trial.unknown.person[strange],
                    trial.unknown.photo[strange],
                ),
                not_answered=rate_of(~sample.answerable[photos], sample.person[photos], photos),
                too_small=None
                if people >= FEWEST_PEOPLE
                else f"too small: {people} of at least {FEWEST_PEOPLE} people",
            )
        )
    return Differential(
        attribute, rates, _ratio([(g, g.fnir) for g in rates]), _ratio([(g, g.fpir) for g in rates])
    )


def _ratio(rates: Sequence[tuple[GroupRates, Rate]]) -> Ratio:
    able = [
        (rate.value, group.group, rate)
        for group, rate in rates
        if group.too_small is None and rate.value is not None and group.group != NOT_STATED
    ]
    if len(able) < 2:
        return Ratio(None, note=f"fewer than two groups with {FEWEST_PEOPLE} people or more")
    (low, best, one), (high, worst, other) = (
        min(able, key=lambda a: a[:2]),
        max(able, key=lambda a: a[:2]),
    )
    if high == 0:
        return Ratio(None, note="no group has an error")
    assert one.high is not None
    assert other.low is not None
    shown = one.high < other.low
    if low == 0:
        return Ratio(None, worst, best, shown, f"no error in {best}, so there is no ratio")
    return Ratio(high / low, worst, best, shown)


def clean(text: str) -> str:
    """A label that a page and a terminal can show."""
    text = "".join(c if c.isprintable() else "?" for c in text.strip())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _key(name: str) -> str:
    """7 and 007 are one person, as in the folders' names."""
    name = name.strip()
    return str(int(name)) if name.isascii() and name.isdigit() and len(name) < 255 else name
