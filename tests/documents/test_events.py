"""The receiver in docs/events.md checks signatures, and what the page says of settings is true."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.events.event import TYPES
from serving.events.receiver import Outcome, Receiver
from serving.settings import EventSettings
from tests.support.events import made, settings
from tests.support.webhooks import SECRET

PAGE = (Path(__file__).resolve().parents[2] / "docs/events.md").read_text()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def example() -> str:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert f'SECRET = "{SECRET}"' in code
    return str(code)


def test_the_receiver_takes_what_is_signed_and_refuses_the_rest(
    example: str, tmp_path: Path, free_port: int
) -> None:
    file = tmp_path / "receiver.py"
    file.write_text(example.replace("9000", str(free_port)))
    url = f"http://127.0.0.1:{free_port}/"
    with subprocess.Popen([sys.executable, file], stdout=subprocess.PIPE, text=True) as process:
        try:
            with closing(Receiver(settings(tmp_path, url))) as receiver:
                until = time.monotonic() + 20
                while receiver.send(made(7)) != Outcome("delivered"):
                    assert time.monotonic() < until
                    time.sleep(0.05)
                assert receiver.send(made(7)) == Outcome("delivered")
                assert receiver.send(made(8)) == Outcome("delivered")
            other = settings(tmp_path, url)
            Path(str(other.key_file)).write_text("another key of 32 characters or more")
            with closing(Receiver(other)) as receiver:
                assert receiver.send(made(9)) == Outcome("away", "status 401")
            with closing(Receiver(settings(tmp_path, url), clock=lambda: 1e9)) as receiver:
                assert receiver.send(made(9)) == Outcome("away", "status 401")
            assert httpx.post(url, content=b"{}").status_code == 401
        finally:
            process.terminate()
        assert process.stdout is not None
        told = process.stdout.read().splitlines()
    assert [line.split()[:2] for line in told] == [
        ["faces.person.enrolled", "7"],
        ["faces.person.enrolled", "8"],
    ]


def test_the_page_has_every_type_and_every_setting() -> None:
    assert [kind for kind in TYPES.values() if f"`{kind}`" not in PAGE] == []
    table = PAGE.split("## What to set")[1].split("## The events")[0]
    assert [name for name in EventSettings.model_fields if f"`{name}`" not in table] == []


@pytest.mark.parametrize(
    "name", ["timeout_s", "max_age_s", "poll_s", "flush_s", "buffer_events", "prefix"]
)
def test_the_defaults_are_those_of_the_page(name: str) -> None:
    default: Any = EventSettings.model_fields[name].default
    assert f"| `{name}` | {default} |" in PAGE
