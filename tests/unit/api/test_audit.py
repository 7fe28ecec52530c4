"""The line of each change of a gallery: who, what, whom, in which version."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest
import yaml
from ray.exceptions import RayActorError

from serving import actor
from serving.errors import CommitConflict, Overloaded, ServingError, Unavailable, UnknownIdentity
from serving.gallery import Operation, Person
from serving.gallery.erasure import Erasure, Left, Receipt
from serving.gallery.location import Location
from serving.keys import hash_of, new_key
from serving.matching.corrections import Move, Tell, Undo, Undone
from serving.matching.records import Candidate, PeoplePage
from serving.model.liveness import Liveness
from serving.pipeline.freshness import Versions
from serving.settings import AuditSettings, GallerySettings, KeySettings
from serving.stages.remote import RemoteMatch
from serving.trail import reading
from serving.trail.reading import Query
from serving.valid_keys import Keys
from tests.support.api import Api
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, MODEL
from tests.support.stages import CARD, FakeMatch, Handle, faces
from tests.support.trails import MemoryTrails, looked_up

KEY = new_key()
JPEG = {"content-type": "image/jpeg"}


class Matcher(FakeMatch):
    """Writes version 18, in which there is everybody whom one asks for."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.reading: ServingError | None = None
        self.asked: list[int | None] = []
        self.left: list[Left] = []
        self.actors: list[str | None] = []

    async def change(
        self,
        location: Location,
        operations: Sequence[Operation],
        require: Sequence[int],
        default_end: str | None = None,
    ) -> int:
        self.actors.append(actor.current())
        if self.failure is not None:
            raise self.failure
        return 18

    async def move(self, location: Location, move: Move) -> int:
        return await self.change(location, [], [])

    async def tell(self, location: Location, tell: Tell) -> int:
        return await self.change(location, [], [])

    async def undo(self, location: Location, undo: Undo) -> Undone:
        return Undone([7, 8], 17, await self.change(location, [], []))

    async def erase(self, collection: str, person: int) -> Erasure:
        if self.failure is not None:
            raise self.failure
        receipts = [
            Receipt(model, [person], 3, [], [], n, 0.0, 9.0)
            for n, model in enumerate(("a", "b"), 30)
        ]
        return Erasure(receipts, self.left)

    async def people(
        self,
        location: Location,
        limit: int,
        after: int,
        at_least: int | None,
        ending: float | None = None,
    ) -> PeoplePage:
        self.asked.append(at_least)
        if self.reading is not None:
            raise self.reading
        person = Person(after + 1, 2, "Ada", {"desk": "4b"}, 0.0, 0.0)
        return PeoplePage([person], 1, 18)


class Asked:
    """Requests with a key, below the collection `shop`, and the lines that they leave."""

    def __init__(self, caplog: pytest.LogCaptureFixture, **api: Any) -> None:
        entry = {"name": "desk", "hash": hash_of(KEY), "scopes": ["admin"]}
        text = yaml.safe_dump({"keys": [entry]})
        self.api = Api(keys=Keys(KeySettings(required=True), {"FACES_KEYS": text}.get), **api)
        self.matcher = Matcher()
        self.api.register._match = RemoteMatch(Handle("match", self.matcher))
        self.api.register._versions = Versions(
            GallerySettings(), connect=lambda settings, observer: MemoryStore()
        )
        self._caplog = caplog

    def __call__(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {
            "Authorization": f"Bearer {KEY}",
            "X-Request-ID": "r-1",
            **request.pop("headers", {}),
        }
        return self.api.request(method, f"/collections/shop{path}", headers=headers, **request)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [vars(r) for r in self._caplog.records if r.name == "faces.audit"]

    @property
    def line(self) -> dict[str, Any]:
        (line,) = self.lines
        return line


@pytest.fixture
def ask(caplog: pytest.LogCaptureFixture) -> Asked:
    return Asked(caplog)


ROW = [1.0] * DIMENSION
CHANGES: dict[str, tuple[str, str, dict[str, Any], list[int], dict[str, Any]]] = {
    "enrol": (
        "POST",
        "/generate?id=7&name=Ada&mode=append",
        {"content": b"photo", "headers": JPEG},
        [7],
        {"mode": "append", "photos": 1},
    ),
    "describe": ("PATCH", "/identities/7", {"json": {"name": "Ada"}}, [7], {}),
    "delete": ("DELETE", "/identities/7", {}, [7], {}),
    "delete-all": ("DELETE", "/identities?confirm=all", {}, [], {}),
    "merge": ("POST", "/identities/7/merge", {"json": {"from": [8, 9]}}, [7, 8, 9], {}),
    "move": (
        "POST",
        "/identities/7/move",
        {"json": {"photos": ["0123456789abcdef"], "to": 9}},
        [9, 7],
        {"photos": 1},
    ),
    "distinct": ("POST", "/identities/7/distinct", {"json": {"from": [8]}}, [7, 8], {}),
    "same": ("DELETE", "/identities/7/distinct/8", {}, [7, 8], {}),
    "unmerge": ("POST", "/identities/7/unmerge", {"json": {"from": [8]}}, [7, 8], {"undone": 17}),
    "undo": ("POST", "/identities/7/undo", {"json": {}}, [7], {"undone": 17}),
    "add": (
        "POST",
        "/identities/7/embeddings",
        {"json": {"model": MODEL, "embeddings": [ROW, ROW]}},
        [7],
        {"mode": "append", "photos": 2},
    ),
}


@pytest.mark.parametrize("action", CHANGES)
def test_a_change_is_told(ask: Asked, action: str) -> None:
    method, path, request, ids, more = CHANGES[action]
    answer = ask(method, path, **request)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = {"action": action, "outcome": "done", "ids": ids, **more}
    told |= {"key": "desk", "collection": "shop", "gallery_version": 18, "request_id": "r-1"}
    assert told.items() <= ask.line.items()
    assert ask.line["levelname"] == "INFO"
    # Where lines are text, the fields are not in them.
    message = ask.line["message"]
    assert message.startswith(f"{action} ")
    assert all(part in message for part in ("shop", "desk", "18", *map(str, ids)))


@pytest.mark.parametrize("action", CHANGES)
def test_names_photos_embeddings_and_keys_are_in_no_line(ask: Asked, action: str) -> None:
    method, path, request, _, _ = CHANGES[action]
    ask(method, path, **request)
    line = json.dumps(ask.line, default=str)
    assert not [secret for secret in ("Ada", "4b", "photo'", "1.0, 1.0", KEY) if secret in line]


def test_an_erasure_has_a_line_for_each_gallery(ask: Asked) -> None:
    assert ask("DELETE", "/identities/7?erase=true").status_code == 200
    told = [(x["action"], x["ids"], x["model"], x["gallery_version"]) for x in ask.lines]
    assert told == [("erase", [7], "a", 30), ("erase", [7], "b", 31)]


def test_a_withdrawal_is_told_as_one(ask: Asked) -> None:
    assert ask("POST", "/identities/7/withdraw").status_code == 200
    told = [(x["action"], x["ids"], x["model"], x["gallery_version"]) for x in ask.lines]
    assert told == [("withdraw", [7], "a", 30), ("withdraw", [7], "b", 31)]


@pytest.mark.parametrize("action", CHANGES)
@pytest.mark.parametrize("failure", [UnknownIdentity("Nobody."), Unavailable("Away.")])
def test_what_was_refused_has_no_line(ask: Asked, action: str, failure: ServingError) -> None:
    ask.matcher.failure = ask.api.pipeline.failure = failure
    method, path, request, _, _ = CHANGES[action]
    assert ask(method, path, **request).status_code == failure.status
    assert ask.lines == []


@pytest.mark.parametrize(
    ("failure", "outcomes"),
    [
        (Unavailable("The store went away."), ["unknown"]),
        (CommitConflict("Others were faster."), ["unknown"]),
        (UnknownIdentity("Nobody."), []),
        (Overloaded("Too many wait."), []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_erasure_that_failed_may_be_done_in_part(
    ask: Asked, failure: ServingError, outcomes: list[str]
) -> None:
    ask.matcher.failure = failure
    assert ask("DELETE", "/identities/7?erase=true").status_code == failure.status
    assert [line["outcome"] for line in ask.lines] == outcomes


def test_an_erasure_whose_matcher_died_is_not_confirmed(ask: Asked) -> None:
    ask.matcher.failure = RayActorError()
    answer = ask("DELETE", "/identities/7?erase=true")
    assert answer.json()["type"] == "urn:faces:problem:not-confirmed"
    assert [line["outcome"] for line in ask.lines] == ["unknown"]


@pytest.mark.parametrize("path", ["/identities", "/identities/7"])
def test_reading_has_no_line(ask: Asked, path: str) -> None:
    assert ask("GET", path).status_code == 200
    assert ask.lines == []


@pytest.mark.parametrize("action", [a for a in CHANGES if a != "enrol"])
def test_a_caller_who_left_leaves_a_line_of_what_may_have_been_done(
    ask: Asked, action: str
) -> None:
    ask.matcher.failure = asyncio.CancelledError()
    method, path, request, ids, _ = CHANGES[action]
    with pytest.raises(asyncio.CancelledError):
        ask(method, path, **request)
    assert (ask.line["outcome"], ask.line["ids"]) == ("unknown", ids)
    assert ask.line["gallery_version"] is None


def test_a_caller_who_left_before_anything_was_written_leaves_none(ask: Asked) -> None:
    ask.api.pipeline.failure = asyncio.CancelledError()
    method, path, request, _, _ = CHANGES["enrol"]
    with pytest.raises(asyncio.CancelledError):
        ask(method, path, **request)
    assert ask.lines == []


def test_what_was_written_is_told_though_it_cannot_be_read_back(ask: Asked) -> None:
    ask.matcher.reading = Unavailable("The store is away.")
    answer = ask("PATCH", "/identities/7", json={"name": "Ada"})
    assert answer.status_code == 503
    assert "It is written, as version 18" in answer.json()["detail"]
    assert ask.line["outcome"] == "done"


def test_what_was_written_is_read_back_in_its_own_version(ask: Asked) -> None:
    assert ask("PATCH", "/identities/7", json={"name": "Ada"}).json()["gallery_version"] == 18
    assert ask.matcher.asked == [18]


def test_an_erasure_that_failed_in_one_gallery_says_so(ask: Asked) -> None:
    ask.matcher.left = [Left("shop/c", "It is damaged.")]
    answer = ask("DELETE", "/identities/7?erase=true")
    assert answer.status_code == 207
    body = answer.json()
    assert (body["complete"], body["embeddings"]) == (False, 6)
    assert body["left"] == [{"gallery": "shop/c", "problem": "It is damaged."}]
    assert [line["outcome"] for line in ask.lines] == ["done", "done", "failed"]
    assert ask.lines[-1]["gallery"] == "shop/c"


def test_what_the_gate_refuses_has_a_line(ask: Asked) -> None:
    nobody = {"Authorization": "Bearer wrong"}
    assert ask.api.request("DELETE", "/identities/7", headers=nobody).status_code == 401
    assert ask.api.request("POST", "/collections/shop/infer").status_code == 401
    told = [(x["outcome"], x["key"], x["collection"], x["method"], x["path"]) for x in ask.lines]
    assert told == [
        ("refused", "no valid key", "default", "DELETE", "/identities/7"),
        ("refused", "no valid key", "shop", "POST", "/collections/shop/infer"),
    ]
    assert "wrong" not in json.dumps(ask.lines, default=str)


def test_what_a_key_may_not_do_has_a_line_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    entry = {"name": "gate", "hash": hash_of(KEY), "scopes": ["identify"]}
    text = yaml.safe_dump({"keys": [entry]})
    api = Api(keys=Keys(KeySettings(required=True), {"FACES_KEYS": text}.get))
    headers = {"Authorization": f"Bearer {KEY}"}
    assert api.request("DELETE", "/identities/7", headers=headers).status_code == 403
    (line,) = [vars(r) for r in caplog.records if r.name == "faces.audit"]
    assert (line["outcome"], line["key"], line["path"]) == ("refused", "gate", "/identities/7")


@pytest.mark.parametrize("on", [False, True])
def test_identifications_have_a_line_by_a_setting(
    on: bool, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(audit=AuditSettings(identifications=on))
    assert api.request("POST", "/infer", content=b"photo", headers=JPEG).status_code == 200
    lines = [vars(r) for r in caplog.records if r.name == "faces.audit"]
    assert len(lines) == on
    for line in lines:
        assert (line["action"], line["key"], line["faces"]) == ("identify", "anonymous", 1)
        assert "name" not in str(line["message"])


@pytest.mark.parametrize("on", [False, True])
@pytest.mark.parametrize(("threshold", "same"), [(-1, True), (1, False)])
def test_verifications_have_a_line_by_the_same_setting(
    on: bool, threshold: float, same: bool, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(audit=AuditSettings(identifications=on))
    other = faces((0, 0, 9, 9))
    other.crops[:] = 1  # those of any other photo are full of 0
    api.pipeline.found[b"other"] = other
    photos = {"image_a": b"photo", "image_b": b"other"}
    answer = api.request("POST", f"/verify?threshold={threshold}", files=photos)
    assert answer.json()["same"] is same
    lines = [vars(r) for r in caplog.records if r.name == "faces.audit"]
    assert len(lines) == on
    for line in lines:
        told = (line["action"], line["outcome"], line["key"], line["ids"], line["same"])
        assert told == ("verify", "done", "anonymous", [], same)
        assert line["message"] == "verify nobody in default by anonymous: done"


@pytest.mark.parametrize("action", [a for a in CHANGES if a != "enrol"])
def test_the_stage_is_told_who_acts(ask: Asked, action: str) -> None:
    method, path, request, _, _ = CHANGES[action]
    ask(method, path, **request)
    assert ask.matcher.actors == ["key:desk"]


SECRET = b"k" * 32


@pytest.fixture
def trails() -> MemoryTrails:
    return MemoryTrails()


def records_of(trails: MemoryTrails) -> list[dict[str, Any]]:
    return list(reading.search(trails.places, Query()))


def test_an_identification_is_recorded_as_it_was_answered(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture
) -> None:
    trail = trails.start()
    audit = AuditSettings(identifications=True)
    ask = Asked(caplog, audit=audit, trail=trail, input_key=SECRET, near_misses="identify")
    headers = {**JPEG, "X-Verified-By": "ann@example.org, bob"}
    before = datetime.now(timezone.utc).isoformat()
    assert ask("POST", "/infer", content=b"photo", headers=headers).status_code == 200
    trail.close(10)
    (record,) = records_of(trails)
    began, ended = record.pop("began"), record.pop("ended")
    assert before[:23] <= began[:23] <= ended
    assert record == {
        "action": "identify",
        "outcome": "done",
        "key": "desk",
        "collection": "shop",
        "ids": [7],
        "gallery_version": 17,
        "request_id": "r-1",
        "faces": 1,
        "model": CARD.id,
        "answers": [
            {
                "input": hmac.new(SECRET, b"photo", "sha256").hexdigest(),
                "threshold": round(ask.line["answers"][0]["threshold"], 4),
                "faces": [
                    {"id": 7, "similarity": 0.75, "candidates": [{"id": 7, "similarity": 0.75}]}
                ],
            }
        ],
        "verifiers": ["ann@example.org", "bob"],
    }
    logged = ask.line
    assert all(logged[field] == value for field, value in record.items())
    assert "Ada" not in json.dumps(records_of(trails))


def test_the_record_of_an_ambiguous_face_has_both_people(caplog: pytest.LogCaptureFixture) -> None:
    ask = Asked(caplog, audit=AuditSettings(identifications=True))
    pair = (Candidate(7, "Ada", 0.75), Candidate(8, None, 0.74))
    ask.api.pipeline.ambiguous = {0: pair}
    assert ask("POST", "/infer", content=b"photo", headers=JPEG).status_code == 200
    (face,) = ask.line["answers"][0]["faces"]
    assert (face["id"], ask.line["ids"]) == (None, [])
    assert face["ambiguous"] == [{"id": 7, "similarity": 0.75}, {"id": 8, "similarity": 0.74}]


def test_the_record_of_an_attack_says_so_and_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    ask = Asked(caplog, audit=AuditSettings(identifications=True))
    for live in (False, True):
        ask.api.pipeline.verdict = Liveness(live, 0.5)
        assert ask("POST", "/infer", content=b"photo", headers=JPEG).status_code == 200
    attack, known = ask.lines
    (face,) = attack["answers"][0]["faces"]
    assert face == {"id": None, "similarity": None, "candidates": [], "not_live": True}
    assert (attack["ids"], known["ids"]) == ([], [7])
    assert "not_live" not in known["answers"][0]["faces"][0]


def test_the_record_of_a_comparison_with_an_attack_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ask = Asked(caplog, audit=AuditSettings(identifications=True))
    photos = {"image_a": b"photo", "image_b": b"other"}
    for live in (False, True):
        ask.api.pipeline.verdict = Liveness(live, 0.5)
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = ask.api.request("POST", "/verify", files=photos, headers=headers)
        assert answer.status_code == 200, answer.text
    attack, told = ask.lines
    assert (attack["same"], attack["similarity"], attack["not_live"]) == (None, None, True)
    assert told["same"] is True
    assert "not_live" not in told


def test_what_a_caller_does_not_learn_is_not_in_its_record(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that may only identify gets nothing below the threshold, whatever it asks for."""
    trail = trails.start()
    entry = {"name": "gate", "hash": hash_of(KEY), "scopes": ["identify"]}
    text = yaml.safe_dump({"keys": [entry]})
    api = Api(
        0.9,
        keys=Keys(KeySettings(required=True), {"FACES_KEYS": text}.get),
        audit=AuditSettings(identifications=True),
        trail=trail,
    )
    headers = {**JPEG, "Authorization": f"Bearer {KEY}"}
    answer = api.request("POST", "/infer?threshold=-1", content=b"photo", headers=headers).json()
    trail.close(10)
    (record,) = records_of(trails)
    assert record["ids"] == []
    assert record["answers"] == [
        {"threshold": 0.9, "faces": [{"id": None, "similarity": None, "candidates": []}]}
    ]
    assert answer["faces"][0]["id"] is None


def test_a_verification_is_recorded_as_it_was_answered(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture
) -> None:
    trail = trails.start()
    audit = AuditSettings(identifications=True)
    api = Api(audit=audit, trail=trail, input_key=SECRET)
    photos = {"image_a": b"photo", "image_b": b"other"}
    answer = api.request("POST", "/verify", files=photos).json()
    trail.close(10)
    (record,) = records_of(trails)
    told = {field: record[field] for field in ("same", "similarity", "threshold", "model")}
    assert told == {field: answer[field] for field in told}
    hashes = [hmac.new(SECRET, photo, "sha256").hexdigest() for photo in photos.values()]
    assert (record["action"], record["inputs"]) == ("verify", hashes)


@pytest.mark.parametrize("action", list(CHANGES))
def test_a_change_is_recorded_as_its_line_is(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture, action: str
) -> None:
    trail = trails.start()
    ask = Asked(caplog, trail=trail)
    method, path, request, ids, more = CHANGES[action]
    assert ask(method, path, **request).status_code == 200
    trail.close(10)
    (record,) = records_of(trails)
    assert (record["action"], record["ids"], record["gallery_version"]) == (action, ids, 18)
    assert record.items() >= more.items()
    assert all(vars(caplog.records[-1]).get(k, v) == v for k, v in record.items())


def test_a_refusal_is_recorded_without_the_id_in_its_path(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture
) -> None:
    trail = trails.start()
    ask = Asked(caplog, trail=trail)
    wrong = {"Authorization": "Bearer wrong"}
    for path in ("/identities/4711", "/identities/4711/distinct/815"):
        assert ask.api.request("DELETE", path, headers=wrong).status_code == 401
    trail.close(10)
    records = records_of(trails)
    assert [record["outcome"] for record in records] == ["refused", "refused"]
    paths = [record["path"] for record in records]
    assert paths == ["/identities/{id}", "/identities/{id}/distinct/{id}"]


def test_a_path_that_is_made_to_fill_the_memory_is_cut(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture
) -> None:
    trail = trails.start()
    ask = Asked(caplog, trail=trail)
    assert ask.api.request("DELETE", "/identities/" + "x" * 9000).status_code == 401
    trail.close(10)
    (record,) = records_of(trails)
    assert len(record["path"]) == 200


def test_an_erasure_leaves_pseudonyms_in_the_records_that_there_were(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture
) -> None:
    trail = trails.start()
    ask = Asked(caplog, trail=trail)
    ask("PATCH", "/identities/7", json={"name": "Ada"})
    body = ask("DELETE", "/identities/7?erase=true").json()
    assert body["complete"]
    trail.close(10)
    records = records_of(trails)
    assert [record["action"] for record in records] == ["describe", "erase", "erase"]
    assert all(record["ids"][0].startswith("p-") for record in records)


def test_an_erasure_says_when_the_audit_still_names_the_person(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.trail.writer._FLUSH_S", 0.05)

    def away(request: str, key: str) -> None:
        raise Unavailable("The store is away.")

    trails.store.before = away
    trail = trails.start()
    answer = Asked(caplog, trail=trail)("DELETE", "/identities/7?erase=true")
    assert (answer.status_code, answer.json()["complete"]) == (207, False)
    assert answer.json()["left"] == [
        {"gallery": "audit", "problem": "The audit's records cannot be written."}
    ]
    trails.store.before = lambda request, key: None
    trail.close(10)


def test_no_request_is_begun_whose_record_could_not_be_kept(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture
) -> None:
    def away(request: str, key: str) -> None:
        raise Unavailable("The store is away.")

    trails.store.before = away
    trail = trails.start(buffer_bytes=2**16)
    ask = Asked(caplog, trail=trail)
    while (answer := ask("PATCH", "/identities/7", json={"name": "Ada"})).status_code == 200:
        assert len(ask.lines) < 1000
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:faces:problem:unavailable"
    assert answer.headers["Retry-After"]
    done, changes = len(ask.lines), len(ask.matcher.actors)
    assert done == changes
    assert ask("GET", "/identities/7").status_code == 200  # it leaves no record
    trails.store.before = lambda request, key: None
    trail.close(10)
    assert len(records_of(trails)) == done


@pytest.mark.parametrize(
    "sent", ["", "Ann Lee", "a,,b", "a" * 129, ",".join("abcdefghi"), "<b>", "ä"]
)
def test_names_of_verifiers_are_checked_before_anything_is_done(ask: Asked, sent: str) -> None:
    answer = ask("DELETE", "/identities/7", headers={"X-Verified-By": sent.encode()})
    assert answer.status_code == 400
    assert "X-Verified-By takes the names" in answer.json()["detail"]
    assert ask.lines == []


def test_a_line_of_hundreds_of_faces_has_no_answers_but_its_record_has(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture
) -> None:
    trail = trails.start()
    api = Api(audit=AuditSettings(identifications=True), trail=trail, max_faces=200)
    api.pipeline.found[b"crowd"] = faces(*[(0, 0, 9, 9)] * 150)
    assert api.request("POST", "/infer", content=b"crowd", headers=JPEG).status_code == 200
    (line,) = [vars(r) for r in caplog.records if r.name == "faces.audit"]
    assert (line["faces"], "answers" in line) == (150, False)
    trail.close(10)
    (record,) = records_of(trails)
    assert len(record["answers"][0]["faces"]) == 150


def test_a_request_of_the_protocol_is_one_record_of_all_its_photos(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture
) -> None:
    trail = trails.start()
    api = Api(audit=AuditSettings(identifications=True), trail=trail)
    photos = [base64.b64encode(photo).decode() for photo in (b"photo", b"other")]
    inputs = [{"name": "IMAGE", "shape": [2], "datatype": "BYTES", "data": photos}]
    answer = api.post("/v2/models/face-identification/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    trail.close(10)
    (record,) = records_of(trails)
    assert (record["faces"], len(record["answers"])) == (2, 2)


def test_the_chain_ends_with_the_application(trails: MemoryTrails) -> None:
    app = Api(trail=trails.start()).app
    trail = app.state.context.trail

    async def run() -> None:
        async with app.router.lifespan_context(app):
            trail.add(looked_up())

    asyncio.run(run())
    (report,), _ = reading.check(trails.places)
    assert (report.records, report.ended, report.problems) == (1, True, [])
