"""No knob that no template reads: whatever in values.yaml is turned changes the rendering."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.chart.helm import Helm, HelmError
from tests.support.chart.marks import mark, marks_in
from tests.support.chart.objects import Path, by_name
from tests.support.chart.values import (
    OURS,
    VARIANTS,
    at,
    dotted,
    leaves,
    merged,
    nested,
    of_variant,
    others,
)

# All renderings are made before the first test: minutes on a shared machine.
pytestmark = pytest.mark.timeout(1200)

# Turned by hand: what the schema alone does not tell how to turn.
SETTINGS: dict[str, object] = {
    "auth.keys": [{"name": "other", "hash": f"sha256:{'7' * 64}", "scopes": ["admin"]}],
    "monitoring.alerts.runbookBase": "https://git.example.com/other/",
    "image.digest": f"sha256:{'7' * 64}",
    "settings.liveness.mean": [127.5, 127.5, 127.5],
    "settings.liveness.std": [128.0, 128.0, 128.0],
    "ingress.tls": [{"hosts": ["faces.example.com"], "secretName": "other"}],
}
# Read by no template on purpose, and why.
UNREAD = {"global": "helm's own: a chart that has this one as a dependency may set it"}

# What is off in one may be on in another.
TRIED = sorted(OURS, key=["everything", "defaults", "elsewhere", "keda"].index)
KNOBS = [path for path in leaves(of_variant("defaults")) if dotted(path) not in UNREAD]


# Of a group of pods: most are refused with another one that is turned at the same time.
RELATED = {
    "scale.min_replicas",
    "scale.max_replicas",
    "scale.num_cpus",
    "scale.num_gpus",
    "replicasPerPod",
    "group.minReplicas",
    "podDisruptionBudget.minAvailable",
    "objectStoreMemory",
}

Outcomes = dict[Path, list[object] | None]


@pytest.fixture(scope="module")
def outcomes(helm4: Helm, request: pytest.FixtureRequest) -> Outcomes:
    """By knob: what changed nothing, or None when something did. Helms run two at a time."""
    test = test_a_knob_that_is_turned_changes_the_rendering.__name__
    asked = {item.name for item in request.session.items}
    chosen = [path for path in KNOBS if f"{test}[{dotted(path)}]" in asked]
    seen = _turn_together(helm4, TRIED[0], chosen)
    alone = [path for path in chosen if path not in seen]
    with ThreadPoolExecutor(2) as pool:
        one_by_one = zip(alone, pool.map(lambda path: _turn(helm4, path), alone), strict=True)
        return dict.fromkeys(seen) | dict(one_by_one)


@pytest.mark.parametrize("path", KNOBS, ids=dotted)
def test_a_knob_that_is_turned_changes_the_rendering(outcomes: Outcomes, path: Path) -> None:
    assert outcomes[path] is None


def _turn_together(helm: Helm, variant: str, paths: list[Path]) -> set[Path]:
    """The knobs whose mark a rendering shows in which many are turned; others may be read, too."""
    marked = {path: mark(path, number) for number, path in enumerate(paths, start=100)}
    marked = {path: value for path, value in marked.items() if value is not None}
    return _seen(
        helm, variant, {p: v for p, v in marked.items() if ".".join(map(str, p[2:])) not in RELATED}
    )


def _seen(helm: Helm, variant: str, marked: dict[Path, object]) -> set[Path]:
    values: dict[str, object] = {}
    for path, value in marked.items():
        values = merged(values, nested(path, value, of_variant(variant)))
    try:
        rendered = marks_in(helm.template(values, files=[VARIANTS[variant]]))
    except HelmError:
        # Two of them, or one and the variant, exclude each other: one half, then the other.
        if len(marked) < 2:
            return set()
        items = list(marked.items())
        middle = len(items) // 2
        return _seen(helm, variant, dict(items[:middle])) | _seen(
            helm, variant, dict(items[middle:])
        )
    rendered -= marks_in(helm.template(files=[VARIANTS[variant]]))
    return {path for path, value in marked.items() if marks_in(value) & rendered}


def _turn(helm: Helm, path: Path) -> list[object] | None:
    tried: list[object] = []
    for variant in TRIED:
        values = of_variant(variant)
        turned = others(path, at(values, path))[:4]
        for other in [SETTINGS[dotted(path)]] if dotted(path) in SETTINGS else turned:
            if _changes(helm, variant, nested(path, other, values)):
                return None
            tried.append((variant, other))
    return tried


def _changes(helm: Helm, variant: str, values: dict[str, object]) -> bool:
    before = by_name(helm.template(files=[VARIANTS[variant]]))
    try:
        return by_name(helm.template(values, files=[VARIANTS[variant]])) != before
    except HelmError as error:
        # A template that refuses has read it; a schema that refuses has not.
        return "execution error at" in str(error)


def test_the_exceptions_are_still_there() -> None:
    known = {dotted(path) for path in leaves(of_variant("defaults"))}
    assert set(SETTINGS) | set(UNREAD) <= known
