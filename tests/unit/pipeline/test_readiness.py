"""Readiness: what it reports of stages, Triton and gallery, and what it asks for that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving.errors import Overloaded, Unavailable
from serving.matching.records import GalleryStatus
from serving.pipeline.readiness import Readiness, what_is_missing
from tests.support.local_pipeline import Stages, run
from tests.support.pipeline import FakeEmbedder
from tests.support.stages import ALIGNED


class LocalReadiness(Readiness):
    """Over stages and a Triton that are made up."""

    def __init__(self, starting_s: float = 5, detector: str = "mtcnn") -> None:
        self.stages = Stages()
        self.embedder = FakeEmbedder()
        super().__init__(
            self.stages,
            self.stages,
            self.stages,
            self.embedder,
            "default",
            detector=detector,
            starting_s=starting_s,
        )


@pytest.fixture
def readiness() -> LocalReadiness:
    return LocalReadiness()


class TestReadiness:
    def test_all_is_well(self, readiness: LocalReadiness) -> None:
        expected = {"stages": "ok", "triton": "ok", "gallery": readiness.stages.known}
        assert run(readiness.checks()) == expected

    def test_a_stage_that_has_not_come_up_yet(self) -> None:
        readiness = LocalReadiness(starting_s=0.01)
        readiness.stages.starting = True
        assert run(readiness.checks())["stages"] == "A stage is still starting."

    def test_stages_that_have_come_up_are_not_asked_again(self, readiness: LocalReadiness) -> None:
        for _ in range(3):
            assert run(readiness.checks())["stages"] == "ok"
        assert readiness.stages.asked == ["ready", "ready"]

    def test_however_many_ask_it_is_looked_twice_at_most(
        self, readiness: LocalReadiness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = []

        async def ready() -> bool:
            looks.append(1)
            await asyncio.sleep(0.01)
            return True

        monkeypatch.setattr(readiness.embedder, "ready", ready)

        async def crowd() -> list[dict[str, Any]]:
            first = asyncio.ensure_future(readiness.checks())
            await asyncio.sleep(0.005)  # it has begun
            return await asyncio.gather(first, *(readiness.checks() for _ in range(50)))

        assert [checks["triton"] for checks in run(crowd())] == ["ok"] * 51
        assert len(looks) == 2

    def test_a_triton_that_unloaded_the_model(self, readiness: LocalReadiness) -> None:
        readiness.embedder.is_ready = False
        assert run(readiness.checks())["triton"] != "ok"

    def test_triton_is_away(self, readiness: LocalReadiness) -> None:
        readiness.embedder.failure = Unavailable("Triton cannot be reached.")
        assert run(readiness.checks())["triton"] == "Triton cannot be reached."

    def test_a_model_with_crops_of_another_detector(self) -> None:
        readiness = LocalReadiness(detector="yunet")
        assert "detect.model is yunet" in str(run(readiness.checks())["triton"])
        readiness.embedder.card = ALIGNED
        assert run(readiness.checks())["triton"] == "ok"

    def test_no_matcher_is_there(self, readiness: LocalReadiness) -> None:
        readiness.stages.known = Overloaded("Too many requests wait for match.")
        checks = run(readiness.checks())
        assert (checks["triton"], checks["gallery"]) == ("ok", "Too many requests wait for match.")


LOADED = GalleryStatus(True, 3, 1, 1, None)


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({}, None),
        ({"stages": "A stage is still starting."}, "A stage is still starting."),
        ({"triton": "Triton does not serve the model."}, "Triton does not serve the model."),
        ({"gallery": "The store is away."}, "The store is away."),
        ({"gallery": GalleryStatus(False, 0, 0, 0, "The store is away.")}, "The store is away."),
        ({"gallery": GalleryStatus(False, 0, 0, 0, None)}, "The gallery is not loaded yet."),
        ({"gallery": GalleryStatus(True, 3, 1, 1, "Damaged.")}, None),
        ({"stages": "one", "triton": "two"}, "one"),
    ],
)
def test_what_is_missing(changed: dict[str, str | GalleryStatus], missing: str | None) -> None:
    checks: dict[str, str | GalleryStatus] = {"stages": "ok", "triton": "ok", "gallery": LOADED}
    assert what_is_missing(checks | changed) == missing
