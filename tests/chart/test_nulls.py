"""A value of null, for which Helm removes the key: refused by its path, or taken as empty."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chart.helm import CHART, Helm, HelmError
from tests.support.chart.objects import Path, by_name
from tests.support.chart.values import (
    VARIANTS,
    at,
    dotted,
    is_closed,
    load,
    merged,
    nested,
    subschema,
)

# What is missing here has a default of Kubernetes, the Gateway or `Scale` in serving/settings.py.
DEFAULTED_ELSEWHERE = re.compile(r"[pP]robe\.|\.scale\.|\.resources\.|^httpRoute\.timeouts\.")
# What a sentence demands when it is empty; see test_refused.py.
DEMANDED = {
    "auth.existingSecret",
    "auth.keys",
    "httpRoute.parentRefs",
    "ingress.hosts",
    "ray.gcsFaultTolerance.redisAddress",
    "ray.gcsFaultTolerance.existingSecret",
    "s3.accessKeyId",
    "s3.existingSecret",
    "s3.secretAccessKey",
}
_MISSING = re.compile(r"at '([^']*)': missing propert(?:y|ies) (.*)")


def _given(values: Any, path: Path = ()) -> Iterator[Path]:
    """Every path below which values.yaml has a default that is not null, sections too."""
    for key, value in values.items():
        here = (*path, key)
        if value is None:
            continue
        yield here
        if isinstance(value, dict) and is_closed(subschema(here)):
            yield from _given(value, here)


GIVEN = list(_given(load(CHART / "values.yaml")))
DEFAULTS = load(CHART / "values.yaml")


@functools.cache
def refused(helm: Helm) -> frozenset[str]:
    """What may not be null, as helm says it: a level of the values at a time, all of it at once."""
    found = set[str]()
    for depth in range(1, max(map(len, GIVEN)) + 1):
        values: dict[str, Any] = {}
        for path in GIVEN:
            if len(path) == depth:
                values = merged(values, nested(path, None, {}))
        try:
            helm.template(values, files=[VARIANTS["defaults"]])
        except HelmError as error:
            for where, names in _MISSING.findall(str(error)):
                steps = where.strip("/").split("/") if where else []
                found |= {".".join([*steps, name]) for name in re.findall("'([^']+)'", names)}
    return frozenset(found)


def test_what_the_chart_cannot_do_without_may_not_be_null(helm4: Helm) -> None:
    for path in GIVEN:
        default = at(DEFAULTS, path)
        if isinstance(default, dict | list) or default == "":
            continue
        if not DEFAULTED_ELSEWHERE.search(dotted(path)):
            assert dotted(path) in refused(helm4)


@pytest.mark.parametrize(
    "path",
    [
        "image.repository",
        "s3.bucket",
        "auth",
        "auth.enabled",
        "networkPolicy",
        "networkPolicy.enabled",
        "stages",
        "stages.match",
        "stages.match.resources",
        "stages.match.objectStoreMemory",
        "ray.head.resources",
        "minio.persistence.accessModes",
        "triton.autoscaling.class",
    ],
)
def test_a_null_is_refused_by_its_path(helm: Helm, path: str) -> None:
    *above, name = path.split(".")
    with pytest.raises(HelmError) as caught:
        helm.template(nested((*above, name), None, {}), files=[VARIANTS["defaults"]])
    where = "".join(f"/{step}" for step in above)
    as_helm_4_says_it = f"at '{where}': missing property '{name}'"
    as_helm_3_says_it = f"- {'.'.join(above) or '(root)'}: {name} is required"
    said = str(caught.value)
    assert as_helm_4_says_it in said or as_helm_3_says_it in said


@pytest.mark.parametrize("variant", ["defaults", "everything"])
def test_any_other_null_is_as_good_as_an_empty_value(helm4: Helm, variant: str) -> None:
    nulls = load(VARIANTS[variant])
    allowed = [path for path in GIVEN if dotted(path) not in refused(helm4) | DEMANDED]
    empty = [path for path in allowed if not DEFAULTED_ELSEWHERE.search(f"{dotted(path)}.")]
    for path in reversed(empty):
        nulls = merged(nulls, nested(path, None, {}))
    empties = nulls
    for path in empty:
        empties = merged(empties, nested(path, _emptied(at(DEFAULTS, path)), {}))
    assert {
        ("settings",),
        ("s3", "secrets"),
        ("networkPolicy", "httpFrom"),
        ("ray", "head", "pod"),
    } <= set(empty)
    objects = helm4.template(nulls)
    assert by_name(objects) == by_name(helm4.template(empties))
    assert not list(_nulls(objects))


def _emptied(value: Any) -> Any:
    """The value without contents: of a map, helm removes only the keys that are null."""
    return dict.fromkeys(value) if isinstance(value, dict) else type(value)()


@pytest.mark.parametrize("variant", ["defaults", "everything"])
def test_what_has_a_default_elsewhere_is_left_out(helm4: Helm, variant: str) -> None:
    values: dict[str, Any] = {}
    for path in GIVEN:
        if re.search(r"Probe\.|^stages\.\w+\.scale$|^httpRoute\.timeouts\.", dotted(path)):
            values = merged(values, nested(path, None, {}))
    assert not list(_nulls(helm4.template(values, files=[VARIANTS[variant]])))


def _nulls(node: Any, path: Path = ()) -> Iterator[Path]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, inner in items:
        if inner is None:
            yield (*path, key)
        elif isinstance(inner, dict | list | tuple):
            yield from _nulls(inner, (*path, key))
