"""The values' schema: a typing error is an error, at every level."""

from __future__ import annotations

import jsonschema
import pytest

from tests.chart.helm import Helm, HelmError
from tests.chart.objects import Path
from tests.chart.values import (
    OURS,
    VARIANTS,
    at,
    dotted,
    is_closed,
    leaves,
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
    "clusterUpgradeOptions",
    "commonLabels",
    "containerSecurityContext",
    "httpFrom",
    "issuerRef",
    "labels",
    "limits",
    "nodeSelector",
    "podSecurityContext",
    "requests",
    "settings",
}


def closed_objects() -> list[tuple[str, Path]]:
    """Each map with keys of its own, in the first variant that has it."""
    found: dict[Path, str] = {}
    for variant in OURS:
        for path, schema_of_it in objects_of(of_variant(variant)):
            if is_closed(schema_of_it):
                found.setdefault(path, variant)
    return [(variant, path) for path, variant in found.items()]


def knobs() -> list[tuple[str, Path]]:
    return [("defaults", path) for path in leaves(of_variant("defaults"))]


def names(cases: list[tuple[str, Path]]) -> list[str]:
    return [dotted(path) or "values" for _, path in cases]


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(schema())
    assert is_closed(schema())


@pytest.mark.parametrize("variant", OURS)
def test_only_the_users_own_maps_are_open(variant: str) -> None:
    for path, schema_of_it in objects_of(of_variant(variant)):
        if not is_closed(schema_of_it):
            assert OPEN & set(map(str, path)), dotted(path)


@pytest.mark.parametrize(("variant", "path"), closed_objects(), ids=names(closed_objects()))
def test_an_unknown_key_is_refused(helm4: Helm, variant: str, path: Path) -> None:
    values = nested((*path, "noSuchKnob"), 1, of_variant(variant))
    with pytest.raises(HelmError, match="noSuchKnob"):
        helm4.template(values, files=[VARIANTS[variant]])


@pytest.mark.parametrize(("variant", "path"), knobs(), ids=names(knobs()))
def test_a_wrong_type_is_refused(helm4: Helm, variant: str, path: Path) -> None:
    values = nested(path, wrong(at(of_variant(variant), path)), of_variant(variant))
    with pytest.raises(HelmError, match=str(path[-1])):
        helm4.template(values, files=[VARIANTS[variant]])


def test_a_typing_error_is_refused_by_both(helm: Helm) -> None:
    with pytest.raises(HelmError, match="enable"):
        helm.template({"minio": {"enable": True}})
