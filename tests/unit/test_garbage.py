from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from serving import garbage
from serving.stages.calls import call, stage
from serving.stages.refs import Ref
from tests.support.stages import Held, Method


class Circle:
    def __init__(self) -> None:
        self.itself = self


@stage
class Hangs:
    async def hang(self, photo: Ref[int]) -> None:
        self.circle = Circle()
        self.left = weakref.ref(self.circle)
        try:
            await asyncio.sleep(10)
        finally:
            del self.circle


@pytest.fixture(autouse=True)
def _python_does_not_look(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "SECONDS", 0.05)
    gc.disable()
    yield
    gc.enable()


def test_what_a_call_leaves_that_is_given_up_goes_soon() -> None:
    made = Hangs()

    async def give_up() -> list[bool]:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(call(Method("decode", made.hang), Ref((Held(7),), False)), 0.01)
        left = [made.left() is not None]
        await asyncio.sleep(0.1)
        return [*left, made.left() is not None]

    assert asyncio.run(give_up()) == [True, False]


def test_many_are_collected_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(1))

    async def twice() -> None:
        for _ in range(2):
            for _ in range(9):
                garbage.collect_soon()
            await asyncio.sleep(0.1)

    asyncio.run(twice())
    assert len(collected) == 2


def test_what_is_there_at_the_start_is_left_out() -> None:
    before = gc.get_freeze_count()
    try:
        garbage.begin()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
