"""The demonstration of the README, by the command line, and a service through its life: another
model and back, a restart with other settings, and its end under load."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from serving.gallery import Gallery
from serving.gallery.location import locate
from serving.gallery.s3 import connect
from serving.settings import GallerySettings
from serving.stack import s3
from serving.stack.config import BUCKET, StackSettings
from serving.stack.credentials import credentials
from serving.stack.process import LOOPBACK
from serving.stack.run import running
from tests.service import another_model
from tests.support.load import Row, alive, descendants, loaded, wait_until
from tests.support.seaweed import kill

FACES = [sys.executable, "-m", "serving"]
PORT = 16000
URL = f"http://127.0.0.1:{PORT}"
# Of the last start; small, so that it ends soon under load.
SETTINGS: dict[str, Any] = {
    "limits": {"timeout_s": 8.0, "max_in_flight": 24},
    "scale": {
        stage: {"graceful_shutdown_timeout_s": 2}
        for stage in ("ingress", "decode", "detect", "match")
    },
}


def faces(*args: str | Path, code: int = 0) -> str:
    done = subprocess.run(
        [*FACES, *map(str, args)],
        env={**os.environ, "FACES_URL": URL},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextmanager
def up(folder: Path, *options: str | Path) -> Iterator[subprocess.Popen[str]]:
    """`faces up`, until it says that it is up; interrupted at the end."""
    process = subprocess.Popen(
        [*FACES, "up", "--port", str(PORT), "--folder", str(folder), *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        else:
            pytest.fail(f"faces up ended: {''.join(said)}")
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert "Stopped." in process.stdout.read()
        assert left_running(folder) == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def left_running(folder: Path) -> list[str]:
    """What still listens on the stack's ports or works in its folder."""
    settings = StackSettings(folder=folder, port=PORT)
    ports = [*range(PORT, PORT + 20), *range(settings.inner_port, settings.inner_port + 10)]
    left = []
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                left.append(f"port {port}")
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            text = command.read_bytes().decode(errors="replace")
            if str(folder) in text:
                left.append(text)
    return left


def who_is(photo: Path, *options: str | Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(faces("infer", photo, "--json", *options))
    return answer


@pytest.fixture
def photos(tmp_path: Path, data: Path) -> Path:
    """A folder for each person."""
    folder = tmp_path / "photos"
    shutil.copytree(data / "people", folder)
    shutil.copytree(data / "2576", folder / "2576")
    return folder


@pytest.mark.timeout(600)
def test_a_stranger_becomes_known_and_stays_known(
    tmp_path: Path, data: Path, photos: Path, rows: list[Row]
) -> None:
    # Names of folders are the user's, and three servers of others read them.
    folder, settings = tmp_path / 'Jo\'s #1, 100% "run"?', tmp_path / "args.yaml"
    settings.write_text(yaml.safe_dump(SETTINGS))
    (tmp_path / "triton").mkdir()
    with another_model.repository(tmp_path / "triton") as repository:
        migration = another_model.Migration(folder, repository, photos)
        with up(folder):
            a_stranger_becomes_known(data, folder, tmp_path)
            no_second_stack_starts(folder, tmp_path)
            people = another_model.migrate_while_the_old_one_serves(
                URL, migration, tmp_path / "second"
            )
        assert "No service answers" in faces("status", code=1)

        new = StackSettings(folder, PORT, another_model.NEW, repository)
        with running(new):
            another_model.everybody_is_known_under(another_model.NEW, URL, people)

    start = time.monotonic()
    with up(folder, "--args", settings) as service:
        assert time.monotonic() - start < 120
        another_model.everybody_is_known_under(another_model.OLD, URL, people)
        who_was_known_still_is(data)
        row = it_is_stopped_under_load(service, folder, data)
    rows.append(row)
    assert row.lost == 0


def a_stranger_becomes_known(data: Path, folder: Path, drawings: Path) -> None:
    probe = data / "id_is_2576.jpg"
    assert "ready" in faces("status")
    assert "1000 people are imported" in faces(
        "import", data / "gallery", "--config", folder / "serve.yaml"
    )

    (face,) = who_is(probe)["faces"]
    assert face["id"] is None
    assert face["candidates"][0]["confidence"] < 0.3

    assert "1 of 1 people" in faces("enroll", data / "2576", "--names", data / "names.json")

    (face,) = who_is(probe, "--save", drawings / "who.png")["faces"]
    assert face["id"] == 2576
    assert face["confidence"] > 0.9
    assert face["box"] == pytest.approx([222, 153, 502, 529], abs=4)
    with Image.open(drawings / "who.png") as drawn, Image.open(probe) as photo:
        assert drawn.size == photo.size
    assert "2576" in faces("infer", probe)


def no_second_stack_starts(folder: Path, elsewhere: Path) -> None:
    """In the same folder it would ruin the other one's data."""
    again = faces("up", "--port", "16500", "--folder", folder, code=1)
    assert "running" in again
    taken = faces("up", "--port", str(PORT), "--folder", elsewhere / "other", code=1)
    assert f"Port {PORT} (HTTP) is taken" in taken


def who_was_known_still_is(data: Path) -> None:
    answer = who_is(data / "id_is_2576.jpg")
    (face,) = answer["faces"]
    assert face["id"] == 2576
    assert answer["gallery_version"] == 2
    assert "4 of 4 people" in faces("enroll", data / "people", "--names", data / "names.json")
    named = {f["name"] for f in who_is(data / "group.jpg")["faces"]}
    assert named == {"Jacinda Ardern", "Emmanuel Macron", "Barack Obama", "Eileen Collins"}


def it_is_stopped_under_load(service: subprocess.Popen[str], folder: Path, data: Path) -> Row:
    """SIGTERM, as from a supervisor: what was accepted is answered, and nothing is lost."""
    photos = [(data / "2576" / f"photo_0{n}.jpg").read_bytes() for n in (1, 5)]
    with loaded(URL, photos, itertools.count(1_000_000)) as load:
        load.recovered(time.monotonic(), ("identify", "enrol"), 60)
        family = [service.pid, *descendants(service.pid)]
        time.sleep(2)
        # At this moment some wait for their answers.
        wait_until(lambda: len(load.waiting) >= 3, 30)
        began = time.monotonic()
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0
        ended = time.monotonic()
    assert [pid for pid in family if alive(pid)] == []
    answers = load.between(began, ended)
    accepted = [a for a in answers if a.sent < began]
    assert accepted
    assert [a for a in accepted if a.status != 200] == []
    # Who comes while the door is being closed is not let in, or put out unheard.
    shut = {"ConnectError", "ReadError", "WriteError", "RemoteProtocolError"}
    refused = {a.kind for a in answers if a.status != 200}
    assert refused <= {"503", *(f"no answer {e}" for e in shut)}
    acknowledged = {a.person for a in load.answers if a.what == "enrol" and a.written}
    lost = len(acknowledged - enrolled_in(folder))
    return Row("SIGTERM to the whole stack", ended - began, answers, {}, len(acknowledged), lost)


def enrolled_in(folder: Path) -> set[int]:
    """Whom the bucket holds, read without the service."""
    server = s3.start(folder, folder / "logs" / "again", PORT + 3)
    try:
        server.wait_until(lambda: s3.make_bucket(folder, PORT + 3, BUCKET), 60)
        settings = GallerySettings(bucket=BUCKET, endpoint=f"http://{LOOPBACK}:{PORT + 3}")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in credentials(folder).items():
                patch.setenv(name, value)
            store = connect(settings)
            (location,) = locate(store, settings.prefix, "default")
            gallery = Gallery(store, settings.prefix, location)
            return {person.id for person in gallery.refresh().list(100_000)}
    finally:
        kill(server)
