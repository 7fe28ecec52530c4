"""`faces evaluate-liveness`: what it asks, what it counts, and where it stops."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import FakeService
from tests.unit.cli.shell import Faces

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "liveness.md"


def photos_in(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"\xff\xd8\xff " + name.encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people with three photos, two prints with three, and one photo of a screen."""
    photos_in(tmp_path / "photos" / "bona-fide" / "ada", "1.jpg", "2.jpg")
    photos_in(tmp_path / "photos" / "bona-fide" / "eve", "3.jpg")
    photos_in(tmp_path / "photos" / "attacks" / "print" / "A", "4.jpg", "5.jpg")
    photos_in(tmp_path / "photos" / "attacks" / "print" / "B", "6.jpg")
    photos_in(tmp_path / "photos" / "attacks" / "screen", "7.jpg")
    return tmp_path / "photos"


def face(score: float | None, live: bool | None = None) -> dict[str, Any]:
    if live is None:
        live = score is not None and score >= 0.5
    return {"liveness": {"live": live, "score": score, "reason": None}}


NO_FACE = None


def answers(*scores: float | None) -> list[tuple[Any, ...]]:
    """An answer for each photo, in the order in which they are asked for."""
    return [
        (200, {"faces": [] if score is None else [face(score)], "more_faces": False})
        for score in scores
    ]


def refused(status: int, type_: str, detail: str) -> tuple[int, dict[str, str]]:
    return status, {"type": f"urn:faces:problem:{type_}", "detail": detail}


def row(out: str, start: str) -> list[str]:
    """The cells of the line that begins so."""
    rows = (re.split(r"  +", line.strip()) for line in out.splitlines())
    (found,) = (cells for cells in rows if cells[0] == start)
    return found


def test_the_shares_of_each_species(faces: Faces, service: FakeService, folder: Path) -> None:
    service.answers = answers(0.9, 0.2, 0.8, 0.1, 0.7, NO_FACE, 0.3)
    ended = faces("evaluate-liveness", folder)
    assert ended.code == 0
    assert ended.out.startswith("At the threshold of the service.\n")
    assert row(ended.out, "print")[:3] == ["print", "3", "2"]
    assert row(ended.out, "print")[3].startswith("50.0% (")
    assert row(ended.out, "print")[4].startswith("33.3% (")
    assert row(ended.out, "screen") == [
        *("screen", "1", "1", "0.0% (0.0% to 97.5%)", "0.0% (0.0% to 97.5%)", "97.5%"),
    ]
    assert row(ended.out, "all attacks")[3].startswith("33.3% (")
    assert row(ended.out, "bona fide")[:3] == ["bona fide", "3", "2"]
    assert row(ended.out, "bona fide")[3].startswith("33.3% (")
    assert "Highest APCER, the one that counts: 50.0% (" in ended.out
    # Every attack is refused above 0.7, and one of three people with it.
    assert row(ended.out, "BPCER100")[:3] == ["BPCER100", "1%", "0.70005"]
    assert row(ended.out, "BPCER100")[5].startswith("33.3% (")


def test_each_photo_is_asked_for_once_by_its_largest_face(
    faces: Faces, service: FakeService, folder: Path
) -> None:
    service.body = {"faces": [face(0.4)], "more_faces": True}
    ended = faces("evaluate-liveness", folder)
    assert service.asked == ["POST /infer?max_faces=1"] * 7
    for n in range(1, 8):
        assert b"\xff\xd8\xff %d.jpg" % n in service.bodies[n - 1]
    assert "7 photos with several faces: the largest one counts." in ended.out


def test_a_key_goes_with_them(
    faces: Faces, service: FakeService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACES_KEY", "faces_x")
    service.body = {"faces": [face(0.4)], "more_faces": False}
    faces("evaluate-liveness", folder)
    assert {headers["authorization"] for headers in service.headers} == {"Bearer faces_x"}


def test_another_threshold(faces: Faces, service: FakeService, folder: Path) -> None:
    service.answers = answers(0.9, 0.2, 0.8, 0.1, 0.7, NO_FACE, 0.3)
    ended = faces("evaluate-liveness", folder, "--threshold", "0.75")
    assert ended.out.startswith("At threshold 0.75.\n")
    assert row(ended.out, "print")[3].startswith("0.0% (")
    assert row(ended.out, "bona fide")[3].startswith("33.3% (")


def test_numbers_in_a_file(
    faces: Faces, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    service.answers = answers(0.9, 0.2, 0.8, 0.1, 0.7, NO_FACE, 0.3)
    service.answers[2] = refused(415, "unsupported-image", "This is no image.")
    to = tmp_path / "report.json"
    ended = faces("evaluate-liveness", folder, "--json", to)
    assert ended.out.endswith(f"Written to {to}.\n")
    text = to.read_text()
    body = json.loads(text)
    assert body["schema"] == "faces-presentation-attacks/1.0"
    assert body["species"]["print"]["apcer"]["value"] == 0.5
    assert (body["worst_species"], body["threshold"]) == ("print", None)
    assert body["bona_fide"]["bpcer"]["presentations"] == 2
    assert (body["refused"], body["several_faces"]) == (1, 0)
    assert not {"ada", "jpg", str(folder)} & set(re.split(r"[^\w/-]+", text))


def test_a_file_that_cannot_be_written(
    faces: Faces, service: FakeService, folder: Path, tmp_path: Path
) -> None:
    service.body = {"faces": [face(0.4)], "more_faces": False}
    ended = faces("evaluate-liveness", folder, "--json", tmp_path / "no" / "report.json")
    assert ended.code == 1
    assert "report.json cannot be written: No such file or directory." in ended.err


class TestWithoutScores:
    def test_the_verdicts_are_counted(
        self, faces: Faces, service: FakeService, folder: Path, tmp_path: Path
    ) -> None:
        service.body = {"faces": [face(None, live=True)], "more_faces": False}
        ended = faces("evaluate-liveness", folder, "--json", tmp_path / "report.json")
        assert ended.code == 0
        assert row(ended.out, "print")[3].startswith("100.0% (")
        assert "BPCER100" not in ended.out
        assert "No other thresholds. The service gives this key no scores." in ended.out
        assert json.loads((tmp_path / "report.json").read_text())["operating_points"] is None

    def test_there_is_no_other_threshold(
        self, faces: Faces, service: FakeService, folder: Path
    ) -> None:
        service.body = {"faces": [face(None, live=True)], "more_faces": False}
        ended = faces("evaluate-liveness", folder, "--threshold", "0.5")
        assert (ended.code, ended.out, len(service.asked)) == (1, "", 1)
        assert "--threshold needs scores. The service gives this key no scores." in ended.err


class TestStops:
    @pytest.mark.parametrize("unchecked", [{"liveness": None}, {}])
    def test_a_service_that_checks_nothing(
        self, faces: Faces, service: FakeService, folder: Path, unchecked: dict[str, None]
    ) -> None:
        service.answers = answers(NO_FACE)
        service.body = {"faces": [unchecked], "more_faces": False}
        ended = faces("evaluate-liveness", folder)
        assert (ended.code, ended.out, len(service.asked)) == (1, "", 2)
        assert "The service checks no faces for attacks; set liveness.model." in ended.err

    @pytest.mark.parametrize(
        "refusal",
        [
            refused(401, "unauthorized", "This API key is not valid."),
            refused(403, "forbidden", "This API key may not identify."),
            # Waiting does not help here, so there are no further attempts.
            refused(503, "gallery-corrupt", "The gallery is damaged."),
            (*refused(429, "too-many-requests", "Too often."), {"Retry-After": "100"}),
            (404, {"what": "is this"}),
            (400, b"<html>"),
        ],
    )
    def test_a_refusal_that_the_next_photo_would_get_too(
        self, faces: Faces, service: FakeService, folder: Path, refusal: tuple[Any, ...]
    ) -> None:
        service.answers = [*answers(0.9), refusal]
        service.body = {"faces": [face(0.4)], "more_faces": False}
        ended = faces("evaluate-liveness", folder)
        assert (ended.code, ended.out, len(service.asked)) == (1, "", 2)
        assert "Error: Stopped at bona-fide/ada/2.jpg: " in ended.err
        if isinstance(refusal[1], dict):
            assert refusal[1].get("detail", "Refused.") in ended.err

    def test_not_for_what_passes(self, faces: Faces, service: FakeService, folder: Path) -> None:
        service.answers = [refused(503, "unavailable", "Triton is away.")]
        service.body = {"faces": [face(0.4)], "more_faces": False}
        ended = faces("evaluate-liveness", folder)
        assert (ended.code, len(service.asked)) == (0, 8)

    def test_no_face_in_any_photo_of_a_kind(
        self, faces: Faces, service: FakeService, folder: Path
    ) -> None:
        service.answers = answers(0.9, 0.9, 0.9, NO_FACE, NO_FACE, NO_FACE, NO_FACE)
        ended = faces("evaluate-liveness", folder)
        assert ended.code == 1
        assert f"No photo in {folder / 'attacks'} has a face" in ended.err
        service.answers = answers(NO_FACE, NO_FACE, NO_FACE, 0.1, 0.1, 0.1, 0.1)
        assert f"No photo in {folder / 'bona-fide'} has" in faces("evaluate-liveness", folder).err

    def test_a_folder_that_is_laid_out_otherwise(
        self, faces: Faces, service: FakeService, folder: Path
    ) -> None:
        (folder / "attacks" / "screen" / "7.jpg").unlink()
        ended = faces("evaluate-liveness", folder)
        assert (ended.code, service.asked) == (1, [])
        assert ended.err.startswith(f"Error: There are no photos in {folder}/attacks/screen or")

    @pytest.mark.parametrize("missing", ["numpy", "scipy"])
    def test_beside_the_python_client_alone(self, folder: Path, missing: str) -> None:
        script = (
            f"import sys; sys.modules[{missing!r}] = None\n"
            f"sys.argv = ['faces', 'evaluate-liveness', {str(folder)!r}]\n"
            "from serving.cli import main; main()"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"Error: This command needs {missing}, which is not")


@pytest.mark.parametrize(
    "refusal",
    [
        refused(415, "unsupported-image", "This is no image."),
        refused(413, "too-large", "Too many pixels."),
        refused(400, "bad-request", "The file is empty."),
        (413, b"<html>"),  # of a proxy
    ],
)
def test_a_photo_that_is_refused_is_in_no_share(
    faces: Faces, service: FakeService, folder: Path, refusal: tuple[Any, ...]
) -> None:
    service.answers = answers(0.9, 0.2, 0.8, 0.1, 0.7, NO_FACE, 0.3)
    service.answers[4] = refusal
    ended = faces("evaluate-liveness", folder)
    assert ended.code == 0
    first, second = ended.out.splitlines()[:2]
    assert first == "The service refused 1 photo; not counted:"
    assert second.startswith("attacks/print/A/5.jpg: ")
    assert row(ended.out, "print")[1:4] == ["2", "2", "0.0% (0.0% to 97.5%)"]


def test_a_species_without_a_face_is_said(faces: Faces, service: FakeService, folder: Path) -> None:
    service.answers = answers(0.9, 0.2, 0.8, 0.1, 0.7, 0.1, NO_FACE)
    ended = faces("evaluate-liveness", folder)
    assert ended.code == 0
    assert row(ended.out, "screen")[3] == "- (no response)"
    assert "Not in it, as none of its photos has a face: screen." in ended.out


def test_attacks_that_no_threshold_refuses(
    faces: Faces, service: FakeService, folder: Path
) -> None:
    service.answers = answers(0.9, 0.2, 0.8, 0.1, 1.0, 0.2, 0.1)
    ended = faces("evaluate-liveness", folder)
    assert row(ended.out, "BPCER5")[1:] == ["20%", "none up to 1", "-", "-", "-"]


def test_other_files_and_names_reach_the_terminal_as_text(
    faces: Faces, service: FakeService, folder: Path
) -> None:
    (folder / "attacks" / "\x1b[2J\u202e[bold]").mkdir()
    photos_in(folder / "attacks" / "\x1b[2J\u202e[bold]", "\x1b[31m.jpg", "8.jpg")
    (folder / "bona-fide" / "notes.txt").touch()
    service.answers = [*answers(0.1, 0.1, 0.1), *[refused(415, "unsupported-image", "No.")]]
    service.body = {"faces": [face(0.9)], "more_faces": False}
    ended = faces("evaluate-liveness", folder)
    assert ended.code == 0
    assert "1 file was passed over: 1 .txt." in ended.err
    for text in (ended.out, ended.err):
        assert all(c.isprintable() or c == "\n" for c in text)
    assert "?[31m.jpg: No." in ended.out
    assert row(ended.out, "?[2J?[bold]")[1] == "1"


def test_the_example_of_the_document(
    faces: Faces, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 people, and 30 prints, 20 screens and 3 masks, with made-up scores."""
    monkeypatch.setenv("COLUMNS", "115")
    made_up = random.Random(11)

    def scores(sources: int, mean: float) -> list[float]:
        drawn = []
        for own in [made_up.gauss(mean, 0.12) for _ in range(sources)]:
            drawn += [min(max(made_up.gauss(own, 0.08), 0), 1) for _ in range(10)]
        return [round(score, 4) for score in drawn]

    photos = tmp_path / "photos"
    for kind, sources in (("bona-fide", 40), *KINDS.items()):
        for n in range(sources):
            photos_in(photos / kind / f"{n:02}", *(f"{k}.jpg" for k in range(10)))
    people, masks, prints, screens = (
        scores(40, 0.85),
        scores(3, 0.4),
        scores(30, 0.1),
        scores(20, 0.25),
    )
    service.answers = answers(*people, *masks, *prints, *screens)
    service.answers[7] = service.answers[500] = answers(NO_FACE)[0]
    ended = faces("evaluate-liveness", photos)
    assert ended.code == 0
    shown = "\n".join(f"    {line}".rstrip() for line in ended.out.splitlines())
    assert shown in DOCUMENT.read_text(), ended.out


KINDS = {"attacks/mask": 3, "attacks/print": 30, "attacks/screen": 20}
