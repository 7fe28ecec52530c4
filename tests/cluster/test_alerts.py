"""The alerts of the chart, evaluated by Prometheus' own promtool over series that we make up.

Each alert stays quiet while its ``for`` runs, then fires for the namespace that is ill, and never
for the one beside it that is well.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.onenode.home import from_environment
from tests.support.promql import FILES, alerts, queries

RULES = FILES / "alerts.yaml"

# Series without a namespace, in promtool's notation of values: 0+6x90 grows by 6 a minute for 90.
Series = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """What makes an alert fire.

    Args:
        fires_at: minutes from the first sample.
        quiet_at: the last minute at which it must not fire yet; by default a minute before the
            alert's ``for`` could have run.
    """

    alert: str
    ill: Series
    well: Series
    fires_at: int
    quiet_at: int | None = None
    name: str = ""

    def __str__(self) -> str:
        return f"{self.alert}-{self.name}" if self.name else self.alert


def _replicas(deployment: str, *healthy: str) -> Series:
    """A stage that Serve knows, and the health of its replicas."""
    stage = f'application="faces", deployment="{deployment}"'
    return {f"ray_serve_deployment_status{{{stage}}}": "6x400"} | {
        f'ray_serve_deployment_replica_healthy{{{stage}, replica="{n}"}}': values
        for n, values in enumerate(healthy)
    }


def _outcomes(metric: str, label: str, labels: str = "", **rates: str) -> dict[str, str]:
    """A counter by outcome."""
    more = f", {labels}" if labels else ""
    return {f'{metric}{{{label}="{value}"{more}}}': rate for value, rate in rates.items()}


def _latency(fast: int, slow: int) -> Series:
    """Requests a minute that end within 0.5 s, and that take up to 5 s."""
    metric = 'ray_faces_request_seconds_bucket{route="/infer", le='
    counts = {"0.5": fast, "5": fast + slow, "+Inf": fast + slow}
    return {f'{metric}"{le}"}}': f"0+{count}x60" for le, count in counts.items()}


_KEPT = "ray_spill_manager_objects"
_JOB = 'job_name="faces-maintenance-29"'
_CRON = 'cronjob="faces-maintenance"'
_SUCCEEDED = f"kube_cronjob_status_last_successful_time{{{_CRON}}}"
_SUSPENDED = f"kube_cronjob_spec_suspend{{{_CRON}}}"
_FACES = "ray_faces_identified_total"

CASES: Sequence[Case] = (
    Case("FacesNoReplicas", _replicas("detect", "0x20"), _replicas("detect", "0x20", "1x20"), 5),
    Case("FacesNoReplicas", _replicas("match"), _replicas("match", "1x20"), 5, name="none told"),
    Case(
        "FacesUnhealthy",
        {'ray_serve_deployment_status{deployment="detect", application="faces"}': "3x30"},
        {'ray_serve_deployment_status{deployment="detect", application="faces"}': "6x30"},
        12,
    ),
    Case(
        "FacesAutoscalerGone",
        {
            "kube_pod_container_status_terminated"
            '{container="autoscaler", pod="faces-x7k2p-head-bq4vn"}': "1x20"
        },
        {
            "kube_pod_container_status_terminated"
            '{container="autoscaler", pod="faces-x7k2p-head-bq4vn"}': "0x20",
            "kube_pod_container_status_terminated"
            '{container="wait-gcs-ready", pod="faces-x7k2p-detect-worker-bq4vn"}': "1x20",
        },
        6,
    ),
    Case(
        "FacesErrors",
        {
            'ray_faces_request_seconds_count{status="200", route="/infer"}': "0+90x30",
            'ray_faces_request_seconds_count{status="503", route="/infer"}': "0+10x30",
        },
        {
            'ray_faces_request_seconds_count{status="200", route="/infer"}': "0+97x30",
            'ray_faces_request_seconds_count{status="500", route="/infer"}': "0+3x30",
            'ray_faces_request_seconds_count{status="503", route="/readyz"}': "0+60x30",
        },
        8,
    ),
    Case("FacesSlow", _latency(fast=90, slow=10), _latency(fast=99, slow=1), 13),
    Case(
        "FacesLoopBlocked",
        {'ray_faces_loop_lag_seconds{replica="a"}': "0.7x20"},
        {'ray_faces_loop_lag_seconds{replica="a"}': "0.7 0.7 0.1x20"},
        4,
    ),
    Case(
        "FacesShedding",
        {'ray_faces_problems_total{type="overloaded"}': "0+1x30"},
        {
            'ray_faces_problems_total{type="overloaded"}': "5x30",
            'ray_faces_problems_total{type="unsupported-image"}': "0+9x30",
        },
        13,
    ),
    Case(
        "FacesQueueing",
        {
            'ray_serve_deployment_queued_queries{deployment="detect", replica="a"}': "9x30",
            'ray_serve_deployment_queued_queries{deployment="detect", replica="b"}': "8x30",
        },
        {
            'ray_serve_deployment_queued_queries{deployment="detect"}': "16x30",
            'ray_serve_deployment_queued_queries{deployment="match"}': "16x30",
        },
        12,
    ),
    Case(
        "FacesPhotosKept",
        {f'{_KEPT}{{State="Spilled"}}': "1x20"},
        {f'{_KEPT}{{State="Pinned"}}': "40x20", f'{_KEPT}{{State="Spilled"}}': "0x20"},
        6,
        name="on the disk",
    ),
    Case(
        "FacesPhotosKept",
        {"ray_object_store_fallback_memory": "4096x40"},
        {"ray_object_store_fallback_memory": "4096 4096 0 0 4096 0x40"},
        21,
        name="beside a full store",
    ),
    Case(
        "FacesPhotosKept",
        {f'{_KEPT}{{State="Pinned", instance="10.0.0.1"}}': "150x90"},
        {
            f'{_KEPT}{{State="Pinned", instance="10.0.0.1"}}': "60x90",
            f'{_KEPT}{{State="Pinned", instance="10.0.0.2"}}': "60x90",
        },
        70,
        name="for an hour",
    ),
    Case(
        "FacesGalleryProblem",
        {'ray_faces_gallery_problem{model="facenet", replica="a"}': "1x20"},
        {'ray_faces_gallery_problem{model="facenet", replica="a"}': "0x20"},
        6,
    ),
    Case(
        "FacesKeysProblem",
        {"ray_faces_keys_problem": "2x20"},
        {"ray_faces_keys_problem": "0x20"},
        3,
    ),
    Case(
        "FacesAuditProblem",
        {'ray_faces_audit_problem{replica="a"}': "1 0 1 0 1 0 1 0 1 0"},
        {'ray_faces_audit_problem{replica="a"}': "1 0x20"},
        5,
    ),
    Case(
        "FacesAuditLost",
        _outcomes("ray_faces_audit_records_total", "outcome", lost="0x9 3x20", kept="0+9x30"),
        _outcomes("ray_faces_audit_records_total", "outcome", lost="3x30", kept="0+9x30"),
        11,
        quiet_at=9,
    ),
    Case(
        "FacesEventsProblem",
        {
            'ray_faces_events_problem{replica="a"}': "1x30",
            'ray_faces_events_problem{replica="b"}': "0x30",
        },
        {'ray_faces_events_problem{replica="a"}': "1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0"},
        15,
    ),
    Case(
        "FacesEventsLost",
        _outcomes("ray_faces_events_total", "outcome", dead="0x9 3x20", delivered="0+9x30"),
        _outcomes("ray_faces_events_total", "outcome", dead="3x30", delivered="0+9x30"),
        11,
        quiet_at=9,
    ),
    Case(
        "FacesGalleryStale",
        {"ray_faces_gallery_unconfirmed_total": "0+2x30"},
        {"ray_faces_gallery_unconfirmed_total": "7x30"},
        13,
    ),
    Case(
        "FacesTritonErrors",
        _outcomes(
            "ray_faces_triton_request_seconds_count",
            "outcome",
            'call="infer"',
            ok="0+90x30",
            timeout="0+10x30",
        ),
        _outcomes(
            "ray_faces_triton_request_seconds_count",
            "outcome",
            'call="infer"',
            ok="0+97x30",
            timeout="0+3x30",
        )
        | {
            'ray_faces_triton_request_seconds_count{call="ready", outcome="unreachable"}': "0+50x30"
        },
        8,
    ),
    Case(
        "FacesS3Errors",
        _outcomes("ray_faces_s3_request_seconds_count", "outcome", ok="0+9x30", unfit="0+1x30"),
        _outcomes("ray_faces_s3_request_seconds_count", "outcome", ok="0+9x30", not_found="0+9x30"),
        8,
    ),
    Case(
        "FacesCommitsFailing",
        _outcomes("ray_faces_commit_seconds_count", "outcome", ok="0+9x30", conflict="0+1x30"),
        _outcomes("ray_faces_commit_seconds_count", "outcome", ok="0+9x30", conflict="4x30"),
        13,
    ),
    Case(
        "FacesCommitsConflicting",
        {
            "ray_faces_commit_conflicts_total": "0+40x40",
            'ray_faces_commit_seconds_count{outcome="ok"}': "0+10x40",
        },
        {
            "ray_faces_commit_conflicts_total": "0+20x40",
            'ray_faces_commit_seconds_count{outcome="ok"}': "0+10x40",
        },
        13,
    ),
    Case(
        "FacesMaintenanceFailing",
        {f"kube_job_status_failed{{{_JOB}}}": "1x300", f"kube_job_created{{{_JOB}}}": "600x300"},
        {f"kube_job_status_failed{{{_JOB}}}": "0x300", f"kube_job_created{{{_JOB}}}": "600x300"},
        11,
        name="failed",
    ),
    Case(
        "FacesMaintenanceFailing",
        {_SUCCEEDED: "0x300", _SUSPENDED: "0x300"},
        {_SUCCEEDED: "0x300", _SUSPENDED: "1x300"},
        192,
        quiet_at=189,
        name="none succeeded for hours",
    ),
    Case(
        "FacesUnknownShift",
        {
            f'{_FACES}{{outcome="known"}}': "0+54x1559 84210+24x120",
            f'{_FACES}{{outcome="unknown"}}': "0+6x1559 9390+36x120",
        },
        {
            f'{_FACES}{{outcome="known"}}': "0+54x1680",
            f'{_FACES}{{outcome="unknown"}}': "0+6x1680",
        },
        1670,
        quiet_at=1580,
    ),
    Case(
        "FacesPhotosRefused",
        {
            'ray_faces_photos_total{outcome="ok"}': "0+7x120",
            'ray_faces_photos_total{outcome="unsupported-image"}': "0+2x120",
            'ray_faces_photos_total{outcome="too-large"}': "0+1x120",
        },
        {
            'ray_faces_photos_total{outcome="ok"}': "0+9x120",
            'ray_faces_photos_total{outcome="unsupported-image"}': "0+1x120",
        },
        60,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_alert_fires_for_what_is_ill_alone(case: Case, promtool: Path, tmp_path: Path) -> None:
    rule = _rule(case.alert)
    minutes = int(rule["for"].removesuffix("m"))
    quiet_at = minutes - 1 if case.quiet_at is None else case.quiet_at
    firing = f'group by (namespace) (ALERTS{{alertname="{case.alert}", alertstate="firing"}})'
    ill = [{"labels": '{namespace="ill"}', "value": 1}]
    _check(
        promtool,
        tmp_path,
        [
            {"series": _in(namespace, series), "values": values}
            for namespace, group in (("ill", case.ill), ("well", case.well))
            for series, values in group.items()
        ],
        [
            *([{"expr": firing, "eval_time": f"{quiet_at}m"}] if quiet_at >= 0 else []),
            {"expr": firing, "eval_time": f"{case.fires_at}m", "exp_samples": ill},
        ],
    )


def test_silence_fires(promtool: Path, tmp_path: Path) -> None:
    """Of no namespace: who reports nothing cannot say from where."""
    series = 'ray_serve_deployment_status{deployment="ingress", namespace="faces"}'
    firing = 'group by (deployment) (ALERTS{alertname="FacesDown", alertstate="firing"})'
    down = [{"labels": '{deployment="ingress"}', "value": 1}]
    _check(
        promtool,
        tmp_path,
        [{"series": series, "values": "6x9 _x20"}],
        [
            {"expr": firing, "eval_time": "13m"},
            # A sample counts for five minutes, then the five of the alert begin.
            {"expr": firing, "eval_time": "20m", "exp_samples": down},
        ],
    )


def test_every_alert_is_made_to_fire() -> None:
    assert {case.alert for case in CASES} | {"FacesDown"} == {rule["alert"] for rule in alerts()}


def test_prometheus_takes_the_rules(promtool: Path) -> None:
    _promtool(promtool, "check", "rules", RULES)


def test_prometheus_takes_what_the_dashboard_asks(promtool: Path, tmp_path: Path) -> None:
    rules = [{"record": f"query_{n}", "expr": query} for n, (_, query) in enumerate(queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    _promtool(promtool, "check", "rules", "--lint=none", file)


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The one that was built with the cluster, or that of the machine."""
    built = from_environment().binary("prometheus/promtool")
    found = built if built.is_file() else shutil.which("promtool")
    if not found:
        pytest.skip("there is no promtool: the cluster of one node builds one")
    return Path(found)


def _rule(alert: str) -> dict[str, Any]:
    (rule,) = (rule for rule in alerts() if rule["alert"] == alert)
    return rule


def _in(namespace: str, series: str) -> str:
    metric, _, labels = series.rstrip("}").partition("{")
    return f'{metric}{{namespace="{namespace}"{", " + labels if labels else ""}}}'


def _check(
    promtool: Path,
    folder: Path,
    series: Sequence[Mapping[str, str]],
    expectations: Sequence[Mapping[str, Any]],
) -> None:
    test = {"interval": "1m", "input_series": series, "promql_expr_test": expectations}
    file = folder / "test.yaml"
    tests = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(yaml.safe_dump(tests, width=1000))
    _promtool(promtool, "test", "rules", file)


def _promtool(program: Path, *arguments: str | Path) -> None:
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
