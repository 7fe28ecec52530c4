"""Jobs over stores that throttle or are away for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from serving.errors import StoreUnfit, Unavailable
from serving.gallery.store import NotFound, PreconditionFailed, StoreAway, StoreBusy
from serving.operations.batch.job import Place
from serving.operations.batch.look_ups import LookUps
from serving.operations.batch.patience import Patience, PatientStore
from serving.operations.batch.run import Done, run
from tests.support.memory_store import MemoryStore
from tests.unit.operations.batch.results import JOB, OUT, SOURCE, World, photos


class Ended(Exception):
    pass


class Waiting:
    """A patient store; its clock stands still but for the pauses."""

    def __init__(self, store: MemoryStore | None = None, most_s: float = 100.0) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.pauses: list[float] = []
        self.inner = store or MemoryStore()
        self.inner.put("in/a.jpg", b"1")
        self.patience = Patience(most_s, self.said.append, self._sleep, lambda: self.now)
        self.store = PatientStore(self.inner, "in/", self.patience)

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def away(
        self, until: float, error: type[Exception] = StoreBusy, only: str | None = None
    ) -> None:
        """No request is answered until then."""

        def before(request: str, key: str) -> None:
            if self.now < until and only in (None, request):
                raise error("The object store answers with the error SlowDown.")

        self.inner.before = before


def requests(store: PatientStore) -> dict[str, Callable[[], object]]:
    return {
        "get": lambda: store.get("in/a.jpg"),
        "head": lambda: store.head("in/a.jpg"),
        "page": lambda: store.page("in/"),
        "put": lambda: store.put("in/b.jpg", b"2"),
        "put_described": lambda: store.put_described("in/c.jpg", b"3", {}, if_absent=True),
        "delete": lambda: store.delete("in/a.jpg"),
    }


@pytest.mark.parametrize("error", [StoreBusy, StoreAway])
@pytest.mark.parametrize("request_", requests(Waiting().store))
def test_every_request_waits_for_a_store_that_comes_back(
    request_: str, error: type[Exception]
) -> None:
    waiting = Waiting()
    waiting.store.page("in/")
    waiting.away(90, error)
    requests(waiting.store)[request_]()
    assert 90 <= waiting.now < 100
    assert waiting.said == [
        "The object store answers with the error SlowDown. It is waited for, 100 s at most."
    ]
    assert waiting.pauses[0] <= 1
    assert max(waiting.pauses) <= 8


@pytest.mark.parametrize("request_", requests(Waiting().store))
def test_a_store_that_stays_away_ends_the_waiting(request_: str) -> None:
    waiting = Waiting()
    waiting.away(1000)
    with pytest.raises(StoreBusy):
        requests(waiting.store)[request_]()
    assert waiting.now == pytest.approx(100)
    # The next request finds that all patience is spent.
    waiting.now += 0.001  # of the last request
    with pytest.raises(StoreBusy):
        waiting.store.page("in/")
    assert waiting.now < 100.1


@pytest.mark.parametrize(
    "error",
    [NotFound, PreconditionFailed, StoreUnfit, Unavailable],
    ids=["NoSuchKey", "412", "AccessDenied", "InvalidObjectState"],
)
@pytest.mark.parametrize("request_", requests(Waiting().store))
def test_what_is_refused_for_good_does_not_wait(request_: str, error: type[Exception]) -> None:
    waiting = Waiting()
    waiting.store.page("in/")
    waiting.away(1000, error)
    with pytest.raises(error):
        requests(waiting.store)[request_]()
    assert not waiting.pauses
    assert not waiting.said


def test_a_store_that_never_answered_may_have_a_wrong_address() -> None:
    waiting = Waiting()
    waiting.away(90, StoreAway)
    with pytest.raises(StoreAway):
        waiting.store.page("in/")
    assert not waiting.pauses


def test_one_object_that_is_not_given_out_does_not_hold_up_the_others() -> None:
    waiting = Waiting()
    waiting.store.page("in/")
    waiting.away(1000, StoreAway, only="get")
    with pytest.raises(StoreAway):
        waiting.store.get("in/a.jpg")
    assert waiting.now < 25


def test_a_throttled_get_waits_though_the_store_lists() -> None:
    waiting = Waiting()
    waiting.away(90, only="get")
    assert waiting.store.get("in/a.jpg").data == b"1"


def test_a_write_whose_reply_is_lost_meets_itself() -> None:
    waiting = Waiting()
    waiting.store.page("in/")

    def lost(request: str, key: str) -> None:
        waiting.inner.after = lambda request, key: None
        raise StoreAway("The object store cannot be reached.")

    waiting.inner.after = lost
    with pytest.raises(PreconditionFailed):
        waiting.store.put("out/x", b"own", if_absent=True)
    assert waiting.inner.get("out/x").data == b"own"


def test_a_run_that_has_ended_waits_no_longer() -> None:
    def ended(seconds: float) -> None:
        raise Ended

    inner = MemoryStore()

    def busy(request: str, key: str) -> None:
        raise StoreBusy("Busy.")

    inner.before = busy
    store = PatientStore(inner, "in/", Patience(100, lambda sentence: None, ended))
    with pytest.raises(Ended):
        store.page("in/")


def patient_run(world: World, waiting: Waiting, concurrency: int) -> Done:
    """A run over the source of the waiting, and results in a store beside it."""
    source, out = waiting.store, PatientStore(world.out, "out/", waiting.patience)
    return run(
        LookUps(JOB, Place(source, SOURCE), world.look_up),
        Place(out, OUT),
        concurrency=concurrency,
        sleep=lambda seconds: None,
    )


def test_threads_wait_together() -> None:
    """Each failing for itself, 8 threads would send 8 times as many requests, and say so 8
    times."""
    world = World(photos(40))
    waiting = Waiting(world.source)
    gate = threading.Barrier(8)
    gets = 0

    def before(request: str, key: str) -> None:
        nonlocal gets
        if request != "get" or waiting.now >= 60:
            return
        gets += 1
        if gets <= 8:  # all of them meet the store that throttles
            gate.wait(10)
        raise StoreBusy("The object store answers with the error SlowDown.")

    world.source.before = before
    done = patient_run(world, waiting, 8)
    assert done.summary["photos"] == 41  # with that of the waiting
    assert not done.summary["errors"]
    assert len(waiting.said) == 1
    assert 60 <= waiting.now < 70
    assert gets < 8 + 20


def test_a_job_goes_on_after_a_store_that_throttles_all() -> None:
    world = World(photos(7))
    waiting = Waiting(world.source)
    asked = 0

    def before(request: str, key: str) -> None:
        nonlocal asked
        asked += 1
        # Begins with the 6th request, and lasts 12 s.
        if asked > 5 and waiting.now < 12:
            raise StoreBusy("The object store answers with the error SlowDown.")

    world.source.before = world.out.before = before
    done = patient_run(world, waiting, 1)
    assert done.summary["photos"] == 8
    assert not done.summary["errors"]
    assert len(waiting.said) == 1
