"""From one model's gallery into another's: nobody twice, overwritten or brought back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection

import numpy as np
import pytest

from serving.errors import InvalidInput, NotConfirmed, Unavailable
from serving.gallery import Gallery, Kind, Operation, Person, erasure
from serving.gallery.compaction import compact
from serving.gallery.location import Location
from serving.gallery.migration import Migration, Move, Plan
from serving.gallery.segment import Segment
from serving.gallery.snapshot import Origin
from serving.gallery.stored import StoredGallery
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, MODEL, put, unit_rows
from tests.unit.gallery.faulty import Fault, FaultyStore

NEW, NEW_DIMENSION = "facenet-new@aaaaaaaaaaaa", 32
NEW_LOCATION = Location("default", NEW, NEW_DIMENSION)
HASH = MODEL.rpartition("@")[2]


class Both:
    """Two galleries in one bucket, and a migration from one to the other."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.old = self._gallery(MODEL, DIMENSION)
        self.new = self._gallery(NEW, NEW_DIMENSION)
        self.photos: dict[int, str] = {}

    def _gallery(self, model: str, dimension: int) -> Gallery:
        return Gallery(
            self.store, "galleries", Location("default", model, dimension), sleep=lambda s: None
        )

    def migration(self, *, replace: bool = False) -> Migration:
        def erase(ids: Collection[int]) -> None:
            erasure.erase(StoredGallery(self.store, "galleries", NEW_LOCATION), ids)

        return Migration(self.old, self.new, erase=erase, replace=replace)

    def enrol(self, person: int, at: float, name: str = "", photos: int = 1) -> None:
        operation = put(person, photos, name=name)
        self.old.commit([dataclasses.replace(operation, time=at)])
        self.photos.setdefault(person, f"photos of {person}")

    def change(self, kind: Kind, person: int, at: float, **more: object) -> None:
        self.old.commit([Operation(kind, person, at, **more)])  # type: ignore[arg-type]

    def enrol_new(self, person: int, at: float = 900.0, name: str = "") -> None:
        details = {"name": name} if name else {}
        rows = unit_rows(1, NEW_DIMENSION, seed=77)
        self.new.commit([Operation(Kind.PUT, person, at, rows, details=details)])

    def moves(self, people: Collection[int], migration: Migration) -> list[Move]:
        return [
            Move(person, self.photos[i], unit_rows(2, NEW_DIMENSION, seed=i))
            for i, person in migration.of_old(people).items()
        ]

    def move(self, *, replace: bool = False) -> Plan:
        """All of it; the plan that was carried out."""
        migration = self.migration(replace=replace)
        plan = migration.plan(self.photos)
        migration.forget_gone()
        migration.rename(plan.rename, self.photos)
        migration.commit(self.moves(plan.look, migration))
        return plan

    @property
    def moved(self) -> dict[int, Person]:
        return {p.id: p for p in self.new.refresh().list(99)}

    def holds(self, person: int) -> bool:
        """Whether any object of the new gallery holds the embeddings made of this person."""
        rows = unit_rows(2, NEW_DIMENSION, seed=person).astype(np.float16)
        return any(
            (Segment.from_bytes(found.data).embeddings[:, None] == rows).all(axis=2).any()
            for key, found in self.store.objects.items()
            if NEW in key and "/segments/" in key
        )


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
def both(store: FaultyStore) -> Both:
    both = Both(store)
    both.enrol(1, 100.5, "Ada")
    both.enrol(2, 200.25, photos=3)
    both.change(Kind.DESCRIBE, 2, 201.0, details={"metadata": {"desk": "4b"}})
    return both


def test_names_metadata_and_times_are_taken_over(both: Both) -> None:
    assert both.move() == Plan(look=[1, 2])
    assert [dataclasses.astuple(p)[:6] for p in both.moved.values()] == [
        (1, 2, "Ada", {}, 100.5, 100.5),
        (2, 2, None, {"desk": "4b"}, 200.25, 201.0),
    ]
    assert both.moved[1].origin == Origin(HASH, 100.5, "photos of 1")
    assert [p.photos for p in both.old.refresh().list(9)] == [1, 3]


def test_a_retention_is_taken_over_and_so_is_its_change(both: Both) -> None:
    ends: dict[str, object] = {"expires_at": "2027-01-31T00:00:00Z"}
    both.enrol(1, 100.0)
    both.change(Kind.DESCRIBE, 1, 200.0, details={**ends, "legal_basis": {"kind": "contract"}})
    both.move()
    moved = both.moved[1]
    assert (moved.expires_at, moved.legal_basis) == (ends["expires_at"], {"kind": "contract"})
    both.change(Kind.DESCRIBE, 1, 300.0, details={"expires_at": None})
    assert both.move().rename == [1]
    moved = both.moved[1]
    assert (moved.expires_at, moved.legal_basis) == (None, {"kind": "contract"})


def test_what_is_done_is_not_done_again(both: Both) -> None:
    both.move()
    version = both.new.refresh().version
    assert both.move() == Plan(done=2)
    assert both.new.refresh().version == version


def test_it_outlives_compaction(both: Both) -> None:
    both.move()
    both.change(Kind.DESCRIBE, 1, 300.0, details={"name": "Countess"})
    both.move()
    compact(StoredGallery(both.store, "galleries", NEW_LOCATION))
    both.new = both._gallery(NEW, NEW_DIMENSION)
    assert both.move() == Plan(done=2)


def test_a_new_name_needs_no_photos(both: Both) -> None:
    both.move()
    before = both.moved[1]
    both.change(Kind.DESCRIBE, 1, 300.0, details={"name": None, "metadata": {"a": 1}})
    del both.photos[1]
    assert both.move() == Plan(rename=[1], done=1)
    after = both.moved[1]
    assert (after.name, after.metadata, after.updated) == (None, {"a": 1}, 300.0)
    assert (after.created, after.photos) == (before.created, before.photos)
    both.photos[1] = "photos of 1"
    assert both.move() == Plan(done=2)


def test_other_photos_are_looked_at_again(both: Both) -> None:
    both.move()
    both.photos[2] = "more photos"
    assert both.move() == Plan(look=[2], done=1)
    assert both.moved[2].photos == 2  # and not four
    assert both.move() == Plan(done=2)


def test_a_person_deleted_and_enrolled_again_is_another_one(both: Both) -> None:
    both.move()
    both.change(Kind.DELETE, 1, 300.0)
    both.enrol(1, 301.0, "Eve")
    assert both.move() == Plan(look=[1], done=1)
    assert (both.moved[1].name, both.moved[1].created) == ("Eve", 301.0)


def test_people_who_cannot_be_moved_are_reported(both: Both) -> None:
    del both.photos[1]
    both.photos[9] = "of nobody"
    assert both.move() == Plan(look=[2], without_photos=[1], unknown=[9])
    assert list(both.moved) == [2]


class TestOthersWriteIntoTheNewGallery:
    def test_a_person_enrolled_there_is_not_overwritten(self, both: Both) -> None:
        both.enrol_new(1, name="Somebody")
        assert both.move() == Plan(look=[2], foreign=[1])
        assert (both.moved[1].name, both.moved[1].created) == ("Somebody", 900.0)

    def test_unless_it_is_asked_for(self, both: Both) -> None:
        both.enrol_new(1, name="Somebody")
        both.move()
        assert both.move(replace=True) == Plan(look=[1], done=1)
        assert (both.moved[1].name, both.moved[1].created) == ("Ada", 100.5)
        assert both.move(replace=True) == Plan(done=2)

    @pytest.mark.parametrize("kind", [Kind.DESCRIBE, Kind.APPEND, Kind.PUT])
    def test_nor_a_person_changed_there_since(self, both: Both, kind: Kind) -> None:
        both.move()
        rows = None if kind is Kind.DESCRIBE else unit_rows(1, NEW_DIMENSION, seed=5)
        both.new.commit([Operation(kind, 1, 950.0, rows, details={"name": "Changed"})])
        both.change(Kind.DESCRIBE, 1, 960.0, details={"name": "Countess"})
        both.photos[1] = "others"
        assert both.move() == Plan(done=1, foreign=[1])
        assert both.moved[1].name == "Changed"

    def test_nor_a_person_enrolled_there_at_the_last_moment(
        self, both: Both, store: FaultyStore
    ) -> None:
        migration = both.migration()
        migration.plan(both.photos)
        moves = both.moves([1, 2], migration)

        def meanwhile(request: str, key: str, data: bytes) -> None:
            if request == "put" and f"{NEW}/manifest" in key:
                store.fault = lambda *request: None
                both._gallery(NEW, NEW_DIMENSION).commit([put_new(1)])

        store.fault = meanwhile
        assert migration.commit(moves) == [2]
        assert both.moved[1].created == 950.0

    def test_two_at_once_write_once(self, both: Both) -> None:
        first, second = both.migration(), both.migration()
        moves = both.moves([1, 2], first)
        assert (first.commit(moves[:1]), second.commit(moves)) == ([1], [2])
        assert both.new.refresh().version == 2


class TestForgottenInTheOldGallery:
    def test_afterwards(self, both: Both) -> None:
        both.move()
        both.change(Kind.DELETE, 1, 300.0)
        assert both.move() == Plan(done=1, gone=[1], unknown=[1])
        assert list(both.moved) == [2]
        assert not both.holds(1)
        assert both.holds(2)

    def test_while_the_photos_are_looked_at(self, both: Both) -> None:
        migration = both.migration()
        moves = both.moves([1, 2], migration)
        both.change(Kind.DELETE, 1, 300.0)
        assert migration.commit(moves) == [2]
        assert list(both.moved) == [2]

    def test_in_the_moment_of_the_commit(self, both: Both, store: FaultyStore) -> None:
        migration = both.migration()
        moves = both.moves([1, 2], migration)

        def meanwhile(request: str, key: str, data: bytes) -> None:
            if request == "put" and f"{NEW}/manifest" in key:
                store.fault = lambda *request: None
                both.change(Kind.DELETE, 1, 300.0)

        store.fault = meanwhile
        assert migration.commit(moves) == [2]
        assert list(both.moved) == [2]
        assert not both.holds(1)

    def test_renamed_while_the_photos_are_looked_at(self, both: Both) -> None:
        migration = both.migration()
        moves = both.moves([1], migration)
        both.change(Kind.DESCRIBE, 1, 300.0, details={"name": "Countess"})
        migration.commit(moves)
        assert both.moved[1].name == "Countess"
        assert both.move() == Plan(look=[2], done=1)

    def test_merged(self, both: Both) -> None:
        both.move()
        both.change(Kind.MERGE, 2, 300.0, sources=[1])
        both.photos = {2: "photos of both"}
        assert both.move() == Plan(look=[2], gone=[1])
        assert list(both.moved) == [2]

    def test_a_person_changed_in_the_new_one_stays_and_is_reported(self, both: Both) -> None:
        both.move()
        both.new.commit([Operation(Kind.DESCRIBE, 1, 950.0, details={"name": "Changed"})])
        both.change(Kind.DELETE, 1, 960.0)
        assert both.move() == Plan(done=1, gone_foreign=[1], unknown=[1])
        assert list(both.moved) == [1, 2]

    def test_only_people_who_came_from_there_are_erased(self, both: Both) -> None:
        both.move()
        both.enrol_new(5)
        assert both.move() == Plan(done=2)
        assert list(both.moved) == [1, 2, 5]

    def test_a_gallery_that_was_cleared_clears_nothing(self, both: Both) -> None:
        both.move()
        both.old.commit([Operation(Kind.CLEAR, 0, 300.0)])
        with pytest.raises(InvalidInput, match="is empty"):
            both.move()
        assert list(both.moved) == [1, 2]


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.REPLY_LOST, Fault.LATE, Fault.AWAY])
@pytest.mark.parametrize("at", ["segments", "manifest"])
def test_after_a_fault_it_is_repeated(
    both: Both, store: FaultyStore, fault: Fault, at: str
) -> None:
    def meanwhile(request: str, key: str, data: bytes) -> Fault | None:
        if request == "put" and NEW in key and at in key:
            if fault is not Fault.AWAY:
                store.fault = lambda *request: None
            return fault
        return None

    store.fault = meanwhile
    if fault is Fault.AWAY:
        with pytest.raises(NotConfirmed if at == "manifest" else Unavailable):
            both.move()
    else:
        both.move()
    store.fault = lambda *request: None
    both.new = both._gallery(NEW, NEW_DIMENSION)
    both.move()
    assert [(p.id, p.photos, p.name) for p in both.moved.values()] == [(1, 2, "Ada"), (2, 2, None)]
    assert both.move() == Plan(done=2)


def test_what_is_no_origin_is_refused(both: Both) -> None:
    wrong: Callable[[object], Operation] = lambda origin: dataclasses.replace(  # noqa: E731
        put(3), details={"origin": origin}
    )
    for origin in (5, [], ["a", 1, "b"], [1.0, 1.0, "b"], "abc"):
        with pytest.raises(ValueError, match="origin"):
            both.old.commit([wrong(origin)])
    both.old.commit([wrong(["a", 1.0, "b"]), wrong(None)])


def put_new(person: int) -> Operation:
    return Operation(Kind.PUT, person, 950.0, unit_rows(1, NEW_DIMENSION, seed=9))
