"""What a request costs."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from serving.errors import UnsupportedImage
from serving.pipeline import units
from serving.pipeline.timings import Timings
from serving.pipeline.units import Meter, metered, units_of
from serving.vision.records import Faces
from tests.support.local_pipeline import LocalPipeline
from tests.support.stages import faces


def of(found: int, pixels: int) -> Faces:
    return dataclasses.replace(faces(), more=found, pixels=pixels)


@pytest.mark.parametrize(
    ("found", "pixels", "cost"),
    [
        (0, 300_000, 1),
        (10, 12_000_000, 1),
        (11, 300_000, 2),
        (1, 12_000_001, 2),
        (100, 49_000_000, 10),
        (1, 49_000_000, 5),
        (0, 250_000_000, 21),
    ],
)
def test_a_photo_costs_by_its_pixels_or_its_faces(found: int, pixels: int, cost: int) -> None:
    assert units_of(of(found, pixels)) == cost


def test_a_request_costs_one_at_least() -> None:
    meter = Meter()
    assert meter.units == 1
    meter.add(1)
    assert meter.units == 1
    meter.add(4)
    assert meter.units == 5


def test_the_photos_of_a_request_are_counted_also_those_that_fail() -> None:
    meter, pipeline = Meter(), LocalPipeline()
    pipeline.stages.failures[b"9"] = UnsupportedImage("No.")
    with metered(meter):
        pipeline.enrolled(b"1", b"25", b"9")
    assert meter.units == 1 + 3 + 1
    assert units.current().units == 1


def test_no_more_photos_of_one_caller_are_worked_on_than_it_may_have() -> None:
    pipeline = LocalPipeline()

    async def enrol() -> None:
        # Two requests of four photos at once each.
        with metered(Meter(asyncio.Semaphore(3))):
            await asyncio.gather(
                *(
                    pipeline.enrol(
                        [b"1"] * 8,
                        collection="shop",
                        person=7,
                        name=None,
                        append=False,
                        force=True,
                        timings=Timings(),
                    )
                    for _ in range(2)
                )
            )

    asyncio.run(enrol())
    assert pipeline.stages.most_at_once == 3
