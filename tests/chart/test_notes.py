"""What helm tells after the installation, and what is generated from the values."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chart.rules.rendering import Rendering
from tests.support.chart.helm import CHART, NAMESPACE, RELEASE, ROOT, Helm
from tests.support.chart.objects import name_of, only
from tests.support.chart.values import VARIANTS

every_variant = pytest.mark.parametrize("variant", VARIANTS)
_KINDS = {"rayservice": "RayService", "isvc": "InferenceService"}


def notes(helm: Helm, variant: str, folder: Path) -> str:
    """With any helm and no cluster: a template beside NOTES.txt puts them into an object."""
    chart = Path(shutil.copytree(CHART, folder / str(helm) / CHART.name))
    (chart / "templates" / "notes.yaml").write_text(
        "kind: Notes\nmetadata: {name: notes}\n"
        'text: {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}\n'
    )
    text = only(helm.template(files=[VARIANTS[variant]], chart=chart), "Notes")["text"]
    assert isinstance(text, str)
    return text.strip()


@every_variant
def test_they_are_complete(helm: Helm, variant: str, tmp_path: Path) -> None:
    text = notes(helm, variant, tmp_path)
    assert not re.search(r"<no value>|<nil>|%!|map\[|\{\{", text)
    assert "/infer" in text
    assert f"helm -n {NAMESPACE} test {RELEASE}" in text
    assert "\n\n\n" not in text


@every_variant
def test_installing_shows_them(helm4: Helm, variant: str, tmp_path: Path) -> None:
    """Helm 4 needs no cluster for that."""
    command = ("install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client")
    said = helm4.run(*command, files=[VARIANTS[variant]])
    assert said.partition("NOTES:\n")[2].strip() == notes(helm4, variant, tmp_path)


@every_variant
def test_what_they_name_is_there(helm4: Helm, variant: str, tmp_path: Path) -> None:
    objects = helm4.template(files=[VARIANTS[variant]])
    there = {name_of(item) for item in objects}
    text = notes(helm4, variant, tmp_path)
    asked = re.findall(r"get (rayservice|isvc) (\S+)", text)
    assert asked
    for kind, name in asked:
        assert f"{_KINDS[kind]}/{name}" in there
    called = re.findall(r"port-forward svc/(\S+)", text)
    assert called
    assert set(called) <= Rendering(objects, NAMESPACE, frozenset()).services().keys()


def test_they_say_what_a_caller_needs(helm4: Helm, tmp_path: Path) -> None:
    with_keys, without = (notes(helm4, v, tmp_path / v) for v in ("defaults", "elsewhere"))
    assert re.search(r'curl -H "Authorization: Bearer \$FACES_KEY" -F image=', with_keys)
    assert "create secret generic api-keys --from-file=keys.yaml" in with_keys
    assert "Authorization" not in without


@pytest.mark.parametrize(
    ("values", "address", "told"),
    [
        ({}, None, False),
        ({"ingress": {"enabled": True, "hosts": ["a.example"]}}, "http://a.example/infer", True),
        (
            {
                "ingress": {
                    "enabled": True,
                    "hosts": ["a.example"],
                    "tls": [{"secretName": "tls", "hosts": ["a.example"]}],
                }
            },
            "https://a.example/infer",
            False,
        ),
        (
            {
                "httpRoute": {
                    "enabled": True,
                    "parentRefs": [{"name": "gateway"}],
                    "hostnames": ["a.example"],
                }
            },
            "http://a.example/infer",
            True,
        ),
    ],
)
def test_an_address_without_tls_is_told_of(
    helm4: Helm, values: dict[str, object], address: str | None, told: bool
) -> None:
    command = ("install", RELEASE, str(CHART), "--dry-run=client")
    said = helm4.run(*command, values=values, files=[VARIANTS["defaults"]])
    assert re.findall(r"https?://\S+/infer", said) == [address] * (address is not None)
    assert ("in\nthe open" in said) is told


@pytest.mark.parametrize("part", ["networkPolicy", "auth"])
def test_what_is_open_is_warned_of(helm4: Helm, part: str) -> None:
    command = ("install", RELEASE, str(CHART), "--dry-run=client")
    values = {part: {"enabled": False}}
    assert "WARNING" in helm4.run(*command, values=values, files=[VARIANTS["defaults"]])
    assert "WARNING" not in helm4.run(*command, files=[VARIANTS["defaults"]])


@pytest.mark.parametrize("script", ["docs.py", "schema.py"])
def test_what_is_generated_is_up_to_date(script: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "helm" / script, "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
