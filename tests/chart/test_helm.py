"""How helm is run: on a small chart of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.chart.helm import Helm, HelmError, parse


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: toy, version: 0.1.0}")
    (folder / "values.yaml").write_text("{word: one, number: 1}")
    (folder / "templates" / "a.yaml").write_text(
        "kind: ConfigMap\nmetadata: {name: a}\n"
        'data: {word: {{ .Values.word }}, where: "{{ .Release.Namespace }}/{{ .Release.Name }}"}\n'
        '{{ if eq .Values.word "bad" }}{{ fail "Say another word." }}{{ end }}\n'
        "---\n{{ if .Values.more }}kind: ConfigMap\nmetadata: {name: b}{{ end }}\n"
    )
    return folder


def test_values_lie_over_files(helm: Helm, chart: Path, tmp_path: Path) -> None:
    (file := tmp_path / "file.yaml").write_text("{word: two, more: true}")
    words = [
        helm.template(values, chart=chart, files=files)[0]["data"]["word"]
        for values, files in (({}, []), ({}, [file]), ({"word": "three"}, [file]))
    ]
    assert words == ["one", "two", "three"]
    assert len(helm.template(chart=chart)) == 1
    assert len(helm.template(chart=chart, files=[file])) == 2


def test_the_release_is_named(helm: Helm, chart: Path) -> None:
    (item,) = helm.template(chart=chart, release="r", namespace="n")
    assert item["data"]["where"] == "n/r"


def test_what_helm_refuses(helm: Helm, chart: Path) -> None:
    with pytest.raises(HelmError, match=r"Say another word\."):
        helm.template({"word": "bad"}, chart=chart)


def test_a_key_that_is_there_twice() -> None:
    with pytest.raises(yaml.YAMLError, match="name is there twice"):
        parse("metadata:\n  name: a\n  name: b\n")


def test_a_date_is_a_word() -> None:
    assert parse("a: 2026-01-02\n---\n---\nb: 1\n") == ({"a": "2026-01-02"}, {"b": 1})
