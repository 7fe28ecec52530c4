"""What is recorded, and under which labels. That it is exported is tested on a real stack."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.serve import metrics

from serving.gallery import Gallery
from serving.gallery.location import Location
from serving.matching.records import Candidate
from serving.settings import KeySettings
from serving.telemetry.metrics import ApiMetrics, GalleryGauges, KeyGauge, LoopGauge, StoreMetrics
from serving.valid_keys import Keys
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, LOCATION, MODEL, put

Records = list[tuple[str, float, dict[str, str]]]


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Records:
    """Name, value and labels of all that is recorded."""
    told: Records = []

    def record(self: Any, value: float, tags: dict[str, str] | None = None) -> None:
        tags = tags or {}
        assert set(tags) == set(self._tag_keys)
        told.append((self._name, value, tags))

    for kind in (metrics.Counter, metrics.Gauge, metrics.Histogram):
        monkeypatch.setattr(kind, "_record", record)
    return told


def of(records: Records, name: str) -> list[tuple[float, dict[str, str]]]:
    return [(value, tags) for found, value, tags in records if found == name]


WHERE = LOCATION
TAGS = {"collection": "default", "model": MODEL}


def candidate(similarity: float) -> Candidate:
    return Candidate(1, None, similarity)


def test_counters_that_alerts_divide_by_begin_at_zero(records: Records) -> None:
    ApiMetrics(), StoreMetrics(), GalleryGauges()
    assert of(records, "faces_identified") == [
        (0, {"outcome": "known"}),
        (0, {"outcome": "unknown"}),
        (0, {"outcome": "ambiguous"}),
        (0, {"outcome": "poor"}),
        (0, {"outcome": "not-live"}),
    ]
    assert of(records, "faces_ambiguous") == [(0, {"collection": "default"})]
    for name in ("faces_commit_conflicts", "faces_commit_joined", "faces_gallery_unconfirmed"):
        assert of(records, name) == [(0, {})]


def test_faces_are_counted_known_or_unknown_with_the_best_similarity(records: Records) -> None:
    api = ApiMetrics()
    records.clear()
    best = candidate(0.8)
    of_faces = [[best, candidate(0.7)], [candidate(-0.2)], [], [], [best]]
    api.identified(of_faces, [best, *[None] * 4], 1, 1, 1)
    assert of(records, "faces_identified") == [
        (1, {"outcome": "known"}),
        (1, {"outcome": "unknown"}),
        (1, {"outcome": "ambiguous"}),
        (1, {"outcome": "poor"}),
        (1, {"outcome": "not-live"}),
    ]
    assert of(records, "faces_best_similarity") == [(0.8, {}), (0.0, {}), (0.8, {})]
    records.clear()
    api.identified([], [], 0, 0)
    api.ambiguous("made-up", 0)
    assert not records
    api.ambiguous("shop", 2)
    assert of(records, "faces_ambiguous") == [(2, {"collection": "shop"})]


def test_a_method_that_was_made_up_is_no_label(records: Records) -> None:
    api = ApiMetrics()
    records.clear()
    api.answered("BREW", "/infer", 405, 0.5, "method-not-allowed")
    labels = {"method": "OTHER", "route": "/infer", "status": "405"}
    assert of(records, "faces_request_seconds") == [(0.5, labels)]
    assert of(records, "faces_problems") == [(1, {"route": "/infer", "type": "method-not-allowed"})]


def test_of_a_photo_that_is_none_no_faces_are_counted(records: Records) -> None:
    api = ApiMetrics()
    records.clear()
    for outcome, faces in (("faces", 3), ("no-face", 0), ("unsupported-image", 0)):
        api.seen(outcome, faces)
    assert [tags["outcome"] for _, tags in of(records, "faces_photos")] == [
        "faces",
        "no-face",
        "unsupported-image",
    ]
    assert of(records, "faces_photo_faces") == [(3, {}), (0, {})]


def test_a_question_to_triton_without_faces_is_no_batch(records: Records) -> None:
    api = ApiMetrics()
    records.clear()
    api.asked_triton("ready", "ok", 0.1, 0)
    api.asked_triton("infer", "timeout", 10, 32)
    assert of(records, "faces_triton_request_seconds") == [
        (0.1, {"call": "ready", "outcome": "ok"}),
        (10, {"call": "infer", "outcome": "timeout"}),
    ]
    assert of(records, "faces_triton_batch") == [(32, {})]


def test_who_joined_a_commit_is_counted_without_the_first(records: Records) -> None:
    store = StoreMetrics()
    records.clear()
    store.committed("ok", 1, 0.1)
    store.committed("conflict", 4, 2.0)
    assert of(records, "faces_commit_joined") == [(3, {})]
    assert [tags for _, tags in of(records, "faces_commit_seconds")] == [
        {"outcome": "ok"},
        {"outcome": "conflict"},
    ]


class TestGallery:
    @pytest.fixture
    def gallery(self) -> Gallery:
        gallery = Gallery(MemoryStore(), "galleries", LOCATION)
        gallery.commit([put(1), put(2, photos=3)])
        gallery.refresh()
        return gallery

    def test_what_is_held_is_told_once_a_version(self, records: Records, gallery: Gallery) -> None:
        gauges = GalleryGauges()
        records.clear()
        for _ in range(2):
            gauges.show(WHERE, gallery.snapshot, None)
        tags = TAGS
        assert of(records, "faces_gallery_version") == [(1, tags)]
        assert of(records, "faces_gallery_people") == [(2, tags)]
        assert of(records, "faces_gallery_photos") == [(4, tags)]
        ((size, _),) = of(records, "faces_gallery_bytes")
        assert size > 2 * DIMENSION * np.float16().nbytes
        assert of(records, "faces_gallery_disk_bytes") == [(0, tags)]
        assert len(of(records, "faces_gallery_confirmed_timestamp_seconds")) == 2

    def test_gauges_are_set_again_and_again(self, records: Records, gallery: Gallery) -> None:
        # Ray drops a gauge that is set only when something happens.
        gauges = GalleryGauges()
        gauges.show(WHERE, gallery.snapshot, None)
        first = [record for record in records if record[2] == TAGS]
        assert len(first) == 7

        records.clear()
        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(asyncio.wait_for(gauges.keep(every_s=0.001), 0.2))
        assert sorted(records[:7]) == sorted(records[7:14]) == sorted(first)

    def test_with_a_problem_it_is_not_confirmed(self, records: Records, gallery: Gallery) -> None:
        gauges = GalleryGauges()
        records.clear()
        gauges.show(WHERE, gallery.snapshot, "An object is damaged.")
        gauges.unopened(Location("other", MODEL, DIMENSION))
        assert of(records, "faces_gallery_problem") == [
            (1, TAGS),
            (1, {**TAGS, "collection": "other"}),
        ]
        assert not of(records, "faces_gallery_confirmed_timestamp_seconds")


def test_a_problem_of_the_keys_is_shown_while_nobody_sends_one(
    records: Records, tmp_path: Path
) -> None:
    file, now = tmp_path / "keys.yaml", 0.0
    file.write_text("keys: []")
    keys = Keys(KeySettings(required=True, file=str(file)), clock=lambda: now)

    async def shown() -> set[float]:
        records.clear()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(KeyGauge().follow(keys, every_s=0.001), 0.1)
        values = of(records, "faces_keys_problem")
        assert len(values) > 2
        return {value for value, _ in values}

    assert asyncio.run(shown()) == {0}
    for broken in ("keys: [a]", "keys: ["):
        file.write_text(broken)
        now += 2
        assert asyncio.run(shown()) == {1}
    file.write_text("keys: []")
    now += 2
    assert asyncio.run(shown()) == {0}


def test_where_no_keys_are_needed_nothing_is_wrong_with_them(records: Records) -> None:
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(KeyGauge().follow(None), 0.05))
    assert of(records, "faces_keys_problem") == [(0, {})]


def test_a_blocked_event_loop_shows_in_this_and_the_next_look(records: Records) -> None:
    async def block() -> None:
        keeping = asyncio.create_task(LoopGauge().keep(every_s=0.2, step_s=0.01))
        await asyncio.sleep(0.05)
        time.sleep(0.6)  # noqa: ASYNC251
        await asyncio.sleep(1)
        keeping.cancel()

    asyncio.run(block())
    values = [value for value, _ in of(records, "faces_loop_lag_seconds")]
    assert min(values[:2]) > 0.5
    assert values[3] < 0.5
