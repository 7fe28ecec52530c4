"""The values' schema: a typing error is an error, at every level."""

from __future__ import annotations

import copy
import functools
from typing import Any

import jsonschema
import pytest

from tests.support.chart.helm import Helm, HelmError
from tests.support.chart.objects import Path
from tests.support.chart.values import (
    OURS,
    VARIANTS,
    at,
    dotted,
    is_closed,
    leaves,
    merged,
    nested,
    objects_of,
    of_variant,
    schema,
    wrong,
)

# Maps whose keys are the user's: labels, what Kubernetes defines, the application's own settings.
OPEN = {
    "affinity",
    "annotations",
    "commonAnnotations",
    "commonLabels",
    "containerSecurityContext",
    "dnsConfig",
    "extraContainers",
    "extraInitContainers",
    "extraVolumeMounts",
    "extraVolumes",
    "issuerRef",
    "labels",
    "limits",
    "metrics",
    "nodeSelector",
    "podSecurityContext",
    "requests",
    "roles",
    "settings",
    "tolerations",
}


def closed_objects() -> list[tuple[str, Path]]:
    """Each map with keys of its own, in the first variant that has it."""
    found: dict[Path, str] = {}
    for variant in OURS:
        for path, schema_of_it in objects_of(of_variant(variant)):
            if is_closed(schema_of_it):
                found.setdefault(path, variant)
    return [(variant, path) for path, variant in found.items()]


CLOSED = closed_objects()
KNOBS = list(leaves(of_variant("defaults")))


# All that is wrong goes to helm at once, which tells all of it.


@functools.cache
def said_of_unknown_keys(helm: Helm, variant: str) -> str:
    values = copy.deepcopy(of_variant(variant))
    for number, (where, path) in enumerate(CLOSED):
        if where == variant:
            at(values, path)[f"noSuchKnob{number}"] = 1
    return refusal(helm, variant, values)


@functools.cache
def said_of_wrong_types(helm: Helm) -> str:
    values = of_variant("defaults")
    for path in KNOBS:
        values = merged(values, nested(path, wrong(path), values))
    return refusal(helm, "defaults", values)


def refusal(helm: Helm, variant: str, values: dict[str, Any]) -> str:
    with pytest.raises(HelmError) as caught:
        helm.template(values, files=[VARIANTS[variant]])
    return str(caught.value)


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(schema())
    assert is_closed(schema())


@pytest.mark.parametrize("variant", OURS)
def test_only_the_users_own_maps_are_open(variant: str) -> None:
    for path, schema_of_it in objects_of(of_variant(variant)):
        if not is_closed(schema_of_it):
            assert OPEN & set(path) or path[0] == "networkPolicy", dotted(path)


@pytest.mark.parametrize(
    "number", range(len(CLOSED)), ids=[dotted(path) or "values" for _, path in CLOSED]
)
def test_an_unknown_key_is_refused(helm4: Helm, number: int) -> None:
    assert f"'noSuchKnob{number}'" in said_of_unknown_keys(helm4, CLOSED[number][0])


@pytest.mark.parametrize("path", KNOBS, ids=dotted)
def test_a_wrong_type_is_refused(helm4: Helm, path: Path) -> None:
    assert f"at '/{'/'.join(map(str, path))}': " in said_of_wrong_types(helm4)


def test_a_typing_error_is_refused_by_both(helm: Helm) -> None:
    with pytest.raises(HelmError, match="enable"):
        helm.template({"minio": {"enable": True}})
