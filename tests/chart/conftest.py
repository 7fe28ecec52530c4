"""Real helm, every version that is there, and the variants of the chart that are rendered."""

from __future__ import annotations

import platform

import pytest

from tests.support.chart.helm import Helm

HELMS = (Helm(4), Helm(3))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "helm" in metafunc.fixturenames:
        metafunc.parametrize("helm", HELMS, ids=str, indirect=True)


@pytest.fixture
def helm(request: pytest.FixtureRequest) -> Helm:
    found: Helm = request.param
    return _there(found)


@pytest.fixture(scope="session")
def helm4() -> Helm:
    """For what need not be tried with both."""
    return _there(Helm(4))


def _there(helm: Helm) -> Helm:
    if not helm.binary.is_file():
        if platform.machine() != "x86_64":
            pytest.skip(f"{helm} is not on PATH, and its package is for x86-64")
        pytest.fail(f"{helm} is missing: run `make tools`")
    return helm
