"""What is exported for Prometheus by the real stack: names, labels, values; and the logs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.stack.config import StackSettings
from serving.stack.serve import metrics_port
from serving.stack.triton import ports_of
from tests.service import logs
from tests.support.promql import TARGET_LABELS, queries, read

JPEG = {"content-type": "image/jpeg"}
# Every process tells its metrics every 10 s, and on a busy machine later than that.
LOOK_S = 5
QUIET_S = 25
LONGEST_S = 240
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

# Set only where there are events; tests/service/test_events.py looks at both.
_OF_EVENTS = ("ray_faces_events_problem", "ray_faces_events_lag_seconds")
# The one is there only while stages are called, the other is never twice the same.
_RESTLESS = {"ray_faces_clock_ahead_seconds", "ray_faces_loop_lag_seconds"}

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Pages:
    """The pages that Prometheus reads: Ray's, and Triton's own."""

    def __init__(self, stack: StackSettings) -> None:
        triton = ports_of(stack.triton_port)["Triton's metrics"]
        self._urls = [f"http://127.0.0.1:{p}/metrics" for p in (metrics_port(stack.port), triton)]

    def read(self) -> Series:
        return {
            (name, frozenset(_LABEL.findall(labels))): float(value)
            for url in self._urls
            for name, labels, value in _SAMPLE.findall(httpx.get(url, timeout=30).text)
        }

    def settled(self) -> Series:
        """When what came before has been gathered: nothing new has come for a while."""
        deadline = time.monotonic() + LONGEST_S
        now, since = self.read(), time.monotonic()
        while time.monotonic() < since + QUIET_S:
            assert time.monotonic() < deadline
            time.sleep(LOOK_S)
            before, now = now, self.read()
            if lasting(before) != lasting(now):
                since = time.monotonic()
        return now


def ours_of(series: Series) -> Series:
    return {key: value for key, value in series.items() if key[0].startswith("ray_faces_")}


def lasting(series: Series) -> Series:
    """Ours without the gauges that change at rest."""
    return {key: value for key, value in ours_of(series).items() if key[0] not in _RESTLESS}


def total(series: Series, metric: str, **labels: str) -> float:
    """The sum over all series of the metric that have these labels."""
    wanted = labels.items()
    return sum(
        value for (name, has), value in series.items() if name == metric and wanted <= set(has)
    )


def line_of(stack: StackSettings, stage: str, request_id: str) -> dict[str, Any]:
    """The line that the stage has logged about the request; exactly one, of the ingress one of
    access."""
    logger = logs.ACCESS if stage == "ingress" else ""
    (line,) = logs.wait_for(stack.folder, request_id, f"_{stage}_", logger)
    return line


@pytest.fixture(scope="module")
def pages(stack: StackSettings) -> Pages:
    return Pages(stack)


@pytest.fixture(scope="module")
def portrait(data: Path) -> bytes:
    return (data / "id_is_2576.jpg").read_bytes()


def infer(api: httpx.Client, photo: bytes, **headers: str) -> httpx.Response:
    return api.post("/infer", content=photo, headers={**JPEG, **headers})


@pytest.fixture(scope="module")
def before_and_after(
    api: httpx.Client, pages: Pages, data: Path, portrait: bytes
) -> tuple[Series, Series]:
    """The pages around some requests: an unknown and two known faces, one photo without a face
    and one file that is none, an enrolment with a bad photo, an unknown person, and requests that
    nobody should send."""
    before = pages.settled()
    assert infer(api, portrait).json()["faces"][0]["id"] is None
    enrolled = api.post(
        "/generate",
        data={"id": "2576"},
        files=[
            ("images", (data / "2576" / "photo_01.jpg").read_bytes()),
            ("images", b"no photo"),
        ],
    )
    assert [image["used"] for image in enrolled.json()["images"]] == [True, False]
    for _ in range(2):
        assert infer(api, portrait).json()["faces"][0]["id"] == 2576
    assert infer(api, b"no photo").status_code == 415
    assert api.get("/identities/5").status_code == 404
    assert api.get("/healthz").status_code == 200
    assert api.get("/made/up/path").status_code == 404
    assert api.request("PURGE", "/infer").status_code == 405
    return before, pages.settled()


# Metric and labels -> by how much the requests above raise it.
RAISED: list[tuple[str, Mapping[str, str], int]] = [
    ("ray_faces_request_seconds_count", {"route": "/infer", "status": "200"}, 3),
    ("ray_faces_request_seconds_count", {"route": "/infer", "status": "415"}, 1),
    ("ray_faces_request_seconds_count", {"route": "/generate", "method": "POST"}, 1),
    ("ray_faces_request_seconds_count", {"route": "/identities/{id}", "status": "404"}, 1),
    ("ray_faces_request_seconds_count", {"route": "none", "status": "404", "method": "GET"}, 1),
    ("ray_faces_request_seconds_count", {"route": "/infer", "status": "405", "method": "OTHER"}, 1),
    ("ray_faces_request_seconds_bucket", {"route": "/infer", "status": "200", "le": "+Inf"}, 3),
    ("ray_faces_request_seconds_bucket", {"route": "/infer", "status": "200", "le": "60.0"}, 3),
    ("ray_faces_problems_total", {"type": "unsupported-image", "route": "/infer"}, 1),
    ("ray_faces_problems_total", {"type": "unknown-identity"}, 1),
    ("ray_faces_stage_seconds_count", {"stage": "read"}, 5),
    ("ray_faces_stage_seconds_count", {"stage": "decode"}, 6),
    ("ray_faces_stage_seconds_count", {"stage": "detect"}, 4),
    ("ray_faces_stage_seconds_count", {"stage": "embed"}, 4),
    ("ray_faces_stage_seconds_count", {"stage": "gallery"}, 3),
    ("ray_faces_stage_seconds_count", {"stage": "match"}, 4),
    ("ray_faces_photos_total", {"outcome": "faces"}, 4),
    ("ray_faces_photos_total", {"outcome": "unsupported-image"}, 2),
    ("ray_faces_photo_faces_count", {}, 4),
    ("ray_faces_identified_total", {"outcome": "unknown"}, 1),
    ("ray_faces_identified_total", {"outcome": "known"}, 2),
    ("ray_faces_best_similarity_count", {}, 2),  # before the enrolment there is no candidate
    ("ray_faces_best_similarity_bucket", {"le": "0.5"}, 0),
    ("ray_faces_triton_request_seconds_count", {"call": "infer", "outcome": "ok"}, 4),
    ("ray_faces_triton_batch_bucket", {"le": "1.0"}, 4),
    ("ray_faces_commit_seconds_count", {"outcome": "ok"}, 1),
    ("ray_faces_commit_conflicts_total", {}, 0),
    ("ray_faces_commit_joined_total", {}, 0),
    ("ray_faces_gallery_unconfirmed_total", {}, 0),
    ("ray_faces_audit_records_total", {"outcome": "written"}, 4),
    ("ray_faces_audit_records_total", {"outcome": "lost"}, 0),
    ("nv_inference_count", {}, 4),
]


@pytest.mark.parametrize(("metric", "labels", "by"), RAISED, ids=str)
def test_metrics_count_what_happened(
    before_and_after: tuple[Series, Series], metric: str, labels: Mapping[str, str], by: int
) -> None:
    before, after = before_and_after
    assert any(name == metric for name, _ in after)
    assert total(after, metric, **labels) - total(before, metric, **labels) == by


def test_s3_is_asked_as_often_as_needed(before_and_after: tuple[Series, Series]) -> None:
    before, after = before_and_after

    def asked(**labels: str) -> float:
        metric = "ray_faces_s3_request_seconds_count"
        return total(after, metric, **labels) - total(before, metric, **labels)

    # The segment and the manifest; the ingress puts the audit's objects.
    assert asked(operation="put", outcome="ok", deployment="match") == 2
    assert asked(operation="get", outcome="unchanged") > 0
    assert sum(asked(outcome=bad) for bad in ("error", "unreachable", "unfit")) == 0


def test_the_gallery_that_is_served_is_told(
    api: httpx.Client, before_and_after: tuple[Series, Series]
) -> None:
    _, after = before_and_after
    held = api.get("/readyz").json()["checks"]["gallery"]

    # Of the two matchers the one that answered last: the other one may not have been asked since.
    versions = {
        labels: version
        for (name, labels), version in after.items()
        if name == "ray_faces_gallery_version" and ("collection", "default") in labels
    }
    newest = max(versions, key=lambda labels: versions[labels])

    def told(what: str) -> float:
        return after[f"ray_faces_gallery_{what}", newest]

    assert told("version") == held["version"]
    assert told("problem") == 0
    assert told("people") == told("photos") == 1
    # A centroid and its signs, and what is known of the person.
    assert told("bytes") > 512 * 2 + 512 / 8
    assert told("confirmed_timestamp_seconds") == pytest.approx(time.time(), abs=300)


@pytest.fixture(scope="module")
def exposed(before_and_after: tuple[Series, Series]) -> dict[str, set[str]]:
    """Every metric and its labels."""
    found = {name: set(TARGET_LABELS) for name in _OF_EVENTS}
    for name, labels in before_and_after[1]:
        found.setdefault(name, set(TARGET_LABELS)).update(label for label, _ in labels)
    return found


@pytest.mark.parametrize("expression", [pytest.param(e, id=where) for where, e in queries()])
def test_dashboard_and_alerts_ask_for_what_there_is(
    exposed: dict[str, set[str]], expression: str
) -> None:
    reads = read(expression)
    assert reads.selectors
    if all(selector.metric.startswith("kube_") for selector in reads.selectors):
        pytest.skip("of kube-state-metrics, which only a cluster has")
    for selector in reads.selectors:
        assert selector.metric in exposed
        assert selector.matchers.keys() <= exposed[selector.metric]
        if len(reads.selectors) == 1:
            assert reads.grouped <= exposed[selector.metric]
    assert reads.grouped <= set.union(*(exposed[s.metric] for s in reads.selectors))


def test_no_label_takes_what_a_caller_makes_up(before_and_after: tuple[Series, Series]) -> None:
    ours = ours_of(before_and_after[1])
    assert ours
    assert not [labels for _, labels in ours if "made" in str(labels) or "PURGE" in str(labels)]


def test_writes_that_race_are_joined_or_begin_anew(
    stack: StackSettings,
    pages: Pages,
    before_and_after: tuple[Series, Series],
) -> None:
    _, before = before_and_after  # nobody has written since
    wanted = 24

    def write(number: int) -> None:
        with httpx.Client(base_url=stack.url, timeout=60) as client:
            client.patch("/identities/2576", json={"name": f"Ada {number}"}).raise_for_status()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(wanted)))
    after = pages.settled()

    def by(metric: str) -> float:
        return total(after, metric) - total(before, metric)

    assert by("ray_faces_commit_seconds_count") + by("ray_faces_commit_joined_total") == wanted
    assert by("ray_faces_commit_joined_total") + by("ray_faces_commit_conflicts_total") > 0


class TestLogs:
    def test_a_request_is_one_line(
        self, api: httpx.Client, stack: StackSettings, portrait: bytes
    ) -> None:
        answer = infer(api, portrait, **{"x-request-id": "one-line:1"})
        assert answer.headers.get_list("x-request-id") == ["one-line:1"]
        line = line_of(stack, "ingress", "one-line:1")
        told = {k: line[k] for k in ("levelname", "name", "method", "route", "status", "faces")}
        assert told == {
            "levelname": "INFO",
            "name": "serving.access",
            "method": "POST",
            "route": "/infer",
            "status": 200,
            "faces": 1,
        }
        assert line["request_bytes"] == len(portrait)
        assert line["response_bytes"] == len(answer.content)
        assert 0 < line["ms"] < 60_000
        assert "trace_id" not in line

    @pytest.mark.parametrize(
        ("stage", "ask", "kind"),
        [
            ("decode", lambda api, id_: infer(api, b"x", **id_), "unsupported-image"),
            (
                "match",
                lambda api, id_: api.delete("/identities/5", headers=id_),
                "unknown-identity",
            ),
        ],
    )
    def test_a_failure_has_the_same_id_everywhere(
        self,
        api: httpx.Client,
        stack: StackSettings,
        stage: str,
        ask: Callable[[httpx.Client, dict[str, str]], httpx.Response],
        kind: str,
    ) -> None:
        request_id = f"failure/{stage}/{time.time_ns()}"
        answer = ask(api, {"x-request-id": request_id})
        assert answer.json()["request_id"] == request_id
        assert answer.headers.get_list("x-request-id") == [request_id]
        assert line_of(stack, "ingress", request_id)["problem"] == kind
        line = line_of(stack, stage, request_id)
        assert line["message"] == f"{kind}: {answer.json()['detail']}"
        assert line["levelname"] == "INFO"  # it is the caller's mistake, and no traceback helps
        assert "exc_text" not in line

    @pytest.mark.parametrize(
        "sent", [[b"\xff\xfe"], [b"a b"], [b"x" * 129], [b"one", b"two"], [b'"'], [b""]], ids=repr
    )
    def test_an_id_that_is_none_is_replaced(self, api: httpx.Client, sent: list[bytes]) -> None:
        headers = [(b"x-request-id", value) for value in sent]
        answer = api.get("/identities/5", headers=headers)
        assert answer.status_code == 404
        (told,) = answer.headers.get_list("x-request-id")
        assert told == answer.json()["request_id"]
        assert told.encode() not in sent
        assert len(told) == 36

    def test_names_and_pictures_are_not_logged(
        self, api: httpx.Client, stack: StackSettings, portrait: bytes
    ) -> None:
        name = "Wilhelmina Zugspitze"
        request = {
            "params": {"id": 77, "name": name},
            "headers": {**JPEG, "x-request-id": "secret"},
        }
        api.post("/generate", content=portrait, **request).raise_for_status()  # type: ignore[arg-type]
        line = line_of(stack, "ingress", "secret")
        assert (line["photos"], line["used"]) == (1, 1)
        for file in (stack.folder / "logs").rglob("*.log"):
            assert name not in file.read_text(errors="replace"), file.name
