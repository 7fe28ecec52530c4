"""The dashboard and the alerts as documents. That their metrics exist is tested on a real stack."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from serving import errors
from serving.errors import ServingError
from tests.support.promql import alerts, dashboard, panels, queries, read

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = "k8s/RUNBOOK.md"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def types_of_problems() -> set[str]:
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    return {c.type for c in classes if issubclass(c, ServingError)}


def section(alert: str) -> str:
    """What the runbook says under the alert's name."""
    parts = re.split(r"^## (\w+)$", (ROOT / RUNBOOK).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True)).get(alert, "")


def test_a_reader_of_promql_finds_metrics_labels_and_groups() -> None:
    found = read(
        'histogram_quantile(0.95, sum by (le, route) (rate(a_bucket{x="1, {2}", y!~"b|c"}[5m])))'
        " / on (namespace) group_left sum(b offset 1h) by (z) unless time() - c > 1e-9 and d{}"
    )
    assert [s.metric for s in found.selectors] == ["a_bucket", "b", "c", "d"]
    assert found.selectors[0].matchers == {"x": ("=", "1, {2}"), "y": ("!~", "b|c")}
    assert found.grouped == {"le", "route", "namespace", "z"}
    with pytest.raises(ValueError, match="no PromQL"):
        read("rate(a[5m]) ? 1")


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
class TestAlerts:
    def test_it_says_how_bad_it_is_and_what_it_means(self, rule: dict[str, object]) -> None:
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"] in [{"severity": s} for s in ("critical", "warning", "info")]
        annotations = rule["annotations"]
        assert isinstance(annotations, dict)
        assert annotations.keys() == {"summary", "description", "runbook_url"}
        assert all(annotations.values())

    def test_the_runbook_has_its_section(self, rule: dict[str, object]) -> None:
        name, annotations = str(rule["alert"]), rule["annotations"]
        assert isinstance(annotations, dict)
        assert annotations["runbook_url"] == f"{RUNBOOK}#{name.lower()}"
        text = section(name)
        told = re.findall(r"\*\*([A-Z][a-z ]+)\.\*\*", text)
        assert told in (["Means", "Look", "Do"], ["Means", "Look and do"])


def test_every_section_of_the_runbook_belongs_to_an_alert() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / RUNBOOK).read_text(), flags=re.MULTILINE)
    assert headings == [rule["alert"] for rule in alerts()]


def test_links_inside_the_runbook_lead_to_sections() -> None:
    text = (ROOT / RUNBOOK).read_text()
    headings = {h.lower() for h in re.findall(r"^## (\w+)$", text, flags=re.MULTILINE)}
    assert set(re.findall(r"\(#([^)]*)\)", text)) <= headings


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    assert max(Counter(panel["id"] for panel in panels()).values()) == 1
    taken = Counter(
        (x, y)
        for grid in (panel["gridPos"] for panel in panels())
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    )
    assert max(taken.values()) == 1
    assert max(x for x, _ in taken) < 24


def test_every_query_goes_to_the_datasource_that_was_chosen() -> None:
    (variable,) = (v for v in dashboard()["templating"]["list"] if v["name"] == "datasource")
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    shown = [panel for panel in panels() if panel["type"] != "row"]
    assert len(shown) > 30
    for panel in shown:
        assert panel["datasource"] == DATASOURCE, panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == DATASOURCE, panel["title"]
            assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"])


def test_every_query_of_the_dashboard_is_of_the_chosen_namespace() -> None:
    for where, expression in queries():
        for selector in read(expression).selectors:
            if where.startswith("panel"):
                assert selector.matchers.get("namespace") == ("=~", ".*"), where


def test_types_of_problems_that_are_looked_for_exist() -> None:
    known = types_of_problems()
    for where, expression in queries():
        for selector in read(expression).selectors:
            operator, value = selector.matchers.get("type", ("=", ""))
            if selector.metric == "ray_faces_problems_total" and value:
                assert operator == "="
                assert value in known, where
            if selector.metric == "ray_faces_photos_total" and "outcome" in selector.matchers:
                assert set(selector.matchers["outcome"][1].split("|")) <= known, where
