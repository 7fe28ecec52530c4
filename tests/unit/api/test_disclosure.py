from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import yaml

from serving.api.disclosure import Disclosure
from serving.keys import Key, hash_of, new_key
from serving.matching.records import Candidate, Matches
from serving.model.liveness import Liveness
from serving.pipeline.reports import Identified
from serving.pipeline.verification import Compared
from serving.settings import KeySettings, MatchSettings
from serving.valid_keys import Keys
from tests.support.api import Api
from tests.support.stages import CARD, faces

SCOPES = {"kiosk": ["identify"], "counter": ["identify", "enrol"], "boss": ["admin"]}
CALLERS = {name: new_key() for name in SCOPES}
MODEL = "/v2/models/face-identification/infer"


def key_of(name: str) -> Key:
    return Key(name=name, hash=hash_of(CALLERS[name]), scopes=frozenset(SCOPES[name]))


def api(**more: Any) -> Api:
    """Person 7, Ada, is always the nearest, with a cosine of 0.75."""
    entries = [
        {"name": name, "hash": hash_of(CALLERS[name]), "scopes": scopes}
        for name, scopes in SCOPES.items()
    ]
    text = yaml.safe_dump({"keys": entries})
    return Api(keys=Keys(KeySettings(required=True), {"FACES_KEYS": text}.get), **more)


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {CALLERS[name]}"}


def face(made: Api, caller: str | None, **options: Any) -> dict[str, Any]:
    headers = {} if caller is None else bearer(caller)
    answer = made.post("/infer", json={"image": "QUJD", **options}, headers=headers)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return {**body["faces"][0], "threshold": body["threshold"]}


@pytest.mark.parametrize("top_k", [1, 100])
@pytest.mark.parametrize("threshold", [None, -1, 0, 0.7, 0.75, 0.7999])
def test_who_may_only_identify_learns_nothing_of_anybody_below_the_threshold(
    top_k: int, threshold: float | None
) -> None:
    found = face(api(threshold=0.8), "kiosk", top_k=top_k, threshold=threshold)
    assert found["threshold"] == 0.8
    assert found["candidates"] == []
    nothing = dict.fromkeys(("id", "name", "similarity", "confidence"))
    assert nothing.items() <= found.items()


@pytest.mark.parametrize("threshold", [None, -1, 0.7])
def test_the_protocol_says_as_little(threshold: float | None) -> None:
    body: dict[str, Any] = {
        "inputs": [{"name": "IMAGE", "datatype": "BYTES", "shape": [1], "data": ["QUJD"]}]
    }
    if threshold is not None:
        body["parameters"] = {"threshold": threshold}
    made = api(threshold=0.8)
    told = {}
    for name in ("kiosk", "counter"):
        answer = made.post(MODEL, json=body, headers=bearer(name))
        assert answer.status_code == 200, answer.text
        outputs = {o["name"]: o["data"] for o in answer.json()["outputs"]}
        told[name] = [outputs[o][0] for o in ("ID", "NAME", "SIMILARITY", "CONFIDENCE")]
    assert told["kiosk"] == [-1, "", -1.0, 0.0]
    assert told["counter"][2] == 0.75


@pytest.mark.parametrize("caller", ["counter", "boss"])
def test_who_may_enrol_learns_who_is_nearest(caller: str) -> None:
    found = face(api(threshold=0.8), caller)
    assert found["id"] is None
    assert [c["id"] for c in found["candidates"]] == [7]
    assert face(api(threshold=0.8), caller, threshold=-1)["id"] == 7


def test_by_a_setting_and_without_keys_all_learn_it() -> None:
    for found in (
        face(api(threshold=0.8, near_misses="identify"), "kiosk"),
        face(Api(threshold=0.8), None),
    ):
        assert [c["id"] for c in found["candidates"]] == [7]


def test_a_caller_may_be_stricter_in_steps_of_a_hundredth() -> None:
    made = api(threshold=0.5)
    assert face(made, "kiosk", threshold=0.7401)["threshold"] == 0.75
    assert face(made, "kiosk", threshold=0.7401)["id"] == 7
    assert face(made, "kiosk", threshold=0.7501)["id"] is None
    assert face(made, "counter", threshold=0.7401)["threshold"] == 0.7401


def identified(threshold: float, *similarities: float) -> Identified:
    candidates = tuple(Candidate(n, None, s) for n, s in enumerate(similarities))
    return Identified(
        faces((1, 2, 30, 40)), Matches((candidates,), 17, 1000), CARD, threshold, ((),)
    )


@pytest.mark.parametrize(
    ("similarities", "shown"),
    [
        ((0.83141, 0.61, 0.2), (0.83, 0.61)),
        ((0.50301,), (0.5029,)),  # never below the threshold that named it
        ((0.50289,), ()),
        ((), ()),
    ],
)
def test_similarities_have_two_digits(
    similarities: tuple[float, ...], shown: tuple[float, ...]
) -> None:
    settings = MatchSettings(threshold=0.5029)
    seen = Disclosure(key_of("kiosk"), settings).identified(identified(0.1, *similarities))
    assert tuple(c.similarity for c in seen.matches.candidates[0]) == shown
    assert (seen.named[0] is not None) == bool(shown)
    whole = identified(0.1, *similarities)
    assert Disclosure(key_of("counter"), settings).identified(whole) is whole


@pytest.mark.parametrize(
    ("similarities", "shown"),
    [
        ((0.83141, 0.82), (0.83, 0.82)),
        ((0.51, 0.50), (0.51,)),  # the second is below the threshold
        ((0.50, 0.49), ()),
    ],
)
def test_an_ambiguous_face_stays_so_without_those_below_the_threshold(
    similarities: tuple[float, ...], shown: tuple[float, ...]
) -> None:
    settings = MatchSettings(threshold=0.505)
    whole = identified(-1, *similarities)
    whole = dataclasses.replace(whole, ambiguous={0: whole.matches.candidates[0]})
    assert whole.named[0] is not None  # by its threshold
    seen = Disclosure(key_of("kiosk"), settings).identified(whole)
    assert tuple(c.similarity for c in seen.ambiguous.get(0, ())) == shown
    assert seen.named == (None,)
    assert Disclosure(key_of("counter"), settings).identified(whole) is whole


@pytest.mark.parametrize(
    ("similarity", "requested", "shown", "same"),
    [
        (0.47412, 0.45, 0.47, True),
        (0.4499, 0.45, 0.44, False),
        (0.4561, -1, 0.46, True),
        (0.3, -1, 0.3, False),
        (0.4561, 0.4501, 0.45, False),
    ],
)
def test_of_two_photos_likewise(
    similarity: float, requested: float, shown: float, same: bool
) -> None:
    settings = MatchSettings(verify_threshold=0.45)
    compared = Compared([], similarity, CARD, ((), ()))
    seen, threshold = Disclosure(key_of("kiosk"), settings).compared(compared, requested)
    assert seen.similarity == shown
    assert (seen.similarity >= threshold) == (similarity >= threshold) == same
    assert threshold >= 0.45
    whole = Disclosure(None, settings).compared(compared, requested)
    assert whole == (compared, requested)


@pytest.mark.parametrize(("caller", "score"), [("kiosk", None), (None, 0.1)])
def test_who_may_only_identify_does_not_learn_how_near_an_attack_comes(
    caller: str | None, score: float | None
) -> None:
    made = api() if caller else Api()
    made.pipeline.verdict = Liveness(False, 0.1)
    verdict = face(made, caller)["liveness"]
    assert (verdict["live"], verdict["score"]) == (False, score)
    headers = bearer(caller) if caller else {}
    pair = made.post("/verify", json={"image_a": "QUJD", "image_b": "QUJD"}, headers=headers)
    assert pair.json()["image_b"]["liveness"]["score"] == score
