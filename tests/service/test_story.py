"""The demonstration of the README, by the command line, with a restart in the middle."""

from __future__ import annotations

import json
import os
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
from PIL import Image

from serving.stack.config import StackSettings

FACES = [sys.executable, "-m", "serving"]
PORT = 16000
URL = f"http://127.0.0.1:{PORT}"


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
def up(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`faces up`, until it says that it is up; interrupted at the end."""
    process = subprocess.Popen(
        [*FACES, "up", "--port", str(PORT), "--folder", str(folder)],
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


def test_a_stranger_becomes_known_and_stays_known(tmp_path: Path, data: Path) -> None:
    probe, folder = data / "id_is_2576.jpg", tmp_path / "run"
    with up(folder):
        assert "ready" in faces("status")
        assert "1000 people are imported" in faces(
            "import", data / "gallery", "--config", folder / "serve.yaml"
        )

        (face,) = who_is(probe)["faces"]
        assert face["id"] is None
        assert face["candidates"][0]["confidence"] < 0.3

        assert "1 of 1 people" in faces("enroll", data / "2576", "--names", data / "names.json")

        (face,) = who_is(probe, "--save", tmp_path / "who.png")["faces"]
        assert face["id"] == 2576
        assert face["confidence"] > 0.9
        assert face["box"] == pytest.approx([222, 153, 502, 529], abs=4)
        with Image.open(tmp_path / "who.png") as drawn, Image.open(probe) as photo:
            assert drawn.size == photo.size
        assert "2576" in faces("infer", probe)

        # A second stack in the same folder would ruin its data.
        again = faces("up", "--port", "16500", "--folder", folder, code=1)
        assert "running" in again
        taken = faces("up", "--port", str(PORT), "--folder", tmp_path / "other", code=1)
        assert f"Port {PORT} (HTTP) is taken" in taken

    assert "No service answers" in faces("status", code=1)

    start = time.monotonic()
    with up(folder):
        took = time.monotonic() - start
        (face,) = who_is(probe)["faces"]
        assert face["id"] == 2576
        assert who_is(probe)["gallery_version"] == 2
        assert "4 of 4 people" in faces("enroll", data / "people", "--names", data / "names.json")
        named = {f["name"] for f in who_is(data / "group.jpg")["faces"]}
        assert named == {"Jacinda Ardern", "Emmanuel Macron", "Barack Obama", "Eileen Collins"}
    assert took < 120
