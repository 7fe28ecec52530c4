"""A steady load on the service, the answers to its clients, and faults of its processes."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

NO_ANSWER = 0
# Longer than any limit of the service.
_PATIENCE_S = 60.0
_PAUSE_S = 0.2


@dataclass(frozen=True)
class Answer:
    """The outcome of one request.

    Attributes:
        what: identify, enrol or health.
        sent: time.monotonic().
        status: `NO_ANSWER` when the connection was refused or broke off.
        type: of the problem, without its prefix; of a broken connection, the error's name.
        retry_after: the seconds of the header; None: there is none.
        person: the id in an enrolment.
    """

    what: str
    sent: float
    seconds: float
    status: int
    type: str = ""
    detail: str = ""
    retry_after: float | None = None
    person: int = -1

    @property
    def came(self) -> float:
        return self.sent + self.seconds

    @property
    def kind(self) -> str:
        return " ".join(filter(None, (str(self.status or "no answer"), self.type)))

    @property
    def written(self) -> bool | None:
        """Whether an enrolment took place; None: unknown."""
        if self.status == 200:
            return True
        refused = self.status < 500 or "Nothing was written" in self.detail
        return False if self.status and (refused or self.type == "overloaded") else None


def ask(client: httpx.Client, what: str, photo: bytes = b"", person: int = -1) -> Answer:
    """Send one request and return its outcome."""
    sent = time.monotonic()
    image = {"content": photo, "headers": {"Content-Type": "image/jpeg"}}
    try:
        if what == "health":
            got = client.get("/healthz")
        elif what == "identify":
            got = client.post("/infer", **image)  # type: ignore[arg-type]
        else:
            got = client.post("/generate", params={"id": person}, **image)  # type: ignore[arg-type]
    except httpx.TransportError as error:
        seconds = time.monotonic() - sent
        return Answer(what, sent, seconds, NO_ANSWER, type(error).__name__, person=person)
    seconds = time.monotonic() - sent
    kind = detail = ""
    if got.headers.get("content-type") == "application/problem+json":
        body = got.json()
        kind, detail = body["type"].rpartition(":")[2], body["detail"]
    elif got.status_code != 200:
        detail = got.text[:200]
    wait = float(got.headers["retry-after"]) if "retry-after" in got.headers else None
    return Answer(what, sent, seconds, got.status_code, kind, detail, wait, person)


@dataclass
class Load:
    """Clients that send one request after the other; use it in a ``with`` of `loaded`."""

    url: str
    photos: Sequence[bytes]
    ids: Iterator[int]
    answers: list[Answer] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    # Clients that wait for an answer now.
    waiting: set[int] = field(default_factory=set)

    def run(self, what: str) -> None:
        with httpx.Client(base_url=self.url, timeout=_PATIENCE_S) as client:
            for photo in itertools.cycle(self.photos):
                person = next(self.ids) if what == "enrol" else -1
                self.waiting.add(threading.get_ident())
                self.answers.append(ask(client, what, photo, person))
                self.waiting.discard(threading.get_ident())
                if self.over.wait(_PAUSE_S):
                    return

    def between(self, start: float, end: float) -> list[Answer]:
        """The answers to requests that were under way at some time in between."""
        return [a for a in list(self.answers) if a.came >= start and a.sent <= end]

    def recovered(self, since: float, whats: Iterable[str], within: float) -> dict[str, float]:
        """Seconds until the first success of each kind of request that was sent after ``since``."""
        took: dict[str, float] = {}
        wanted = set(whats)
        while True:
            for a in list(self.answers):
                if a.status == 200 and a.sent >= since and a.what in wanted - took.keys():
                    took[a.what] = a.came - since
            if wanted == took.keys():
                return took
            assert time.monotonic() < since + within, f"{wanted - took.keys()} did not come back"
            time.sleep(0.05)

    def enrolled(self) -> set[int]:
        """The ids that the service lists."""
        known: set[int] = set()
        cursor: int | None = -1
        with httpx.Client(base_url=self.url, timeout=_PATIENCE_S) as client:
            while cursor is not None:
                page = client.get("/identities", params={"limit": 1000, "cursor": cursor})
                page.raise_for_status()
                known |= {person["id"] for person in page.json()["identities"]}
                cursor = page.json()["next"]
        return known


@contextmanager
def loaded(
    url: str, photos: Sequence[bytes], ids: Iterator[int], identifying: int = 3
) -> Iterator[Load]:
    """Several clients that identify, one that enrols and one that checks health."""
    load = Load(url, photos, ids)
    whats = ["identify"] * identifying + ["enrol", "health"]
    threads = [threading.Thread(target=load.run, args=(what,)) for what in whats]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.over.set()
        for thread in threads:
            thread.join()


# --- what clients saw ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """The effect of a fault on the clients."""

    fault: str
    lasted: float  # seconds
    answers: Sequence[Answer]  # while it lasted
    recovery: dict[str, float]
    acknowledged: int
    lost: int

    def cells(self) -> list[str]:
        def told(what: str) -> str:
            kinds = Counter(a.kind for a in self.answers if a.what == what)
            return ", ".join(f"{n} x {kind}" for kind, n in sorted(kinds.items())) or "-"

        slowest = max((a.seconds for a in self.answers), default=0.0)
        back = ", ".join(f"{what} {s:.1f} s" for what, s in sorted(self.recovery.items())) or "-"
        return [
            self.fault,
            f"{self.lasted:.1f} s",
            told("identify"),
            told("enrol"),
            f"{slowest:.1f} s",
            back,
            str(self.acknowledged),
            str(self.lost),
        ]


_HEAD = [
    "fault",
    "duration",
    "identifications during it",
    "enrolments during it",
    "slowest answer",
    "first success after its end",
    "writes acknowledged",
    "of these, lost",
]


def table(rows: Sequence[Row]) -> str:
    """In markdown."""
    lines = [_HEAD, ["---"] * len(_HEAD), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


# --- processes -----------------------------------------------------------------------------------


def descendants(pid: int) -> dict[int, str]:
    """The living descendants of a process, with their command lines."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(stat.parent.name)] = int(parent)
    found: dict[int, str] = {}
    new = {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        for child in new:
            with suppress(OSError):
                command = Path(f"/proc/{child}/cmdline").read_bytes()
                found[child] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def replicas(application: int, stage: str) -> list[int]:
    """Pids of the replicas of a stage; ``application`` is the pid of what `serve run` runs in."""
    title = f"ray::ServeReplica:faces:{stage}"
    found = descendants(application).items()
    return [pid for pid, command in found if command.startswith(title)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process within the ``with``, without ending it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def wait_until(true: Callable[[], bool], within: float) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
