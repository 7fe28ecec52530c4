"""Made-up requests of the service's own description: with keys and without, as described and not.

No answer may be a 500, or one that the description lacks. tests/service/test_openapi.py asks the
real service; here there is time for more of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from serving.errors import UnknownIdentity
from serving.gallery import Person
from serving.gallery.duplicates import Pair
from serving.gallery.erasure import Erasure
from serving.gallery.records import Photo
from serving.keys import hash_of
from serving.matching.corrections import PhotosOf, Undone
from serving.matching.records import DuplicatesPage, PeoplePage
from serving.settings import KeySettings
from serving.valid_keys import Keys
from tests.support import fuzzing
from tests.support.api import Api

KEY = "faces_made-up"
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
ADA = Person(
    7,
    2,
    "Ada",
    {"desk": "4th floor"},
    0.0,
    0.0,
    expires_at="2099-01-31T00:00:00Z",
    legal_basis={"kind": "contract"},
)


class People:
    """Answers in the place of a register's: everybody up to 100 is enrolled."""

    async def page(
        self, collection: str, limit: int, after: int, ending: float | None = None
    ) -> PeoplePage:
        return PeoplePage([ADA] if after < ADA.id else [], 1, 17)

    async def person(self, collection: str, person: int, at_least: Any) -> tuple[Person, int]:
        if person > 100:
            raise UnknownIdentity(f"Nobody is enrolled under the id {person}.")
        return ADA, 17

    async def duplicates(self, *asked: Any) -> DuplicatesPage:
        return DuplicatesPage([Pair(ADA, ADA, 0.9)], 1, None, 0.63, 1, 17)

    async def photos(self, *asked: Any) -> PhotosOf:
        return PhotosOf([Photo("0123456789abcdef", 0.5)], 17)

    async def undone(self, *asked: Any) -> Undone:
        return Undone([7], 17, 18)

    async def version(self, *asked: Any, **how: Any) -> int:
        return 18

    async def erase(self, *asked: Any) -> Erasure:
        return Erasure([])

    async def collections(self) -> dict[str, list[str]]:
        return {"default": ["model@0123456789ab"]}


def made(keys: bool) -> Api:
    entry = f"keys: [{{name: k, hash: '{hash_of(KEY)}', scopes: [admin]}}]"
    known = Keys(KeySettings(required=True), {"FACES_KEYS": entry}.get) if keys else None
    api, people = Api(keys=known), People()
    for name in ("page", "person", "duplicates", "photos", "erase", "collections"):
        setattr(api.register, name, getattr(people, name))
    setattr(api.register, "withdraw", people.erase)  # noqa: B010 - as the others
    for name in ("unmerge", "undo"):
        setattr(api.register, name, people.undone)
    for name in ("describe", "delete", "delete_all", "merge", "move", "distinct", "same", "add"):
        setattr(api.register, name, people.version)
    return api


APPS = {
    "open": schemathesis.openapi.from_asgi("/openapi.json", made(keys=False).app),
    "keys": schemathesis.openapi.from_asgi("/openapi.json", made(keys=True).app),
}
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def cases() -> Iterator[Any]:
    for kind, schema in APPS.items():
        for mode in MODES if kind == "open" else MODES[:1]:
            for found in schema.get_all_operations():
                operation: Any = found.ok()  # type: ignore[union-attr]
                if operation.path.endswith("/stream"):  # it knows no NDJSON
                    continue
                # Where nothing can be given, nothing can be given wrongly.
                if mode is GenerationMode.POSITIVE or operation.query or operation.body:
                    yield pytest.param(kind, mode, operation, id=f"{kind}-{mode}-{operation.label}")


@pytest.mark.fuzz
@pytest.mark.parametrize(("kind", "mode", "operation"), list(cases()))
@settings(
    max_examples=fuzzing.examples(2),
    derandomize=fuzzing.TIMES <= 1,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_whatever_is_sent_is_answered_as_described(
    kind: str, mode: GenerationMode, operation: Any, data: st.DataObject
) -> None:
    case = data.draw(operation.as_strategy(generation_mode=mode))
    case.headers = {"X-Request-ID": "made-up"}
    keys = st.sampled_from([None, KEY, "wrong"] if kind == "keys" else [None])
    if (key := data.draw(keys)) is not None:
        case.headers["X-API-Key"] = key
    answer = case.call()
    case.validate_response(answer, checks=CHECKS)
    if kind == "keys" and key != KEY and "security" in operation.definition.raw:
        assert answer.status_code == 401
