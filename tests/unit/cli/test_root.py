"""The command line: exit codes 0, 1 and 2, and sentences instead of tracebacks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from serving.cli import cli
from serving.cli.terminal import Integer, Number, print_table
from tests.support.commands import children
from tests.support.service import FakeService
from tests.unit.cli.shell import Ended, Faces


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


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in children(group):
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = list(commands(cli))
OPTIONS = [
    (path, option)
    for path, command in COMMANDS
    for option in command.params
    if isinstance(option, click.Option)
]


class TestOptions:
    """Every option of every command."""

    @pytest.mark.parametrize(("path", "option"), OPTIONS, ids=str)
    def test_twice(self, faces: Faces, path: tuple[str, ...], option: click.Option) -> None:
        once = [option.opts[0]] if option.is_flag else [option.opts[0], "1"]
        ended = faces(*path, *once, *once)
        if option.multiple:
            assert "twice" not in ended.err
        else:
            assert ended.code == 2
            assert f"{option.opts[0]} is given twice." in ended.err

    @pytest.mark.parametrize(("path", "option"), OPTIONS, ids=str)
    def test_in_capitals(self, faces: Faces, path: tuple[str, ...], option: click.Option) -> None:
        ended = faces(*path, option.opts[0].upper())
        assert ended.code == 2
        assert f"No such option '{option.opts[0].upper()}'" in ended.err
        assert option.opts[0] in ended.err.partition("No such option")[2]

    @pytest.mark.parametrize(
        ("path", "option"),
        [(p, o) for p, o in OPTIONS if isinstance(o.type, click.IntRange | click.FloatRange)],
        ids=str,
    )
    @pytest.mark.parametrize("spelling", ["01", "+1", " 1", "1_0", "true", '"1"', "１", "1.", ""])
    def test_numbers(
        self, faces: Faces, path: tuple[str, ...], option: click.Option, spelling: str
    ) -> None:
        ended = faces(*path, option.opts[0], spelling, *["7"] * 3)
        assert ended.code == 2
        assert f"Invalid value for '{option.opts[0]}'" in ended.err
        assert "is not a valid" in ended.err

    def test_all_numbers_are_of_these_types(self) -> None:
        for path, command in COMMANDS:
            for parameter in command.params:
                usual = isinstance(
                    parameter.type, click.types.IntParamType | click.types.FloatParamType
                )
                assert not usual or isinstance(parameter.type, Integer | Number), path

    @pytest.mark.parametrize("spelling", ["01", "+1", " 1", "1.0", "1_0", "1e1", "true", "１"])
    def test_an_id(self, faces: Faces, spelling: str) -> None:
        ended = faces("gallery", "erase", spelling, "--yes")
        assert ended.code == 2
        assert "is not a valid integer" in ended.err


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

    @pytest.mark.parametrize("command", ["up", "enroll", "infer", "status"])
    def test_every_command_explains_itself(self, faces: Faces, command: str) -> None:
        ended = faces(command, "-h")
        assert ended.code == 0
        assert f" {command} [OPTIONS]" in ended.out

    def test_what_can_be_imported(self, faces: Faces) -> None:
        ended = faces("import", "-h")
        assert ended.code == 0
        assert " import PATH | COMMAND" in ended.out
        assert "compreface " in ended.out


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

    def test_a_face_that_is_too_poor_to_say(
        self, faces: Faces, service: FakeService, photo: Path
    ) -> None:
        reasons = [{"gate": "pixelated", "reason": "The face is pixelated."}]
        quality = {"sufficient": False, "reasons": reasons}
        service.body = answer({**person(None), "candidates": [], "quality": quality})
        ended = faces("infer", photo).out
        assert "too poor" in ended
        assert "pixelated" in ended

    def test_an_attack(self, faces: Faces, service: FakeService, photo: Path) -> None:
        attack = {"live": False, "score": None, "reason": "The face is taken for a picture."}
        reasons = [{"gate": "pixelated", "reason": "The face is pixelated."}]
        quality = {"sufficient": False, "reasons": reasons}
        nobody = {**person(None), "candidates": [], "quality": quality}
        service.body = answer({**nobody, "liveness": attack})
        (line,) = (x for x in faces("infer", photo).out.splitlines() if "10 60 110 160" in x)
        # A better photo of the print would be no better.
        told = "not live 10 60 110 160 The face is taken for a picture."
        assert line.split() == told.split()

    @pytest.mark.parametrize("checked", [None, {"live": True, "score": 0.9, "reason": None}])
    def test_a_live_face_and_one_that_was_not_checked_are_no_attacks(
        self,
        faces: Faces,
        service: FakeService,
        photo: Path,
        checked: dict[str, Any] | None,
    ) -> None:
        service.body = answer({**person(None), "liveness": checked})
        ended = faces("infer", photo)
        assert ended.code == 0
        assert "unknown" in ended.out
        assert "not live" not in ended.out

    def test_a_face_between_two_people(
        self, faces: Faces, service: FakeService, photo: Path
    ) -> None:
        pair = [
            {"id": n, "name": name, "similarity": s, "confidence": 0.9}
            for n, name, s in ((7, "Ada", 0.75), (8, "Eve", 0.74))
        ]
        service.body = answer({**person(None), "ambiguous": pair})
        lines = faces("infer", photo).out.splitlines()
        (line,) = (line for line in lines if "10 60 110 160" in line)
        assert line.split() == "ambiguous Ada or Eve 10 60 110 160 7 0.75 90%".split()  # noqa: SIM905
        assert any(line.split() == ["8", "0.74", "90%"] for line in lines)
        service.body = answer({**person(7, "Ada"), "ambiguous": pair})
        named = faces("infer", photo).out
        assert "Ada or Eve" in named
        assert "ambiguous" not in named

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

    def test_the_photo_itself_is_not_written_over(
        self, faces: Faces, service: FakeService, photo: Path
    ) -> None:
        before = photo.read_bytes()
        ended = faces("infer", photo, "--save", photo)
        assert (ended.code, service.asked, photo.read_bytes()) == (1, [], before)
        assert "is the photo itself" in ended.err

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

    @pytest.mark.parametrize("url", ["http://faces?x=1", "http://faces#x", "http://me:x@faces"])
    def test_an_address_of_no_service(self, faces: Faces, photo: Path, url: str) -> None:
        ended = faces("infer", photo, "--url", url)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("Error: The address of a service ")


class TestStatus:
    def test_ready(self, faces: Faces, service: FakeService) -> None:
        gallery = {"loaded": True, "version": 3, "people": 2, "photos": 5, "problem": None}
        service.body = {"ready": True, "checks": {"triton": "ok", "gallery": gallery}}
        assert faces("status") == Ended(
            0, "triton: ok\ngallery: version 3, 2 people, 5 photos\nready\n", ""
        )

    @pytest.mark.parametrize(("status", "code"), [(401, 1), (403, 0), (404, 0)])
    def test_a_key_that_is_not_valid(
        self,
        faces: Faces,
        service: FakeService,
        monkeypatch: pytest.MonkeyPatch,
        status: int,
        code: int,
    ) -> None:
        monkeypatch.setenv("FACES_KEY", "faces_other")
        problem = {"type": "urn:faces:problem:x", "detail": "This API key is not valid."}
        service.answers = [(200, {"ready": True, "checks": {"triton": "ok"}}), (status, problem)]
        ended = faces("status")
        assert (ended.code, ended.out) == (code, "triton: ok\nready\n")
        assert ended.err == ("Error: This API key is not valid.\n" if code else "")

    def test_not_ready(self, faces: Faces, service: FakeService) -> None:
        gallery = {"loaded": False, "version": 0, "people": 0, "photos": 0, "problem": "Away."}
        service.status = 503
        service.body = {"ready": False, "checks": {"triton": "ok", "gallery": gallery}}
        assert faces("status") == Ended(1, "triton: ok\ngallery: not loaded Away.\nnot ready\n", "")


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

    def test_a_folder_that_cannot_be_made(self, faces: Faces) -> None:
        ended = faces("up", "--folder", "/proc/faces")
        assert ended.code == 1
        assert ended.err.startswith("Error: The folder /proc/faces cannot be used: ")
        assert "--folder" in ended.err
        assert "Traceback" not in ended.err

    def test_wrong_settings(self, faces: Faces, tmp_path: Path) -> None:
        (tmp_path / "args.yaml").write_text("tritn: {}")
        ended = faces("up", "--args", tmp_path / "args.yaml", "--folder", tmp_path / "run")
        assert ended.code == 1
        assert "tritn" in ended.err
        assert not (tmp_path / "run").exists()


def test_a_key_over_http_to_another_machine_is_warned_of(
    faces: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACES_KEY", "faces_x")
    ended = faces("status", "--url", "http://nowhere.invalid")
    assert ended.code == 1
    assert ended.err.startswith("Warning: The API key goes to nowhere.invalid over http://")


def test_a_disk_without_room_is_said() -> None:
    command = [sys.executable, "-m", "serving", "--version"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: The output cannot be written: No space left on device.\n"


def test_an_interrupt_while_an_error_is_reported_is_no_traceback() -> None:
    """The errors' classes are imported then, which takes a second."""
    code = """
import serving.cli.root as root
def interrupted():
    raise KeyboardInterrupt
root._foreseen = interrupted
root.main()
"""
    command = [sys.executable, "-c", code, "enroll", "/proc/self/fd"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("Aborted!\n")
    assert "Traceback" not in done.stderr


def test_a_name_is_shown_where_the_locale_knows_ascii_alone(
    service: FakeService, photo: Path
) -> None:
    service.body = answer(person(7, "Zoë"))
    command = [sys.executable, "-m", "serving", "infer", str(photo), "--url", service.url]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Zo\\xeb" in done.stdout


_INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "serving.cli.root":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
from serving.cli import main
main()
"""


def test_ctrl_c_while_modules_are_imported_is_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", _INTERRUPTED], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize("columns", ["1", "20", "80"])
def test_a_table_that_is_no_terminals_has_each_row_whole_on_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    name = "Anna Katharina Elisabeth von und zu Hohenlohe-Waldenburg-Schillingsfürst"
    print_table(["id", "name"], [["9223372036854775807", name], ["7", "Ada"]])
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["9223372036854775807", name] in [[part.strip() for part in row] for row in rows]


_WAITING = """
import time
from serving import cli
from serving.cli import root

root.main = lambda: print("waiting", flush=True) or time.sleep(60)
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_container_whose_first_process_it_is_can_be_stopped(number: signal.Signals) -> None:
    if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True).returncode:
        pytest.skip("this account may not make namespaces")
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", _WAITING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"waiting\n"
        # As the kubelet does it, from outside of the container.
        inside = int(Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text())
        os.kill(inside, number)
        try:
            assert first.wait(20) == 128 + number
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(first.pid, signal.SIGKILL)


def test_where_nobody_can_be_asked_nothing_is_done() -> None:
    """With stdin closed, as cron and some supervisors start a command."""
    script = "from serving.cli.terminal import Failed, confirm\n"
    script += "try: confirm('Erase 7?')\nexcept Failed as error: print(error.format_message())"
    # Python's own stdin is None then.
    shell = 'exec "$0" -c "$1" <&-'
    command = ["sh", "-c", shell, sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "Erase 7? Nobody can be asked here; --yes stands for the answer.\n"
