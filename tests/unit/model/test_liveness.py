"""The client of a liveness model: its contract, and that nothing odd counts as live.

The scores of a real model in a real tritonserver are tested with the one-machine stack.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from serving.errors import Unavailable
from serving.model.liveness import Liveness, LivenessModel, all_live
from serving.settings import TritonSettings
from tests.support.liveness import LivenessTriton, by_value, metadata, model, settings


def crops(*values: int, size: tuple[int, int] = (8, 6)) -> NDArray[np.uint8]:
    """Crops that are full of these numbers."""
    made = np.zeros((len(values), 3, *size), np.uint8)
    return made + np.array(values, np.uint8)[:, None, None, None]


def judged(triton: LivenessTriton, faces: NDArray[np.uint8], **more: Any) -> list[bool]:
    return [each.live for each in asyncio.run(model(triton, **more).judge(faces))]


def fails(triton: LivenessTriton, match: str, **more: Any) -> None:
    with pytest.raises(Unavailable, match=match):
        judged(triton, crops(1), **more)


def answers(*rows: Any, dtype: Any = np.float32) -> LivenessTriton:
    return LivenessTriton(lambda _: np.array(rows, dtype))


class TestVerdicts:
    def test_each_face_has_its_own(self) -> None:
        assert judged(LivenessTriton(by_value(5, 9)), crops(1, 5, 7, 9)) == [
            True,
            False,
            True,
            False,
        ]

    def test_the_score_is_the_probability_of_live(self) -> None:
        (verdict,) = asyncio.run(model(LivenessTriton()).judge(crops(1)))
        assert verdict.score == pytest.approx(1 / (1 + np.exp(-3)))

    @pytest.mark.parametrize(("threshold", "live"), [(0.8, True), (0.81, False)])
    def test_the_threshold_itself_is_live(self, threshold: float, live: bool) -> None:
        triton = answers([0.2, 0.8], dtype=np.float64)
        assert judged(triton, crops(1), activation="none", threshold=threshold) == [live]

    @pytest.mark.parametrize(
        ("row", "more", "score"),
        [
            ([0.9, 0.1], {"activation": "none", "index": 0}, 0.9),
            ([0.9, 0.1], {"activation": "none", "index": 0, "index_is": "attack"}, 0.1),
            ([0.0], {"activation": "sigmoid", "index": 0}, 0.5),
            ([0.0, 0.0, np.log(2)], {"index": 2}, 0.5),
        ],
    )
    def test_what_the_place_in_the_output_means(
        self, row: list[float], more: dict[str, Any], score: float
    ) -> None:
        (verdict,) = asyncio.run(model(answers(row), **more).judge(crops(1)))
        assert verdict.score == pytest.approx(score, abs=1e-6)

    def test_one_probability_a_face_without_a_second_dimension(self) -> None:
        triton = answers(0.9, 0.2)
        assert judged(triton, crops(1, 2), activation="none", index=0) == [True, False]

    def test_no_face_asks_for_nothing(self) -> None:
        triton = LivenessTriton()
        assert judged(triton, crops()) == []
        assert triton.asked == ["metadata"]


class TestInput:
    def test_pixels_are_shifted_and_scaled_by_channel_in_the_order_of_the_model(self) -> None:
        face = crops(0)
        face[0, 0], face[0, 1], face[0, 2] = 10, 20, 30
        triton = LivenessTriton()
        judged(triton, face, channels="BGR", mean=[30, 0, 0], std=[1, 10, 2])
        assert triton.seen[0][0, :, 0, 0].tolist() == [0.0, 2.0, 5.0]

    def test_bytes_are_sent_as_they_are(self) -> None:
        triton = LivenessTriton(lambda c: np.array([[0, 9]], np.float32), datatype="UINT8")
        judged(triton, crops(77), mean=[0, 0, 0], std=[1, 1, 1])
        assert triton.seen[0].dtype == np.uint8
        assert triton.seen[0].min() == 77

    def test_channels_may_come_last(self) -> None:
        triton = LivenessTriton(shape=(-1, 8, 6, 3))
        assert asyncio.run(model(triton).size()) == (8, 6)
        judged(triton, crops(1))
        assert triton.seen[0].shape == (1, 8, 6, 3)

    @pytest.mark.parametrize(("count", "sent"), [(-1, [4, 4, 1]), (1, [1] * 9)])
    def test_many_faces_are_sent_in_parts(self, count: int, sent: list[int]) -> None:
        triton = LivenessTriton(by_value(3), shape=(count, 3, 8, 6))
        live = judged(triton, crops(*range(9)), batch=4)
        assert sorted(len(part) for part in triton.seen) == sorted(sent)
        assert live == [n != 3 for n in range(9)]
        assert triton.most_at_once <= 2

    def test_a_photo_with_few_faces_does_not_wait_for_crowds(self) -> None:
        triton = LivenessTriton()

        async def both() -> None:
            client = model(triton, batch=4)
            await client.size()
            crowds = [client.judge(crops(*range(80))) for _ in range(2)]
            await asyncio.gather(*crowds, client.judge(crops(1)))

        asyncio.run(both())
        # Two parts of crowds, and the one.
        assert triton.most_at_once == 3

    def test_the_output_is_the_one_that_the_settings_name(self) -> None:
        triton = LivenessTriton(outputs=("features", "scores"))
        judged(triton, crops(1), output="scores")
        assert triton.outputs == ["scores"]


class TestFailsClosed:
    @pytest.mark.parametrize(
        ("row", "more"),
        [
            ([np.nan, 1.0], {}),
            ([np.inf, 1.0], {}),
            ([1.2, 1.2], {"activation": "none"}),
            ([-0.2, -0.2], {"activation": "none"}),
            ([0.5], {"index": 0}),  # the softmax of one value is always 1
            ([0.5, 0.5], {"index": 2}),
        ],
    )
    def test_an_answer_that_is_no_probability(self, row: list[float], more: Any) -> None:
        fails(answers(row), "no probability for each face", **more)

    @pytest.mark.parametrize(
        "output",
        [
            None,
            np.zeros((2, 2), np.float32),
            np.zeros((0, 2), np.float32),
            np.zeros((1, 2, 1, 1), np.float32),
            np.ones((1, 2), np.int64),
            np.array([[b"live", b"live"]], np.object_),
            np.float32(1),
        ],
    )
    def test_an_answer_of_another_shape_or_type(self, output: Any) -> None:
        fails(LivenessTriton(lambda _: output), "no probability for each face")

    @pytest.mark.parametrize(
        ("about", "more", "match"),
        [
            ({"datatype": "INT8"}, {}, "INT8"),
            ({"shape": (-1, 3, 8)}, {}, "neither"),
            ({"shape": (4, 3, 8, 6)}, {}, "neither"),
            ({"shape": (-1, 1, 8, 6)}, {}, "neither"),
            ({"shape": (-1, 3, -1, -1)}, {}, "sides"),
            ({"shape": (-1, 3, 4096, 4096)}, {}, "sides"),
            ({"outputs": ("a", "b")}, {}, "set liveness.output"),
            ({"outputs": ()}, {}, "set liveness.output"),
            ({}, {"output": "scores"}, "no output 'scores'"),
            ({"datatype": "UINT8"}, {}, "liveness.mean has to be"),
        ],
    )
    def test_a_model_that_is_not_as_the_contract_wants_it(
        self, about: dict[str, Any], more: dict[str, Any], match: str
    ) -> None:
        fails(LivenessTriton(**about), match, **more)

    @pytest.mark.parametrize(
        "told", [{}, {"inputs": []}, {"inputs": [{}]}, metadata() | {"outputs": None}, []]
    )
    def test_metadata_that_cannot_be_read(self, told: Any) -> None:
        triton = LivenessTriton()
        triton.metadata = told
        fails(triton, "cannot be read")

    def test_a_model_that_is_away(self) -> None:
        triton = LivenessTriton()
        triton.failure = InferenceServerException("no such model")
        fails(triton, "refuses the model 'spoof': no such model")

    def test_after_a_failure_the_metadata_is_asked_for_again(self) -> None:
        triton = LivenessTriton()
        served = model(triton)

        async def work() -> None:
            await served.judge(crops(1))
            triton.failure = InferenceServerException("unloaded")
            with pytest.raises(Unavailable):
                await served.judge(crops(1))
            triton.failure, triton.metadata = None, metadata((-1, 3, 9, 9))
            assert await served.size() == (9, 9)

        asyncio.run(work())

    def test_requests_are_observed(self) -> None:
        told: list[tuple[str, str, int]] = []
        served = LivenessModel(
            settings(),
            TritonSettings(),
            LivenessTriton(),
            lambda call, outcome, seconds, batch: told.append((call, outcome, batch)),
        )
        asyncio.run(served.judge(crops(1, 2)))
        assert told == [("metadata", "ok", 0), ("infer", "ok", 2)]


def test_one_attack_is_enough() -> None:
    live, attack = Liveness(True, 0.9), Liveness(False, 0.1)
    assert all_live([None, live])
    assert all_live([])
    assert not all_live([live, attack])


@pytest.mark.parametrize(
    ("own", "asked"), [(None, "http://faces:80"), ("http://spoof:80", "http://spoof:80")]
)
def test_it_is_asked_where_the_settings_say(own: str | None, asked: str) -> None:
    server = TritonSettings(url="http://faces:80", timeout_s=3)
    made = LivenessModel(settings(url=own), server)._server._settings
    assert (made.url, made.timeout_s) == (asked, 3)
