"""Retention: until when a person may be named and kept, and on which legal basis.

A person's details hold ``expires_at``, a time as `utc` writes it, and ``legal_basis``, an object of
``kind`` and, where they are known, ``reference``, ``date``, ``text_version`` and ``withdrawn_at``.
The retention ends at ``expires_at`` or ``withdrawn_at``, whichever comes first; from that second on
no look-up names the person, and the maintenance erases the record.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from serving.reading.names import name_problem

# The bases of Article 6(1) of the GDPR, in its order.
BASES = (
    *("consent", "contract", "legal-obligation", "vital-interests"),
    *("public-task", "legitimate-interests"),
)
RETENTION = ("expires_at", "legal_basis")
LONGEST_YEARS = 100

_FIELDS = ("kind", "reference", "date", "text_version", "withdrawn_at")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NO_TIME = "should be a date and a time that exist, with a time zone, as 2027-01-31T00:00:00Z"
_TOO_EARLY = "is before 1970, or its first second"
_TOO_LATE = "is after the year 9999"
_LOST_PLUS = f"{_NO_TIME}; in an address the + of a zone is written %2B"
_NO_DATE = "should be a date that exists, as 2027-01-31"


def utc(text: str) -> str:
    """A time of RFC 3339 in UTC, as ``2027-01-31T00:00:00Z``; parts of a second are cut off.

    Raises:
        ValueError: it is none, it has no time zone, or it is before 1970.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        lost = _TIME.fullmatch(text.replace(" ", "+", 1)) is not None
        raise ValueError(_LOST_PLUS if lost else _NO_TIME)
    day, clock, zone = found.groups()
    try:
        offset = "+00:00" if zone in "Zz" else zone
        time = datetime.fromisoformat(f"{day}T{clock}{offset}").astimezone(timezone.utc)
    except ValueError:
        raise ValueError(_NO_TIME) from None
    except OverflowError:  # its zone leads out of the years that there are
        raise ValueError(_TOO_EARLY if day < "1970" else _TOO_LATE) from None
    if time.timestamp() <= 0:
        raise ValueError(_TOO_EARLY)
    return text_of(time.timestamp())


def text_of(seconds: float) -> str:
    """Seconds since 1970 as `utc` writes them."""
    time = datetime.fromtimestamp(math.floor(seconds), timezone.utc)
    return f"{time.replace(tzinfo=None).isoformat()}Z"


@lru_cache(4096)  # many people have the same date
def seconds_of(text: str) -> float:
    """Seconds since 1970 of a time as `utc` writes it."""
    return datetime.fromisoformat(f"{text[:-1]}+00:00").timestamp()


def day(text: str) -> str:
    """A date of RFC 3339, ``2027-01-31``. Raises ValueError when it is none."""
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise ValueError(_NO_DATE)


def end_of(details: Mapping[str, Any]) -> float:
    """When the retention of a person with these details ends, in seconds since 1970; infinity:
    never."""
    withdrawn = (details.get("legal_basis") or {}).get("withdrawn_at")
    ends = (details.get("expires_at"), withdrawn)
    return min((seconds_of(end) for end in ends if end), default=math.inf)


def merged(each: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The details of one person made of several records: those of the first, and what it lacks from
    the first that has it. The retention ends with the first that ends."""
    details: dict[str, Any] = {}
    end = math.inf
    for one in each:
        details = {**{k: v for k, v in one.items() if v}, **details}
        end = min(end, end_of(one))
    return details if end == math.inf else {**details, "expires_at": text_of(end)}


def retention_problem(details: Mapping[str, Any]) -> str | None:
    """Why these cannot be stored, as a sentence; None: they can."""
    if not _is_time(details.get("expires_at")):
        return f"expires_at {_NO_TIME}."
    basis = details.get("legal_basis")
    if basis is None:
        return None
    if not isinstance(basis, dict) or basis.keys() - set(_FIELDS):
        return f"legal_basis is an object of {', '.join(_FIELDS)}."
    if basis.get("kind") not in BASES:
        return f"The kind of a legal_basis is one of {', '.join(BASES)}."
    for name in ("reference", "text_version"):
        if (problem := text_problem(basis.get(name))) is not None:
            return f"{name}: {problem}"
    if not _is_date(basis.get("date")):
        return f"The date of a legal_basis {_NO_DATE}."
    if not _is_time(basis.get("withdrawn_at")):
        return f"withdrawn_at {_NO_TIME}."
    if basis.get("withdrawn_at") and basis["kind"] != "consent":
        return "Only a consent can be withdrawn."
    return None


def text_problem(text: Any) -> str | None:
    """Why this cannot be a reference or the version of a text, to stand behind its name; None: it
    can, as None can."""
    if text is None:
        return None
    problem = name_problem(text) if isinstance(text, str) else "A name is text."
    return None if problem is None else problem.removeprefix("A name ")


def moment_problem(details: Mapping[str, Any], now: float) -> str | None:
    """Why nobody can mean this at ``now``, in seconds since 1970, as a sentence; None: one can.

    Only for what somebody sets: what is stored or imported may be over.
    """
    expires, basis = details.get("expires_at"), details.get("legal_basis") or {}
    if expires and seconds_of(expires) <= now:
        return f"expires_at is over: it is {text_of(now)}. To forget a person, erase the record."
    if expires and seconds_of(expires) > now + LONGEST_YEARS * 366 * 86400:
        return f"expires_at is more than {LONGEST_YEARS} years ahead; null keeps without an end."
    # In some zones it is tomorrow already.
    tomorrow = datetime.fromtimestamp(now, timezone.utc).date() + timedelta(days=1)
    if basis.get("date") and date.fromisoformat(basis["date"]) > tomorrow:
        return "The date of a legal_basis is the day of the consent or decision: it is not ahead."
    return None


def _is_date(text: Any) -> bool:
    if text is None:
        return True
    try:
        return isinstance(text, str) and day(text) == text
    except ValueError:
        return False


def _is_time(text: Any) -> bool:
    if text is None:
        return True
    try:
        return isinstance(text, str) and utc(text) == text
    except ValueError:
        return False
