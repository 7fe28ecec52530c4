"""Finds leftovers of photos in a stack: in Ray's object store, and on disk.

Every photo of `mixed` carries marks that identify its file and its pixels.
"""

from __future__ import annotations

import base64
import io
import itertools
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from serving.stack.process import Process
from serving.stack.serve import metrics_port
from tests.support import images
from tests.support.load import descendants

# A mark in every file, after the data that a decoder reads; and a row of pixels that no format
# changes.
FILE_MARK = b"photo-of-the-tests:9b1d4a62c7e85f03"
_ROW = np.random.default_rng(7).integers(0, 256, (1, 560, 3), np.uint8)
PIXEL_MARK = _ROW[0, :32].tobytes()
# Decoded they are larger than 1 MiB, so Ray does not pass them by value.
_MODERATE, _LARGE = (560, 704), (1600, 2010)
_SMALLEST_FILE = 16 * 2**10  # that might hold a photo
_SAMPLE = re.compile(r"^ray_(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
# Every process reports its metrics every 10 s, and later on a busy machine.
GATHERED_S = 12.0
# After the last request; what was given up is collected until then.
REST_S = 15.0


@dataclass(frozen=True)
class Sent:
    """One request with a photo, and its expected status; None: the client gives up."""

    kind: str
    path: str
    request: Mapping[str, Any] = field(repr=False)
    status: int | None = 200

    def send(self, client: httpx.Client) -> int | None:
        """The status of the answer; None: the client gave up. One that does not is sent again, as
        the service asks for it: those that are given up stay under way for a while."""
        seconds = 60.0 if self.status is not None else 0.05
        try:
            while True:
                answer = client.post(self.path, **self.request, timeout=seconds)
                if answer.status_code != 503 or self.status is None:
                    return answer.status_code
                time.sleep(float(answer.headers["Retry-After"]))
        except httpx.ReadTimeout:
            if self.status is not None:
                raise
            return None


def mixed() -> Iterator[Sent]:
    """Endless requests: files and pixels by reference, forms over 1 MB, refused, given up."""
    jpeg, png, bmp = (_file(_MODERATE, format) for format in ("JPEG", "PNG", "BMP"))
    large = _file(_LARGE, "JPEG")
    # Pillow sees to it that most of a damaged JPEG can be looked at, but not of this.
    damaged = jpeg[:64] + bytes(5 * 2**18) + FILE_MARK
    raw = {"headers": {"Content-Type": "image/jpeg"}}
    form = {"files": {"image": ("photo.bmp", bmp, "image/bmp")}}
    yield from itertools.cycle(
        [
            Sent("JPEG", "/detect", {"content": jpeg, **raw}),
            Sent("PNG", "/detect", {"content": png, **raw}),
            Sent("form of 1.2 MB", "/detect", form),
            Sent("JPEG, to be identified", "/infer", {"content": jpeg, **raw}),
            Sent("damaged, 1.3 MB", "/detect", {"content": damaged, **raw}, 415),
            Sent("JSON", "/detect", {"json": {"image": base64.b64encode(jpeg).decode()}}),
            Sent("form of 1.2 MB, damaged", "/infer", {"files": {"image": damaged}}, 415),
            Sent("large JPEG", "/detect", {"content": large, **raw}),
            Sent("JPEG, given up", "/detect", {"content": jpeg, **raw}, None),
        ]
    )


def _file(size: tuple[int, int], format: str) -> bytes:
    with Image.open(images.PORTRAIT) as portrait:
        pixels = np.array(portrait.convert("RGB").resize(size))
    pixels[:8, : _ROW.shape[1]] = _ROW
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format)
    return out.getvalue() + FILE_MARK


@dataclass(frozen=True)
class ObjectStore:
    """Ray's object store, by its metrics. Serve's controller always holds one object per replica.

    Attributes:
        pinned: objects in use.
        spilled: bytes; Ray reports the number of objects only after the first one.
        used: bytes.
        on_disk: bytes on disk that are used as memory.
    """

    pinned: int
    spilled: int
    used: int
    on_disk: int

    def holds_more(self, before: ObjectStore) -> bool:
        return self.pinned > before.pinned or self.used >= before.used + 2**20


def object_store(port: int) -> ObjectStore:
    """The state at the time when Ray last gathered its metrics; see `GATHERED_S`."""
    page = httpx.get(f"http://127.0.0.1:{metrics_port(port)}/metrics", timeout=30).text
    found: dict[str, float] = {}
    for name, labels, value in _SAMPLE.findall(page):
        state = re.search(r'State="(\w+)"', labels)
        found[f"{name} {state[1]}" if state else name] = float(value)
    return ObjectStore(
        pinned=int(found["spill_manager_objects Pinned"]),
        spilled=int(found["spill_manager_objects_bytes Spilled"]),
        used=int(found["object_store_used_memory"]),
        on_disk=int(found["object_store_fallback_memory"]),
    )


def folders(application: Process, stack: Path) -> set[Path]:
    """The folders to which the stack may write: its own, Ray's, and the system's temporary one."""
    environment = Path(f"/proc/{application.pid}/environ").read_text().split("\0")
    rays = next(e.partition("=")[2] for e in environment if e.startswith("RAY_TMPDIR="))
    return {stack, Path(rays), Path(tempfile.gettempdir())}


def photos_on_disk(folders: set[Path], since: float) -> list[Path]:
    """Files that were written since a time (seconds since 1970) and hold a mark."""
    found = []
    for folder in folders:
        for path in files(folder):
            with suppress(OSError):
                info = path.lstat()
                if (
                    stat.S_ISREG(info.st_mode)
                    and info.st_mtime >= since
                    and info.st_size >= _SMALLEST_FILE
                ):
                    data = path.read_bytes()
                    if FILE_MARK in data or PIXEL_MARK in data:
                        found.append(path)
    return found


def files(folder: Path) -> Iterator[Path]:
    """All below it; unlike ``rglob`` it does not mind that folders go meanwhile."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def unlinked(processes: list[Process]) -> set[str]:
    """Open files of the stack on a disk that have no name, so that a listing does not show them."""
    found = set()
    for process in processes:
        for pid in descendants(process.pid) | {process.pid: ""}:
            with suppress(OSError):
                for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                    with suppress(OSError):
                        target = os.readlink(descriptor)
                        if target.endswith(" (deleted)") and target.startswith("/"):
                            found.add(target)
    return {path for path in found if not path.startswith(("/dev/shm/", "/memfd:"))}


def shared_memory(processes: list[Process]) -> dict[Path, int]:
    """Named files in shared memory that the stack has open, and their modes."""
    found: dict[Path, int] = {}
    for process in processes:
        for pid in descendants(process.pid) | {process.pid: ""}:
            with suppress(OSError):
                for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                    with suppress(OSError):
                        path = Path(os.readlink(descriptor))
                        if path.is_relative_to("/dev/shm") and path.exists():
                            found[path] = stat.S_IMODE(path.stat().st_mode)
    return found


def rest() -> None:
    """Wait until Ray has gathered its metrics again."""
    time.sleep(GATHERED_S)


def rested(port: int, before: ObjectStore) -> tuple[ObjectStore, float]:
    """The store as soon as Ray says that it holds no more than before, and the seconds until then.

    If it still does, its state `REST_S` from now.
    """
    began = time.monotonic()
    rest()  # what Ray says at first is older than the last request
    while True:
        after = object_store(port)
        passed = time.monotonic() - began
        if not after.holds_more(before) or passed > REST_S + GATHERED_S:
            return after, passed
        time.sleep(1)
