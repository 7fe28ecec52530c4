"""The whole measurement, and the page, tables and JSON that tell it."""

from __future__ import annotations

import json
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from serving.evaluation import plots
from serving.evaluation.distractors import Distractors
from serving.evaluation.estimates import Estimate
from serving.evaluation.evaluate import (
    SCHEMA,
    STEPS,
    Asked,
    Curves,
    Report,
    cmc,
    evaluate,
    worst_pairs,
)
from serving.evaluation.groups import Groups
from serving.evaluation.html_report import Pictures, page
from serving.evaluation.sample import NotMeasurable, Sample
from serving.evaluation.schema import schema
from serving.evaluation.tables import headline, sections, told
from serving.model.card import ModelCard
from serving.model.impostors import Impostors
from serving.settings import MatchSettings
from tests.support.samples import crowd, sample_of
from tests.support.stages import CARD

SAMPLE = crowd(12, 5, spread=0.7)
NOBODY = Distractors(np.empty((0, 0), np.float16), 0)
HTML, SVG = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/2000/svg}"
# A group of two people, one of ten; and somebody of whom nothing is stated.
GROUPS = Groups({"site": {str(p): "north" if p < 10 else "south" for p in range(11)}})


def measured(
    sample: Sample = SAMPLE,
    card: ModelCard = CARD,
    matching: MatchSettings | None = None,
    others: Distractors = NOBODY,
    seed: int = 0,
    groups: Groups | None = None,
) -> tuple[Report, Curves]:
    asked = Asked(splits=5, replicates=20, seed=seed)
    return evaluate(sample, card, matching or MatchSettings(), others, asked, groups=groups)


@pytest.fixture(scope="module")
def found() -> tuple[Report, Curves]:
    return measured(groups=GROUPS)


@pytest.fixture(scope="module")
def drawn(found: tuple[Report, Curves]) -> dict[str, str]:
    return plots.plots(*found)


class TestEvaluate:
    def test_the_same_seed_is_the_same_report(self, found: tuple[Report, Curves]) -> None:
        assert measured(groups=GROUPS)[0] == found[0]
        assert measured(seed=1, groups=GROUPS)[0] != found[0]

    def test_what_was_measured_on_is_told(self, found: tuple[Report, Curves]) -> None:
        report = found[0]
        assert (report.photos, report.people, report.people_with_two) == (60, 12, 12)
        assert [i.enrolled for i in report.identification] == ["1", "3", "all but one"]
        assert report.identification[0].gallery == 6

    def test_steps_are_announced(self) -> None:
        steps: list[None] = []
        evaluate(SAMPLE, CARD, MatchSettings(), NOBODY, Asked(2, 10, 0), lambda: steps.append(None))
        assert len(steps) == STEPS

    def test_missing_faces_are_counted(self) -> None:
        sample = sample_of(SAMPLE.vectors, SAMPLE.person.tolist(), missing=[0, 7])
        report, _ = measured(sample)
        assert report.without_embedding == 2
        rank1 = report.identification[0].rank1.value
        assert rank1 is not None
        assert rank1 < 1

    def test_distractors_make_it_harder(self, found: tuple[Report, Curves]) -> None:
        others = Distractors(crowd(500, 1, seed=9).vectors.astype(np.float16), 0)
        report, _ = measured(others=others)
        hard, easy = report.identification[0], found[0].identification[0]
        assert (hard.gallery, report.distractors) == (506, 500)
        assert hard.rank1.value is not None
        assert easy.rank1.value is not None
        assert hard.rank1.value < easy.rank1.value

    def test_auto_is_the_threshold_of_the_gallery_at_hand(self) -> None:
        impostors = Impostors(mean=0, dimensions=24, measured_on="nobody")
        card = CARD.model_copy(update={"impostors": impostors})
        matching = MatchSettings(threshold="auto", fpir=0.05)
        found = measured(card=card, matching=matching)[0].identification[0]
        assert found.threshold == impostors.threshold(6, 0.05)

    @pytest.mark.parametrize(
        ("sample", "message"),
        [
            (crowd(1, 4), "Two people"),
            (crowd(5, 1), "two photos"),
            (sample_of(np.eye(4), [1, 1, 2, 2], missing=range(4)), "No photo shows a face"),
        ],
    )
    def test_too_little_to_measure(self, sample: Sample, message: str) -> None:
        with pytest.raises(NotMeasurable, match=message):
            measured(sample)

    def test_the_worst_pairs(self) -> None:
        rows = [[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1], [0, 1, 0], [0.6, 0.8, 0]]
        sample = sample_of(rows, [1, 1, 2, 2, 3])
        strangers, own = worst_pairs(sample, measured(sample)[1].pairs, 2)
        # Photos 1 and 4 are the most alike, then 3 and 4; 0 and 4 are people 1 and 3 again.
        assert [(a, b) for a, b, _ in strangers] == [(1, 4), (3, 4)]
        assert [c for *_, c in strangers] == pytest.approx([0.96, 0.8])
        assert [(a, b) for a, b, _ in own] == [(2, 3), (0, 1)]
        assert [c for *_, c in own] == pytest.approx([0, 0.8])


def test_the_cmc_is_the_share_within_each_rank() -> None:
    shares = cmc(np.array([1, 1, 2, 0, 5, 30]), gallery=100)
    assert len(shares) == 20
    assert shares[:6] == pytest.approx([2 / 6, 3 / 6, 3 / 6, 3 / 6, 4 / 6, 4 / 6])
    assert (np.diff(shares) >= 0).all()
    assert len(cmc(np.array([1, 2]), gallery=3)) == 3  # there are no more ranks


def test_the_curves_are_monotone(found: tuple[Report, Curves]) -> None:
    """Of a DET: a threshold with fewer false positives never has fewer false negatives."""
    for roc in found[1].identification.values():
        assert (np.diff(roc.thresholds) < 0).all()
        assert (np.diff(roc.far) >= 0).all()
        assert (np.diff(1 - roc.tar) <= 0).all()


class TestGroups:
    def test_they_are_measured_at_one_threshold(self, found: tuple[Report, Curves]) -> None:
        report = found[0]
        (site,) = report.groups
        assert [g.group for g in site.groups] == ["(not stated)", "north", "south"]
        assert [g.people for g in site.groups] == [1, 10, 1]
        at = report.identification[-1]
        assert sum(g.fpir.errors for g in site.groups) == at.fpir.errors
        assert sum(g.fnir.lookups for g in site.groups) == at.known_lookups
        assert site.groups[2].too_small == "too small: 1 of at least 10 people"
        assert site.fpir_ratio.value is None  # only one group is large enough

    def test_thresholds_are_for_them_too(self, found: tuple[Report, Curves]) -> None:
        assert [(p.of, p.bound) for p in found[0].operating_points] == [
            ("all people", False), ("all people", True), ("site", False), ("site", True),
        ]  # fmt: skip


class TestJson:
    def test_it_is_json_of_aggregates(self, found: tuple[Report, Curves]) -> None:
        text = json.dumps(found[0].to_json(), allow_nan=False)
        assert "photos/" not in text
        assert ".jpg" not in text
        body = json.loads(text)
        Draft202012Validator(schema()).validate(body)
        assert set(body["verification"]["tar_at_far"]) == {"0.01", "0.001", "0.0001"}
        assert set(body["identification"][0]["dir_at_fpir"]) == {"0.1", "0.01", "0.003", "0.001"}
        assert body["asked"] == {"splits": 5, "replicates": 20, "seed": 0, "fpir": None}
        assert body["schema"] == SCHEMA
        assert body["verification"]["eer"]["low"] <= body["verification"]["eer"]["high"]


class TestTables:
    def test_every_row_has_a_cell_for_every_column(self, found: tuple[Report, Curves]) -> None:
        for section in sections(found[0]):
            assert {len(row) for row in section.rows} == {len(section.header)}

    def test_what_cannot_be_told_is_said(self, found: tuple[Report, Curves]) -> None:
        text = str(sections(found[0]))
        assert "not shown: 60 of strangers, 3,000 needed" in text
        assert "12 people, 12 of them with two" in headline(found[0])[0]

    @pytest.mark.parametrize(
        ("estimate", "text"),
        [
            (Estimate(0.96612, 0.93, 1.0), "0.966 (0.930 to 1.000)"),
            (Estimate(0.00093, 0.0, 0.0037), "0.00093 (0.000 to 0.00370)"),
            (Estimate(1e-7, 0.0, 0.5), "0.000 (0.000 to 0.500)"),
            (Estimate(0.5, note="rough: rests on 3"), "0.500, rough: rests on 3"),
            (Estimate(None, note="too few"), "- (too few)"),
        ],
    )
    def test_numbers(self, estimate: Estimate, text: str) -> None:
        assert told(estimate) == text


class TestPage:
    def test_it_is_well_formed_and_refers_to_nothing(
        self, found: tuple[Report, Curves], drawn: dict[str, str]
    ) -> None:
        text = page(found[0], drawn)
        root = ElementTree.fromstring(text)
        assert root.tag == f"{HTML}html"
        assert not list(root.iter(f"{HTML}img"))
        labels = [svg.attrib["aria-label"] for svg in root.iter(f"{SVG}svg")]
        assert sorted(labels) == sorted(drawn)
        assert len(labels) == 9
        assert not list(root.iter(f"{HTML}script"))
        # Nothing is loaded: references are to places of the page itself.
        assert not re.findall(r'(?:src|href)="(?!#)|url\((?!#)|@import', text)
        ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        assert len(ids) == len(set(ids))
        for place in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text):
            assert "".join(place) in ids

    def test_every_table_has_headings(
        self, found: tuple[Report, Curves], drawn: dict[str, str]
    ) -> None:
        root = ElementTree.fromstring(page(found[0], drawn))
        for table in root.iter(f"{HTML}table"):
            columns = len(list(next(table.iter(f"{HTML}tr"))))
            for row in list(table.iter(f"{HTML}tr"))[1:]:
                assert row[0].attrib == {"scope": "row"}
                assert len(row) == columns

    def test_group_names_are_text(self) -> None:
        """They come from a file: markup, a formula of matplotlib's, and what XML cannot hold."""
        by = {str(p): ("<b>&", "$x^$", "a\x00b")[p % 3] for p in range(12)}
        report, curves = measured(groups=Groups({"<i>": by}))
        text = page(report, plots.plots(report, curves))
        root = ElementTree.fromstring(text)
        assert "<b>&" in [cell.text for cell in root.iter(f"{HTML}th")]
        assert "a?b" in [cell.text for cell in root.iter(f"{HTML}th")]
        assert "<b>" not in text

    def test_it_tells_the_tables(self, found: tuple[Report, Curves], drawn: dict[str, str]) -> None:
        root = ElementTree.fromstring(page(found[0], drawn))
        cells = [c.text for kind in ("td", "th") for c in root.iter(f"{HTML}{kind}")]
        for section in sections(found[0]):
            for row in section.rows:
                assert set(row) <= {*cells, ""}

    def test_photos_are_in_it_only_when_they_are_given(
        self, found: tuple[Report, Curves], drawn: dict[str, str]
    ) -> None:
        without = page(found[0], drawn)
        assert "image/jpeg" not in without
        assert ".jpg" not in without
        shown = [Pictures("Alike", [(b"a", b"b", '0.9: 7/<a> & "b".jpg, 8/c.jpg')])]
        root = ElementTree.fromstring(page(found[0], drawn, shown))
        assert sum("image/jpeg" in i.attrib["src"] for i in root.iter(f"{HTML}img")) == 2
        captions = [c.text for c in root.iter(f"{HTML}figcaption")]
        assert captions[-1] == '0.9: 7/<a> & "b".jpg, 8/c.jpg'

    def test_the_same_report_is_the_same_page(
        self, found: tuple[Report, Curves], drawn: dict[str, str]
    ) -> None:
        assert page(found[0], plots.plots(*found)) == page(found[0], drawn)

    def test_without_matplotlib_a_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(NotMeasurable, match=r"pip install 'facenet-serving\[report\]'"):
            plots.check()
