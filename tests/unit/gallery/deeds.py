"""What several actors do to one gallery, with faults and other deeds between their requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import strategies as st

from serving.gallery.segment import Kind
from tests.support.people import MANIFEST
from tests.unit.gallery.faulty import Fault

T = TypeVar("T")

GALLERIES = 3


@dataclass(frozen=True)
class Wish:
    """One operation; its rows, name and metadata are made up when it is carried out."""

    kind: Kind
    id: int
    photos: int = 0
    sources: Sequence[int] = ()
    details: Sequence[str] = ()


@dataclass(frozen=True)
class Asked:
    wishes: Sequence[Wish]
    require: Sequence[int] = ()


@dataclass(frozen=True)
class Deed:
    """Something that an actor does.

    ``plan``: one after the other, what happens to its requests, or before them.
    """

    who: int
    plan: Sequence[Event]


@dataclass(frozen=True)
class Event:
    """After so many requests of this kind: a fault of the next one, or what others do before it.

    ``times``: of so many next ones, a fault of each, or the same before each.
    """

    after: int
    kind: str
    what: Fault | Deed
    times: int = 1

    def concerns(self, request: str, key: str) -> bool:
        return self.kind in ("any", request) or (self.kind == "commit" and is_commit(request, key))


def is_commit(request: str, key: str) -> bool:
    return request == "put" and key == MANIFEST


@dataclass(frozen=True)
class Commit(Deed):
    asked: Sequence[Asked]  # more than one: they waited, and are committed together


@dataclass(frozen=True)
class Older(Deed):
    """A process of the previous release commits."""

    asked: Asked


@dataclass(frozen=True)
class Move(Deed):
    """A photo of a person, ``which`` of all, becomes another one's."""

    source: int
    target: int
    which: int


@dataclass(frozen=True)
class Import(Deed):
    segments: Sequence[Sequence[Wish]]


@dataclass(frozen=True)
class Refresh(Deed):
    pass


@dataclass(frozen=True)
class Open(Deed):
    """A new replica reads everything."""


@dataclass(frozen=True)
class Compact(Deed):
    pass


@dataclass(frozen=True)
class Sweep(Deed):
    grace: float
    dry: bool


@dataclass(frozen=True)
class Erase(Deed):
    ids: Sequence[int]


@dataclass(frozen=True)
class Check(Deed):
    pass


@dataclass(frozen=True)
class Restore(Deed):
    """An earlier manifest is restored: ``which`` of all that ever were, by a commit."""

    which: int


@dataclass(frozen=True)
class PutBack(Deed):
    """The same by hand, as from a backup: nobody is writing, and no number grows."""

    which: int


@dataclass(frozen=True)
class Refill(Deed):
    """Somebody empties the folder, and others are imported."""

    segments: Sequence[Sequence[Wish]]


@dataclass(frozen=True)
class Land(Deed):
    """A write that somebody gave up arrives at last."""


@dataclass(frozen=True)
class Wait(Deed):
    seconds: float


def weighted(*weighted: tuple[int, st.SearchStrategy[T]]) -> st.SearchStrategy[T]:
    each = [strategy for weight, strategy in weighted for _ in range(weight)]

    @st.composite
    def one(draw: st.DrawFn) -> T:
        return draw(each[draw(st.integers(0, len(each) - 1))])

    return one()


Plans = st.SearchStrategy[list[Event]]
_NOTHING: Plans = st.builds(list)
_IDS = st.integers(0, 3)
_SOME_IDS = st.lists(_IDS, min_size=1, max_size=2, unique=True)
_WHO = st.integers(0, GALLERIES - 1)
_DETAILS = st.sampled_from(
    [(), ("name",), ("metadata",), ("name", "metadata"), ("no name",), ("end",), ("no end",)]
)
_PUTS = st.builds(
    Wish, st.sampled_from([Kind.PUT, Kind.APPEND]), _IDS, st.integers(1, 2), details=_DETAILS
)
_DELETIONS = st.builds(Wish, st.just(Kind.DELETE), _IDS)
_MERGES = st.builds(Wish, st.just(Kind.MERGE), _IDS, sources=_SOME_IDS)
_DESCRIPTIONS = st.builds(Wish, st.just(Kind.DESCRIBE), _IDS, details=_DETAILS)
_PAIRS = st.builds(
    Wish,
    st.just(Kind.DISTINCT),
    _IDS,
    sources=st.lists(_IDS, min_size=1, max_size=1),
    details=st.sampled_from([("threshold",), ("threshold",), ("no threshold",)]),
)
_CLEAR = st.builds(Wish, st.just(Kind.CLEAR), st.just(0))
# Everybody is forgotten seldom, since little is left to go wrong after it.
_CHANGES = weighted((5, _PUTS), (2, _DELETIONS), (2, _MERGES), (2, _DESCRIPTIONS), (2, _PAIRS))
_WISHES = weighted(
    (5, st.lists(_PUTS, min_size=1, max_size=3)),
    (5, st.lists(_CHANGES, min_size=1, max_size=3)),
    (1, st.tuples(_CLEAR, _PUTS).map(list)),
    (1, st.tuples(_PUTS, _CLEAR, _PUTS).map(list)),
)
_ASKED = st.builds(Asked, _WISHES, st.one_of(st.builds(list), st.builds(list), _SOME_IDS))


def commits(plans: Plans) -> st.SearchStrategy[Commit]:
    return st.builds(Commit, _WHO, plans, st.lists(_ASKED, min_size=1, max_size=2))


def older(plans: Plans) -> st.SearchStrategy[Older]:
    return st.builds(Older, _WHO, plans, st.builds(Asked, _WISHES))


_PART = st.lists(_PUTS, min_size=1, max_size=2, unique_by=lambda w: w.id)
_PARTS = st.lists(_PART, min_size=1, max_size=2)
_WHICH = st.integers(0, 40)


def imports(plans: Plans) -> st.SearchStrategy[Import]:
    return st.builds(Import, _WHO, plans, _PARTS)


def moves(plans: Plans) -> st.SearchStrategy[Move]:
    pair = st.permutations([0, 1, 2, 3])
    return st.builds(
        lambda who, plan, two, which: Move(who, plan, two[0], two[1], which),
        _WHO,
        plans,
        pair,
        _WHICH,
    )


def restores(plans: Plans) -> st.SearchStrategy[Restore]:
    return st.builds(Restore, _WHO, plans, _WHICH)


def sweeps(plans: Plans) -> st.SearchStrategy[Sweep]:
    grace = st.sampled_from([0.0, 0.0, 0.0, 10.0, 1000.0])
    return st.builds(Sweep, _WHO, plans, grace, st.sampled_from([False] * 5 + [True]))


def erasures(plans: Plans) -> st.SearchStrategy[Erase]:
    return st.builds(Erase, _WHO, plans, _SOME_IDS)


LANDINGS = st.builds(Land, st.integers(0, 3), _NOTHING)
WAITS = st.builds(Wait, st.just(0), _NOTHING, st.sampled_from([1.0, 20.0, 2000.0]))

_FAULTS: st.SearchStrategy[Fault | Deed] = st.sampled_from(Fault)
_FAULTY = weighted(
    (2, _NOTHING),
    (1, st.lists(st.builds(Event, st.integers(0, 4), st.just("any"), _FAULTS), max_size=2)),
)
_OTHERS: st.SearchStrategy[Fault | Deed] = weighted(
    (2, commits(_FAULTY)),
    (1, imports(_FAULTY)),
    (1, moves(_FAULTY)),
    (2, st.builds(Compact, _WHO, _FAULTY)),
    (2, sweeps(_FAULTY)),
    (3, erasures(_FAULTY)),
    (1, restores(_FAULTY)),
    (1, older(_FAULTY)),
    (1, LANDINGS),
)
_EVENTS = weighted((1, _FAULTS), (1, _OTHERS))
_AT_ANY = st.builds(Event, st.integers(0, 5), st.just("any"), _EVENTS, st.integers(1, 2))
_AT_PUTS = st.builds(Event, st.integers(0, 1), st.just("put"), _EVENTS)
_AT_COMMITS = st.builds(Event, st.sampled_from([0, 0, 1]), st.just("commit"), _EVENTS)
READERS_PLANS = st.lists(_AT_ANY, min_size=1, max_size=3)
# Mostly at the writes, where most can go wrong; and one after the other.
PLANS = weighted(
    (2, st.lists(_AT_COMMITS, min_size=1, max_size=4)),
    (2, st.lists(weighted((1, _AT_ANY), (1, _AT_PUTS), (1, _AT_COMMITS)), min_size=1, max_size=4)),
    (2, st.lists(_AT_ANY, min_size=1, max_size=2)),
)
READS = weighted(
    (3, st.builds(Refresh, _WHO, READERS_PLANS)),
    (1, st.builds(Open, _WHO, READERS_PLANS)),
    (1, st.builds(Check, _WHO, READERS_PLANS)),
)
# Without them others would seldom find anything to do.
ENROLMENTS: st.SearchStrategy[list[Deed]] = st.lists(
    weighted((3, commits(_NOTHING)), (1, imports(_NOTHING))), max_size=3
)
COMPACTIONS = st.builds(Compact, _WHO, PLANS)
# By hand, while nobody writes.
RETURNS: st.SearchStrategy[Deed] = weighted(
    (3, st.builds(PutBack, st.just(0), _NOTHING, _WHICH)),
    (1, st.builds(Refill, st.just(0), _NOTHING, _PARTS)),
)
