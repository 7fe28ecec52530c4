"""Publishing to a bucket in memory: what arrives, what is refused, and what faults leave behind."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.errors import CommitConflict, StoreUnfit, Unavailable
from serving.gallery.store import StoredObject
from serving.model.repository import CARD, CONFIG, MODEL, ModelError, TracedModel
from serving.operations.publish import Target, publish
from tests.support.memory_store import MemoryStore
from tests.support.model_repository import NAME, of_openvino, traced
from tests.support.stages import CARD as FAKE

TARGET = Target("models", f"prod/{NAME}")
KEYS = [TARGET.key(name) for name in (MODEL, CONFIG, CARD)]
OTHER_ID = f"{NAME}@ffffffffffff"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def local(tmp_path: Path) -> TracedModel:
    return TracedModel.read(traced(tmp_path), NAME)


@pytest.fixture
def anew(tmp_path: Path) -> TracedModel:
    """The same weights, traced once more."""
    return TracedModel.read(traced(tmp_path / "anew", b"TorchScript, traced anew"), NAME)


@pytest.fixture
def other(local: TracedModel) -> TracedModel:
    """Other weights under the same name."""
    card = FAKE.model_copy(update={"id": OTHER_ID})
    files = {
        MODEL: b"other weights",
        CONFIG: card.to_pbtxt().encode(),
        CARD: card.to_json().encode(),
    }
    return TracedModel(card, files, hashlib.sha256(files[MODEL]).hexdigest())


def run(store: MemoryStore, model: TracedModel, *, replace: bool = False) -> list[str]:
    return list(publish(store, TARGET, model, replace=replace, sleep=lambda seconds: None))


def writes(store: MemoryStore) -> list[tuple[str, str]]:
    return [(r, k) for r, k in store.requests if r in ("put", "delete")]


def assert_whole(store: MemoryStore, *models: TracedModel) -> None:
    """The bucket holds one of the models, and nothing else."""
    held = [store.objects[key].data for key in KEYS]
    assert held in [[m.files[MODEL], m.files[CONFIG], m.files[CARD]] for m in models]
    assert sorted(store.objects) == sorted(KEYS)


class TestTarget:
    @pytest.mark.parametrize(
        ("uri", "path"),
        [
            ("s3://models/facenet-x", "facenet-x"),
            ("s3://my.models-1/a/b=1/facenet-x", "a/b=1/facenet-x"),
            ("s3://models/a/facenet-x/", "a/facenet-x"),
        ],
    )
    def test_a_uri(self, uri: str, path: str) -> None:
        target = Target.parse(uri, "facenet-x")
        assert target.path == path
        assert target.storage_uri == f"{uri.rstrip('/')}/"
        assert target.key(CARD) == f"{path}/facenet-x/model.json"

    @pytest.mark.parametrize(
        "uri",
        [
            "",
            "facenet-x",
            "s3://",
            "s3://models",
            "s3://models/",
            "s3://facenet-x",
            "s3:///facenet-x",
            "gs://models/facenet-x",
            "s3://Models/facenet-x",
            "s3://models//facenet-x",
            "s3://models/a//facenet-x",
            "s3://models/a b/facenet-x",
            "s3://models/../facenet-x",
            "s3://models/a/facenet-x?x=1",
            "s3://models/a/facenet-x\n",
        ],
    )
    def test_no_uri(self, uri: str) -> None:
        with pytest.raises(ValueError, match=r"s3://BUCKET/PREFIX/facenet-x"):
            Target.parse(uri, "facenet-x")

    def test_a_uri_that_does_not_end_in_the_name(self) -> None:
        with pytest.raises(ValueError, match="end in the model's name: s3://models/a/facenet-x"):
            Target.parse("s3://models/a/", "facenet-x")


class TestPublish:
    def test_a_model_arrives_and_its_card_last(
        self, store: MemoryStore, local: TracedModel
    ) -> None:
        assert run(store, local) == KEYS
        assert_whole(store, local)
        assert writes(store) == [("put", key) for key in KEYS]
        assert store.head(KEYS[0]).metadata == {
            "model-id": local.card.id,
            "size": "11",
            "sha256": local.sha256,
        }

    def test_once_more_is_nothing_to_do(self, store: MemoryStore, local: TracedModel) -> None:
        run(store, local)
        store.requests.clear()
        assert run(store, local) == []
        assert run(store, local, replace=True) == []
        assert writes(store) == []
        assert ("get", KEYS[0]) not in store.requests  # 94 MB

    def test_the_same_weights_traced_anew_are_the_same_model(
        self, store: MemoryStore, local: TracedModel, anew: TracedModel
    ) -> None:
        run(store, local)
        assert run(store, anew) == []
        assert_whole(store, local)

    def test_changed_settings_arrive_with_the_file_that_they_belong_to(
        self, store: MemoryStore, local: TracedModel, tmp_path: Path
    ) -> None:
        run(store, local)
        same_file = TracedModel.read(traced(tmp_path / "a", threshold=0.6), NAME)
        assert run(store, same_file) == KEYS[1:]
        assert_whole(store, same_file)
        other_file = TracedModel.read(traced(tmp_path / "b", b"anew", threshold=0.7), NAME)
        assert run(store, other_file) == KEYS
        assert_whole(store, other_file)

    def test_a_dry_run_writes_nothing(self, store: MemoryStore, local: TracedModel) -> None:
        told: list[str] = []
        keys = publish(store, TARGET, local, dry_run=True, say=told.append)
        assert keys == KEYS
        assert told == [f"Upload {key}" for key in KEYS]
        assert store.objects == {}

    def test_folders_as_some_tools_make_them_do_not_matter(
        self, store: MemoryStore, local: TracedModel
    ) -> None:
        store.put(f"{TARGET.path}/", b"")
        store.put(f"{TARGET.path}/{NAME}/1/", b"")
        store.put("prod/facenet-test-2/facenet-test-2/config.pbtxt", b"a neighbour")
        assert run(store, local) == KEYS
        assert run(store, local) == []

    @pytest.mark.parametrize("name", ["other/config.pbtxt", f"{NAME}/2/model.pt", "readme.txt"])
    @pytest.mark.parametrize("replace", [False, True])
    def test_what_triton_would_load_too_is_refused(
        self, store: MemoryStore, local: TracedModel, name: str, replace: bool
    ) -> None:
        store.put(f"{TARGET.path}/{name}", b"x")
        with pytest.raises(ModelError, match=f"also holds {TARGET.path}/{name}.*another prefix"):
            run(store, local, replace=replace)
        assert len(store.objects) == 1


class TestAnotherModel:
    def test_is_refused_by_both_ids(
        self, store: MemoryStore, local: TracedModel, other: TracedModel
    ) -> None:
        run(store, other)
        with pytest.raises(
            ModelError, match=f"holds {OTHER_ID}, and not {local.card.id}; .*prefix.* --replace"
        ):
            run(store, local)
        assert_whole(store, other)

    def test_is_refused_when_only_its_file_has_arrived(
        self, store: MemoryStore, local: TracedModel, other: TracedModel
    ) -> None:
        run(store, other)
        del store.objects[KEYS[1]], store.objects[KEYS[2]]
        with pytest.raises(ModelError, match=OTHER_ID):
            run(store, local)

    def test_is_refused_when_it_does_not_say_what_it_is(
        self, store: MemoryStore, local: TracedModel
    ) -> None:
        store.put(KEYS[0], b"somebody's own")
        store.put(KEYS[2], b"no card")
        with pytest.raises(ModelError, match="holds an unknown model, and not"):
            run(store, local)
        assert run(store, local, replace=True) == [KEYS[2], *KEYS]
        assert_whole(store, local)

    def test_is_refused_when_the_card_is_none(self, store: MemoryStore, local: TracedModel) -> None:
        store.put(KEYS[2], bytes(2**23 + 1))
        with pytest.raises(ModelError, match=r"model\.json has 8388609 bytes"):
            run(store, local, replace=True)

    def test_is_replaced_and_never_has_the_other_ones_card(
        self, store: MemoryStore, local: TracedModel, other: TracedModel
    ) -> None:
        run(store, other)
        seen: list[set[bytes]] = []
        store.after = lambda request, key: seen.append({o.data for o in store.objects.values()})
        assert run(store, local, replace=True) == [KEYS[2], KEYS[1], *KEYS]
        assert_whole(store, local)
        for data in seen:
            assert not (other.files[MODEL] in data and local.files[CONFIG] in data)
            assert not (local.files[MODEL] in data and other.files[CONFIG] in data)
            assert not (local.files[CARD] in data and len(data) < 3)


class TestDamage:
    def damage(self, store: MemoryStore, key: str, data: bytes) -> None:
        """Other bytes under the same metadata."""
        store.objects[key] = StoredObject(data, store.objects[key].etag)

    def test_a_missing_object_is_uploaded(self, store: MemoryStore, local: TracedModel) -> None:
        for key in KEYS[:2]:
            run(store, local)
            del store.objects[key]
            assert run(store, local) == [key]
            assert_whole(store, local)

    @pytest.mark.parametrize("data", [b"TorchScr", b"TorchScripT"])
    def test_a_file_of_another_size_or_sum(
        self, store: MemoryStore, local: TracedModel, data: bytes
    ) -> None:
        run(store, local)
        self.damage(store, KEYS[0], data)
        assert run(store, local) == [KEYS[0]]
        assert_whole(store, local)

    def test_a_file_that_was_replaced_by_hand(self, store: MemoryStore, local: TracedModel) -> None:
        run(store, local)
        store.put(KEYS[0], local.files[MODEL])
        assert run(store, local) == [KEYS[0]]

    def test_a_damaged_configuration_and_card(self, store: MemoryStore, local: TracedModel) -> None:
        run(store, local)
        for key in KEYS[1:]:
            self.damage(store, key, b"damaged")
        assert run(store, local) == KEYS[1:]
        assert_whole(store, local)

    def test_a_store_that_keeps_no_sums(
        self, store: MemoryStore, local: TracedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        head = store.head
        monkeypatch.setattr(
            store, "head", lambda key: type(i := head(key))(i.size, i.etag, None, i.metadata)
        )
        assert run(store, local) == KEYS
        assert run(store, local) == []
        self.damage(store, KEYS[0], b"short")
        assert run(store, local) == [KEYS[0]]

    def test_a_store_that_keeps_no_metadata_is_told(
        self, store: MemoryStore, local: TracedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        head = store.head
        monkeypatch.setattr(
            store, "head", lambda key: type(i := head(key))(i.size, i.etag, None, {})
        )
        with pytest.raises(CommitConflict, match="does not keep what it is given"):
            run(store, local)


class Moment:
    """A hook of the store that acts once, at the n-th request."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        self._left, self._act = at, act

    @property
    def over(self) -> bool:
        return self._left <= 0

    def __call__(self, request: str, key: str) -> None:
        self._left -= 1
        if self._left == 0:
            self._act()


class Killed(BaseException):
    """The process ends here."""


class TestFaults:
    @pytest.mark.parametrize("side", ["before", "after"])
    @pytest.mark.parametrize(
        ("replace", "at"),
        [(False, at) for at in range(1, 7)] + [(True, at) for at in range(1, 12)],
    )
    def test_a_process_that_is_killed_anywhere(
        self,
        store: MemoryStore,
        local: TracedModel,
        other: TracedModel,
        at: int,
        side: str,
        replace: bool,
    ) -> None:
        if replace:
            run(store, other)

        def kill(request: str, key: str) -> None:
            moment(request, key)
            # What is there is never promised to be more than it is.
            if KEYS[2] in store.objects:
                assert_whole(store, local, other)

        def die() -> None:
            raise Killed

        moment = Moment(at, die)
        setattr(store, side, kill)
        with contextlib.suppress(Killed):
            run(store, local, replace=replace)
        assert moment.over
        setattr(store, side, lambda request, key: None)
        run(store, local, replace=replace)
        assert_whole(store, local)

    @pytest.mark.parametrize("moment", ["before", "after"])
    @pytest.mark.parametrize("key", KEYS)
    def test_a_request_or_its_reply_is_lost(
        self, store: MemoryStore, local: TracedModel, key: str, moment: str
    ) -> None:
        lost: list[str] = []

        def lose(request: str, at: str) -> None:
            if (request, at) == ("put", key) and len(lost) < 4:
                lost.append(at)
                raise Unavailable("The object store cannot be reached.")

        setattr(store, moment, lose)
        run(store, local)
        assert_whole(store, local)
        # A reply that was lost is recognised: nothing is uploaded twice.
        assert len(lost) == (4 if moment == "before" else 1)

    def test_a_store_that_stays_away(self, store: MemoryStore, local: TracedModel) -> None:
        def away(request: str, key: str) -> None:
            if (request, key) == ("put", KEYS[1]):
                raise Unavailable("The object store cannot be reached.")

        store.before = away
        slept: list[float] = []
        with pytest.raises(Unavailable, match=r"cannot be reached\. What is uploaded stays"):
            publish(store, TARGET, local, sleep=slept.append)
        assert len(slept) == 4
        assert sum(slept) < 15
        assert list(store.objects) == KEYS[:1]

    def test_a_store_that_cannot_be_read_is_told_at_once(
        self, store: MemoryStore, local: TracedModel
    ) -> None:
        run(store, local)

        def away(request: str, key: str) -> None:
            raise Unavailable("The object store cannot be reached.")

        store.before = away
        with pytest.raises(Unavailable, match=r"cannot be reached\.$"):
            publish(store, TARGET, local, sleep=lambda seconds: pytest.fail("slept"))

    def test_keys_that_may_not_write_are_told_at_once(
        self, store: MemoryStore, local: TracedModel
    ) -> None:
        def refuse(request: str, key: str) -> None:
            if request == "put":
                raise StoreUnfit("The bucket refuses these keys.")

        store.before = refuse
        with pytest.raises(StoreUnfit, match=r"refuses these keys\.$"):
            publish(store, TARGET, local, sleep=lambda seconds: pytest.fail("slept"))

    @pytest.mark.parametrize("key", KEYS)
    def test_what_vanishes_while_it_is_looked_at(
        self, store: MemoryStore, local: TracedModel, key: str
    ) -> None:
        run(store, local)

        def vanish(request: str, at: str) -> None:
            if at == key and request in ("get", "head"):
                store.before = lambda request, key: None
                del store.objects[key]

        store.before = vanish
        assert run(store, local) == [key]
        assert_whole(store, local)


class TestManyPublishers:
    def race(
        self, store: MemoryStore, *publishers: Callable[[], object]
    ) -> tuple[int, list[Exception]]:
        errors: list[Exception] = []

        def work(publisher: Callable[[], object]) -> None:
            try:
                publisher()
            except (ModelError, CommitConflict) as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(p,)) for p in publishers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(publishers) - len(errors), errors

    @pytest.mark.parametrize("turn", range(10))
    def test_of_one_model_all_succeed(
        self, store: MemoryStore, local: TracedModel, anew: TracedModel, turn: int
    ) -> None:
        start = threading.Barrier(4)

        def publisher(model: TracedModel) -> Callable[[], object]:
            return lambda: (start.wait(), run(store, model))

        done, errors = self.race(store, *(publisher(m) for m in (local, anew, local, anew)))
        assert (done, errors) == (4, [])
        assert_whole(store, local, anew)

    @pytest.mark.parametrize("at", range(1, 7))
    def test_of_two_models_one_stays(
        self, store: MemoryStore, local: TracedModel, other: TracedModel, at: int
    ) -> None:
        """The other publisher runs as a whole at any moment of the first one."""
        moment = Moment(at, lambda: self.race(store, lambda: run(store, other)))
        store.before = moment
        self.race(store, lambda: run(store, local))
        assert moment.over
        assert_whole(store, local, other)

    @pytest.mark.parametrize("at", range(1, 12))
    def test_a_replacement_that_meets_another_publisher(
        self, store: MemoryStore, local: TracedModel, other: TracedModel, at: int
    ) -> None:
        run(store, other)

        moment = Moment(at, lambda: self.race(store, lambda: run(store, other, replace=True)))
        store.before = moment
        run(store, local, replace=True)
        assert moment.over
        assert_whole(store, local, other)


class TestOpenVINO:
    """Two files that belong together."""

    NAMES = ("1/model.bin", "1/model.xml", CONFIG, CARD)

    def test_the_weights_come_first_and_the_card_last(
        self, store: MemoryStore, tmp_path: Path
    ) -> None:
        model = TracedModel.read(of_openvino(tmp_path), NAME)
        assert run(store, model) == [TARGET.key(name) for name in self.NAMES]
        assert {TARGET.key(n): data for n, data in model.files.items()} == {
            key: held.data for key, held in store.objects.items()
        }
        assert run(store, model) == []

    def test_another_network_description_comes_with_its_weights(
        self, store: MemoryStore, tmp_path: Path
    ) -> None:
        run(store, TracedModel.read(of_openvino(tmp_path / "old"), NAME))
        folder = of_openvino(tmp_path / "new", b"other layout") / NAME / "1"
        data = b"<net layout='other'/>"
        sums = (folder / "model.sha256").read_text().splitlines()[0]
        (folder / "model.xml").write_bytes(data)
        (folder / "model.sha256").write_text(
            f"{sums}\n{hashlib.sha256(data).hexdigest()}  model.xml\n"
        )
        new = TracedModel.read(tmp_path / "new", NAME)
        assert run(store, new) == [TARGET.key(name) for name in self.NAMES[:2]]

    def test_torchscript_does_not_come_beside_it(
        self, store: MemoryStore, local: TracedModel, tmp_path: Path
    ) -> None:
        run(store, TracedModel.read(of_openvino(tmp_path / "ov"), NAME))
        with pytest.raises(ModelError, match=r"also holds .*model\.bin"):
            run(store, local, replace=True)
