"""No knob that no template reads: whatever in values.yaml is turned changes the rendering."""

from __future__ import annotations

import pytest

from tests.chart.helm import Helm, HelmError
from tests.chart.objects import Path, by_name
from tests.chart.values import OURS, VARIANTS, at, dotted, leaves, nested, of_variant, others

# Turned by hand: what the schema alone does not tell how to turn.
SETTINGS: dict[str, object] = {
    "image.digest": f"sha256:{'7' * 64}",
    "ingress.tls": [{"hosts": ["faces.example.com"], "secretName": "other"}],
}
# Read by no template on purpose, and why.
UNREAD = {"global": "helm's own: a chart that has this one as a dependency may set it"}

# What is off in one may be on in another.
TRIED = sorted(OURS, key=["everything", "defaults", "elsewhere", "keda"].index)
KNOBS = [path for path in leaves(of_variant("defaults")) if dotted(path) not in UNREAD]


@pytest.mark.parametrize("path", KNOBS, ids=dotted)
def test_a_knob_that_is_turned_changes_the_rendering(helm4: Helm, path: Path) -> None:
    tried = []
    for variant in TRIED:
        values = of_variant(variant)
        turned = (
            [SETTINGS[dotted(path)]] if dotted(path) in SETTINGS else others(path, at(values, path))
        )
        for other in turned[:4]:
            tried.append((variant, other))
            if _changes(helm4, variant, nested(path, other, values)):
                return
    pytest.fail(f"{dotted(path)} changed nothing: {tried}")


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
