"""The command line: exit codes 0, 1 and 2, and sentences instead of tracebacks."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from serving.cli import root
from serving.operations import folders
from tests.support.service import FakeService, fake_service


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Faces = Callable[..., Ended]


@pytest.fixture
def faces(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Faces:
    """Runs the command as a shell would."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["faces", *map(str, arguments)])
        code: object = 0
        try:
            root.main()
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ended(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    with fake_service() as running:
        monkeypatch.setenv("FACES_URL", running.url)
        yield running


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.new("RGB", (300, 200)).save(path)
    return path


def answer(*people: dict[str, Any]) -> dict[str, Any]:
    return {"faces": list(people), "model": "facenet-test@0123456789ab", "gallery_version": 17}


def person(id_: int | None, name: str | None = None) -> dict[str, Any]:
    known = id_ is not None
    return {
        "id": id_,
        "name": name,
        "confidence": 0.98 if known else None,
        "similarity": 0.75 if known else None,
        "box": [10, 60, 110, 160],
        "candidates": [{"id": 7, "name": name, "similarity": 0.75, "confidence": 0.98}],
    }


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("identify",),
            ("infer",),
            ("infer", "no-such-photo.jpg"),
            ("enroll", "no-such-folder"),
            ("up", "--port", "http"),
            ("up", "--port", "80"),
            ("up", "--port", "65535"),  # the ports after it do not exist
            ("status", "--verbose"),
        ],
    )
    def test_wrong_usage(self, faces: Faces, arguments: tuple[str, ...]) -> None:
        ended = faces(*arguments)
        assert ended.code == 2
        assert "Usage: " in ended.err

    @pytest.mark.parametrize("command", ["up", "enroll", "import", "infer", "status"])
    def test_every_command_explains_itself(self, faces: Faces, command: str) -> None:
        ended = faces(command, "-h")
        assert ended.code == 0
        assert f" {command} [OPTIONS]" in ended.out


class TestInfer:
    def test_a_table(self, faces: Faces, service: FakeService, photo: Path) -> None:
        service.body = answer(person(7, "Ada"), person(None))
        ended = faces("infer", photo, "--top-k", 2)
        assert ended.code == 0
        assert service.asked == ["POST /infer?top_k=2"]
        known, stranger = (line for line in ended.out.splitlines() if "10 60 110 160" in line)
        assert known.split() == "7 Ada 0.75 98% 10 60 110 160 7 0.75 98%".split()  # noqa: SIM905
        assert stranger.split() == "unknown 10 60 110 160 7 0.75 98%".split()  # noqa: SIM905
        assert "facenet-test@0123456789ab, gallery version 17" in ended.out

    @pytest.mark.parametrize("name", ["[bold]Ada", "Ada [/]", ":smiley:", "Ада", "[link=x]"])
    def test_a_name_is_shown_as_it_is(
        self, faces: Faces, service: FakeService, photo: Path, name: str
    ) -> None:
        service.body = answer(person(7, name))
        assert name in faces("infer", photo).out

    def test_no_face(self, faces: Faces, service: FakeService, photo: Path) -> None:
        service.body = answer()
        assert "No face in this photo." in faces("infer", photo).out

    def test_nobody_enrolled(self, faces: Faces, service: FakeService, photo: Path) -> None:
        service.body = answer({**person(None), "candidates": []})
        assert "nobody is enrolled" in faces("infer", photo).out

    def test_json_is_the_answer_and_nothing_else(
        self, faces: Faces, service: FakeService, photo: Path
    ) -> None:
        service.body = answer(person(7, "[b]Ada"))
        ended = faces("infer", photo, "--json", "--threshold", -1)
        assert service.asked == ["POST /infer?threshold=-1.0"]
        assert json.loads(ended.out) == service.body

    def test_a_copy_with_boxes(
        self, faces: Faces, service: FakeService, photo: Path, tmp_path: Path
    ) -> None:
        service.body = answer(person(7))
        assert faces("infer", photo, "--save", tmp_path / "b.jpg").code == 0
        with Image.open(tmp_path / "b.jpg") as saved:
            assert saved.size == (300, 200)

    @pytest.mark.parametrize("save", ["gone/b.jpg", "b.odd"])
    def test_a_copy_that_cannot_be_written(
        self, faces: Faces, service: FakeService, photo: Path, tmp_path: Path, save: str
    ) -> None:
        service.body = answer(person(7))
        ended = faces("infer", photo, "--save", tmp_path / save)
        assert ended.code == 1
        assert "cannot be written" in ended.err

    def test_a_refusal(self, faces: Faces, service: FakeService, photo: Path) -> None:
        service.status, service.body = 415, {"detail": "This is no image."}
        assert faces("infer", photo) == Ended(1, "", "Error: This is no image.\n")

    def test_nobody_answers(self, faces: Faces, photo: Path) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            ended = faces("infer", photo, "--url", url)
        assert ended.code == 1
        assert ended.err.startswith(f"Error: No service answers at {url}")


class TestStatus:
    def test_ready(self, faces: Faces, service: FakeService) -> None:
        gallery = {"loaded": True, "version": 3, "people": 2, "photos": 5, "problem": None}
        service.body = {"ready": True, "checks": {"triton": "ok", "gallery": gallery}}
        assert faces("status") == Ended(
            0, "triton: ok\ngallery: version 3, 2 people, 5 photos\nready\n", ""
        )

    def test_not_ready(self, faces: Faces, service: FakeService) -> None:
        gallery = {"loaded": False, "version": 0, "people": 0, "photos": 0, "problem": "Away."}
        service.status = 503
        service.body = {"ready": False, "checks": {"triton": "ok", "gallery": gallery}}
        assert faces("status") == Ended(1, "triton: ok\ngallery: not loaded Away.\nnot ready\n", "")


def report(*used: bool) -> dict[str, Any]:
    return {"images": [{"used": u, "reason": None if u else "No face was found."} for u in used]}


NO_FACE = (422, {"detail": "No photo is usable.", **report(False, False)})


class TestEnroll:
    @pytest.fixture(autouse=True)
    def _two_photos_a_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(folders, "_BATCH_PHOTOS", 2)

    @staticmethod
    def folder(tmp_path: Path, **people: int) -> Path:
        for id_, photos in people.items():
            (tmp_path / "people" / id_[1:]).mkdir(parents=True)
            for n in range(photos):
                (tmp_path / "people" / id_[1:] / f"{n}.jpg").write_bytes(b"photo")
        return tmp_path / "people"

    @staticmethod
    def modes(service: FakeService) -> list[str]:
        return ["append" if b"append" in body else "replace" for body in service.bodies]

    def test_people_with_names(self, faces: Faces, service: FakeService, tmp_path: Path) -> None:
        service.body = report(True)
        (tmp_path / "names.json").write_text('{"7": "Ada"}')
        folder = self.folder(tmp_path, p7=1, p8=1)
        ended = faces("enroll", folder, "--names", tmp_path / "names.json")
        assert ended.code == 0
        assert ended.out == "2 of 2 people are enrolled.\n"
        assert [b"Ada" in body for body in service.bodies] == [True, False]

    def test_many_photos_of_one_person_add_up(
        self, faces: Faces, service: FakeService, tmp_path: Path
    ) -> None:
        service.answers = [
            (200, report(True, True)),
            (200, report(True, False)),
            (200, report(True)),
        ]
        ended = faces("enroll", self.folder(tmp_path, p7=5))
        assert ended.code == 0
        assert self.modes(service) == ["replace", "append", "append"]
        (told,) = (line for line in ended.err.splitlines() if "not used" in line)
        assert told.endswith("3.jpg: not used. No face was found.")

    def test_the_first_usable_batch_replaces(
        self, faces: Faces, service: FakeService, tmp_path: Path
    ) -> None:
        service.answers = [NO_FACE, (200, report(True, True)), NO_FACE]
        ended = faces("enroll", self.folder(tmp_path, p7=6))
        assert ended.code == 0
        assert self.modes(service) == ["replace", "replace", "append"]
        assert "7: No photo is usable. No face was found." in ended.err

    def test_appending_appends_from_the_first_on(
        self, faces: Faces, service: FakeService, tmp_path: Path
    ) -> None:
        service.answers = [NO_FACE, (200, report(True, True))]
        assert faces("enroll", self.folder(tmp_path, p7=4), "--append").code == 0
        assert self.modes(service) == ["append", "append"]

    @pytest.mark.parametrize("append", [(), ("--append",)])
    def test_who_has_no_usable_photo_is_told_and_the_others_are_enrolled(
        self, faces: Faces, service: FakeService, tmp_path: Path, append: tuple[str, ...]
    ) -> None:
        service.answers = [NO_FACE, (200, report(True))]
        ended = faces("enroll", self.folder(tmp_path, p7=1, p8=1), *append)
        assert ended.code == 1
        assert "7: No photo is usable. No face was found." in ended.err
        assert ended.out == "1 of 2 people are enrolled.\n"

    def test_a_service_that_fails_half_way_is_no_success(
        self, faces: Faces, service: FakeService, tmp_path: Path
    ) -> None:
        service.answers = [(200, report(True, True)), (503, {"detail": "The store is away."})]
        ended = faces("enroll", self.folder(tmp_path, p7=4))
        assert ended.code == 1
        assert "7: The store is away." in ended.err

    def test_conflicts_are_told_by_the_photo(
        self, faces: Faces, service: FakeService, tmp_path: Path
    ) -> None:
        told = {"similarity": 0.81, "confidence": 0.99}
        eve = {"type": "already-enrolled", "images": [1], "id": 5, "name": "Eve", **told}
        other = {"type": "other-person", "images": [0], "id": None, "name": None, **told}
        service.answers = [
            (200, {**report(True, True), "conflicts": [eve]}),
            (409, {"detail": "They contradict.", "conflicts": [other]}),
        ]
        ended = faces("enroll", self.folder(tmp_path, p7=2, p8=1))
        assert ended.code == 1
        assert "7/1.jpg: shows somebody who is enrolled already, as 5 (Eve)" in ended.err
        assert "8/0.jpg: seems to show somebody else than the other photos" in ended.err
        assert "8: They contradict." in ended.err

    @pytest.mark.parametrize("force", [True, False])
    def test_force_is_asked_for(
        self, faces: Faces, service: FakeService, tmp_path: Path, force: bool
    ) -> None:
        service.body = report(True)
        assert faces("enroll", self.folder(tmp_path, p7=1), *["--force"] * force).code == 0
        assert (b'name="force"\r\n\r\ntrue' in service.bodies[0]) is force

    def test_a_folder_without_people(self, faces: Faces, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        ended = faces("enroll", tmp_path / "empty")
        assert ended.code == 1
        assert ended.err.startswith("Error: There are no photos in ")


def test_importing_by_a_wrong_configuration(faces: Faces, tmp_path: Path) -> None:
    (tmp_path / "serve.yaml").write_text("applications: []")
    (tmp_path / "x.safetensors").touch()
    ended = faces("import", tmp_path / "x.safetensors", "--config", tmp_path / "serve.yaml")
    assert ended.code == 1
    assert "serve.yaml is no serveConfigV2 of this service" in ended.err


class TestUp:
    @pytest.fixture(autouse=True)
    def _signals(self) -> Iterator[None]:
        kept = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        yield
        for number, handler in kept.items():
            signal.signal(number, handler)

    def test_a_port_that_is_taken(self, faces: Faces, tmp_path: Path) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            ended = faces("up", "--port", port, "--folder", tmp_path)
        assert ended.code == 1
        assert f"Port {port} (HTTP) is taken" in ended.err
        assert not (tmp_path / "logs").exists()  # nothing was started

    def test_wrong_settings(self, faces: Faces, tmp_path: Path) -> None:
        (tmp_path / "args.yaml").write_text("tritn: {}")
        ended = faces("up", "--args", tmp_path / "args.yaml", "--folder", tmp_path / "run")
        assert ended.code == 1
        assert "tritn" in ended.err
        assert not (tmp_path / "run").exists()
