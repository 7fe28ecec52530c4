"""`faces evaluate` and `faces calibrate` on the photos of `data/`, with the real model."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from PIL import Image

from serving.cli import cli
from serving.cli.evaluation import opened
from serving.evaluation.sample import read_card
from serving.settings import DEFAULT_MODEL as NAME

ROOT = Path(__file__).resolve().parents[3]
DATA, MODELS = ROOT / "data", ROOT / "triton" / "models"
EXPORT = DATA / "gallery" / "synthetic-1000.safetensors"
FEW = ("--splits", "4", "--bootstrap", "20")

traced = pytest.mark.skipif(
    not (MODELS / NAME / "1" / "model.bin").is_file(), reason="not traced: make model"
)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five people, of whom two have several photos; a photo without a face, and no photo."""
    folder = tmp_path_factory.mktemp("people")
    shutil.copytree(DATA / "people", folder, dirs_exist_ok=True)
    (folder / "2576").mkdir()
    for name in ("photo_01.jpg", "photo_07.jpg", "photo_15.jpg"):
        shutil.copy(DATA / "2576" / name, folder / "2576" / name)
    shutil.copy(DATA / "id_is_2576.jpg", folder / "2576" / "other.jpg")
    Image.new("RGB", (300, 200), "white").save(folder / "102" / "wall.jpg")
    (folder / "103" / "text.jpg").write_text("no photo")
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model repository whose card may be written."""
    folder = tmp_path / "models" / NAME
    (folder / "1").mkdir(parents=True)
    for name in ("model.bin", "model.xml", "model.sha256"):
        os.symlink(MODELS / NAME / "1" / name, folder / "1" / name)
    for name in ("model.json", "config.pbtxt"):
        shutil.copy(MODELS / NAME / name, folder / name)
    return folder.parent


def run(*words: object, code: int = 0) -> Result:
    done = CliRunner(env={"COLUMNS": "160"}).invoke(cli, [str(w) for w in words])
    assert done.exit_code == code, done.output
    return done


def evaluated(*words: object, code: int = 0) -> str:
    return run("evaluate", *words, "--repository", MODELS, *FEW, code=code).output


@pytest.fixture(scope="module")
def made(people: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What was printed, and where the files are."""
    to = tmp_path_factory.mktemp("report")
    output = evaluated(
        people, "--json", to / "a.json", "--html", to / "a.html", "--gallery", EXPORT
    )
    return output, to


@pytest.fixture(scope="module")
def shown(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of a report are that shows all, at a threshold which everybody reaches."""
    to = tmp_path_factory.mktemp("shown")
    words = ("--pictures", "--file-names", "--threshold", -1)
    evaluated(people, "--json", to / "a.json", "--html", to / "a.html", *words)
    return to


@traced
class TestEvaluate:
    def test_tables(self, made: tuple[str, Path]) -> None:
        output = made[0]
        assert "11 photos of 5 people, 4 of them with two or more" in output
        assert "5 people are few" in output
        assert "2 photos without a face count as failures" in output
        assert "1,000 more people in every gallery" in output
        assert "not shown" in output

    def test_failures_are_listed(self, made: tuple[str, Path]) -> None:
        assert "102/wall.jpg: No face was found." in made[0]
        assert "103/text.jpg: This is text, which is not read" in made[0]

    def test_numbers(self, made: tuple[str, Path]) -> None:
        report = json.loads((made[1] / "a.json").read_text())
        pairs = report["verification"]
        assert pairs["genuine_pairs"] == 6 + 1 + 1 + 1
        # Two of the nine pairs have a photo without a face; the others are people told apart.
        assert pairs["tar_at_far"]["0.01"]["value"] is None
        assert pairs["tar"]["value"] == pytest.approx(7 / 9)
        assert pairs["far"]["value"] == 0
        all_but_one = report["identification"][-1]
        assert all_but_one["enrolled"] == "all but one"
        assert all_but_one["fpir"]["value"] == 0
        assert all_but_one["gallery"] > 1000

    def test_only_aggregates_leave_the_folder(self, made: tuple[str, Path]) -> None:
        for name in ("a.json", "a.html"):
            text = (made[1] / name).read_text()
            assert "wall" not in text
            assert "macron" not in text
            assert "image/jpeg" not in text
        ElementTree.parse(made[1] / "a.html")

    def test_pictures_when_they_are_asked_for(self, shown: Path) -> None:
        text = (shown / "a.html").read_text()
        ElementTree.fromstring(text)
        # The eight most alike of the ten pairs of people, and the two people with several faces.
        assert text.count("data:image/jpeg") == 2 * (8 + 2)
        assert "101/macron_2014.jpg, 101/macron_2025.jpg" in text

    def test_photos_that_are_not_processed_stay_in_the_rates(self, made: tuple[str, Path]) -> None:
        report = json.loads((made[1] / "a.json").read_text())
        failures = report["failures"]
        assert failures["to_acquire"]["errors"] == 2
        assert failures["to_acquire_by"] == {"no-face": 1, "unsupported-image": 1}
        at = report["identification"][-1]
        assert at["of_known"]["failed"] + at["of_unknown"]["failed"] > 0
        assert sum(v for k, v in at["of_known"].items() if k != "lookups") == at["known_lookups"]

    def test_the_json_keeps_to_its_schema(self, made: tuple[str, Path]) -> None:
        text = (ROOT / "docs" / "evaluation.schema.json").read_text()
        Draft202012Validator(json.loads(text)).validate(
            json.loads((made[1] / "a.json").read_text())
        )

    def test_groups_of_any_kind_and_faults(self, people: Path, tmp_path: Path) -> None:
        """Folders by name in a level of groups, a file of groups, and one photo in two folders."""
        folder = tmp_path / "grouped"
        for n, person in enumerate(sorted(people.iterdir())):
            group = ("north", "south")[n % 2]
            shutil.copytree(person, folder / group / f"person {person.name}")
        source = next((people / "101").glob("*.jpg"))
        shutil.copy(source, folder / "north" / "person 2576" / "copy.jpg")
        (tmp_path / "groups.csv").write_text("id,hair\nperson 101,short\nnobody\x1b,long\n")
        output = evaluated(
            folder, "--group-folders", "--groups", tmp_path / "groups.csv",
            "--json", tmp_path / "a.json", "--html", tmp_path / "a.html",
        )  # fmt: skip
        assert "The same file in the folders of 2 people" in output
        assert "1 rows of groups.csv name nobody of the folder: nobody?" in output
        assert "By group: folder" in output
        assert "By group: hair" in output
        report = json.loads((tmp_path / "a.json").read_text())
        assert [d["attribute"] for d in report["groups"]] == ["folder", "hair"]
        assert [g["group"] for g in report["groups"][0]["groups"]] == ["north", "south"]
        assert report["faults"]["in_two_people"] == 2
        assert report["faults"]["unknown_in_groups"] == 1
        assert report["files"] is None
        for text in ((tmp_path / name).read_text() for name in ("a.json", "a.html")):
            assert "copy.jpg" not in text
            assert "person 101" not in text

    def test_file_names_when_they_are_asked_for(self, shown: Path) -> None:
        files = json.loads((shown / "a.json").read_text())["files"]
        assert "102/wall.jpg: No face was found." in files
        assert "102/wall.jpg: No face was found." in (shown / "a.html").read_text()

    def test_a_file_of_groups_that_is_none(self, people: Path, tmp_path: Path) -> None:
        (tmp_path / "groups.csv").write_text("name,hair\n101,short\n")
        words = ("--groups", tmp_path / "groups.csv")
        assert "no column 'id'" in evaluated(people, *words, code=1)

    def test_a_threshold_of_ones_own(self, shown: Path) -> None:
        report = json.loads((shown / "a.json").read_text())
        # A photo without a face is never named.
        assert 0.5 < report["identification"][0]["fpir"]["value"] < 1

    def test_settings_of_the_application_count(self, people: Path, tmp_path: Path) -> None:
        (tmp_path / "args.yaml").write_text(
            "detect: {min_face_size: 5000}\nmatch: {threshold: auto, fpir: 0.1}\n"
        )
        output = evaluated(people, "--args", tmp_path / "args.yaml", code=1)
        assert "No photo shows a face" in output


@traced
class TestCalibrate:
    def test_dry_run(self, people: Path, repository: Path) -> None:
        before = (repository / NAME / "model.json").read_bytes()
        output = run("calibrate", people, "--repository", repository, "--dry-run").output
        assert "9 photos of 5 people" in output
        assert "5 people are few" in output
        assert "1,000,000" in output
        assert "ambiguous within" in output
        assert (repository / NAME / "model.json").read_bytes() == before

    def test_the_card_is_written_and_used(
        self, people: Path, repository: Path, tmp_path: Path
    ) -> None:
        words = ("--repository", repository, "--source", "a test", "--people", 200, "--fpir", 0.02)
        run("calibrate", people, *words)
        card = read_card(repository / NAME / "model.json")
        assert card.calibration.gallery == 200
        assert card.calibration.measured_on.startswith("9 photos of 5 people (a test)")
        assert card.impostors is not None
        assert card.threshold == pytest.approx(card.impostors.threshold(200, 0.02), abs=1e-3)
        assert card.margin is not None
        assert card.margin.measured_on.startswith("9 photos of 5 people (a test): ")
        assert card.to_pbtxt() in (repository / NAME / "config.pbtxt").read_text()
        (tmp_path / "args.yaml").write_text("match: {threshold: auto}\n")
        run(
            "evaluate", people, "--repository", repository, *FEW,
            "--args", tmp_path / "args.yaml", "--json", tmp_path / "a.json",
        )  # fmt: skip
        told = json.loads((tmp_path / "a.json").read_text())["identification"][0]
        assert told["threshold"] == pytest.approx(card.impostors.threshold(told["gallery"], 0.01))

    def test_the_card_of_another_model_is_left_alone(
        self, people: Path, repository: Path, tmp_path: Path
    ) -> None:
        card = json.loads((repository / NAME / "model.json").read_text())
        card["id"] = f"{NAME}@ffffffffffff"
        (tmp_path / "model.json").write_text(json.dumps(card))
        words = ("--repository", repository, "--card", tmp_path / "model.json")
        assert "is the card of" in run("calibrate", people, *words, code=1).output

    def test_too_few_people(self, repository: Path) -> None:
        words = ("calibrate", DATA / "people", "--repository", repository)
        assert "too few" in run(*words, code=1).output


@traced
def test_two_folders_of_one_id_are_one_person(people: Path, tmp_path: Path) -> None:
    shutil.copytree(people / "101", tmp_path / "people" / "101")
    shutil.copytree(people / "104", tmp_path / "people" / "0101")
    sample = opened(tmp_path / "people", NAME, MODELS, None).embed()
    assert sample.ids.tolist() == [101]
    assert sample.person.tolist() == [0, 0, 0]


class TestUsage:
    def test_pictures_want_a_page(self, people: Path) -> None:
        assert "--html" in run("evaluate", people, "--pictures", code=2).output

    @pytest.mark.parametrize("threshold", ["2", "often", "nan"])
    def test_no_threshold(self, people: Path, threshold: str) -> None:
        assert "--threshold" in run("evaluate", people, "--threshold", threshold, code=2).output

    def test_a_model_that_is_not_traced(self, people: Path) -> None:
        words = ("evaluate", people, "--repository", MODELS, "--model", "facenet-vggface2")
        assert "facenet-vggface2 is not traced" in run(*words, code=1).output
