"""HEIC and AVIF, as phones write them: decoded by `heif_child`, in a process of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from PIL import Image, features

from serving import deadline
from serving.errors import Overloaded, UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.formats import heif_child, opened
from serving.vision.records import Photo

_CPU_SECONDS = 10
# A busy machine makes them longer; a request that nobody waits for any more ends at its deadline.
_WALL_SECONDS = 60.0
# The size of a picture: a box of 20 bytes.
_SIZE = re.compile(rb"\0\0\0\x14ispe\0{4}(.{8})", re.DOTALL)
_NO_ROOM = "There was not enough memory or time here to decode the photo; try again in a moment."
_NAMES = {"HEIC": "HEIC, as iPhones write it", "AVIF": "AVIF"}


def read_heic(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode the main picture of a HEIC, upright; see `read`."""
    return read(data, "HEIC", settings)


def read_avif(data: bytes, settings: DecodeSettings) -> Photo:
    """Decode the main picture of an AVIF, upright; see `read`."""
    return read(data, "AVIF", settings)


def read(data: bytes, format: str, settings: DecodeSettings) -> Photo:
    """Decode the main picture of a file, whatever thumbnails and depth maps lie beside it.

    Raises:
        TimedOut: the deadline came first.
        Overloaded: there was no memory, or no time, for its process.
        UnsupportedImage: damaged, of another codec, or its decoder is not installed.
        TooLarge: see `opened.check_size`.
    """
    if not available(format):
        raise UnsupportedImage(
            f"This is {_NAMES[format]}, which is not read here; send it as JPEG."
        )
    bad = UnsupportedImage(
        f"This is {_NAMES[format]}, but it is damaged or of a rare kind and cannot be decoded; "
        "send it as JPEG."
    )
    # No more than its memory was counted for: see `formats.memory`.
    with _child(format, pixels_told(data, settings.max_pixels)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it ended before: what it wrote says why
            process.stdin.write(data)
            process.stdin.close()
        head = process.stdout.read(heif_child.HEADER.size)
        if len(head) < heif_child.HEADER.size:
            _check_end(process)
            raise bad
        status, mode, orientation, width, height, size = heif_child.HEADER.unpack(head)
        if status == heif_child.UNREADABLE:
            raise bad
        opened.check_size(width, height, settings.max_pixels)
        name = mode.rstrip(b"\0").decode("ascii", "replace")
        if size != width * height * heif_child.SAMPLES.get(name, 0) or not size:
            raise bad
        pixels = bytearray(size)
        if not _filled(pixels, process.stdout):
            _check_end(process)
            raise bad
    image = Image.frombuffer(name, (width, height), pixels, "raw", name, 0, 1)
    return opened.upright(image, opened.orientation_of(orientation))


def pixels_told(data: bytes, most: int) -> int:
    """The pixels of the largest picture in a HEIC or AVIF, and no more than ``most``, which stands
    also for a file that tells none."""
    sizes = (struct.unpack(">II", found[1]) for found in _SIZE.finditer(data))
    return min(most, max((width * height for width, height in sizes), default=most))


def available(format: str) -> bool:
    """Whether this installation has the decoder of "HEIC" or "AVIF"."""
    if format == "AVIF":
        return bool(features.check("avif"))
    return importlib.util.find_spec("pi_heif") is not None


@contextmanager
def _child(format: str, most_pixels: int) -> Iterator[subprocess.Popen[bytes]]:
    # Of the environment only what Python needs: no credentials.
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment = {
        **kept,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "MALLOC_ARENA_MAX": "1",  # each arena reserves 64 MiB of address space
    }
    numbers = (str(most_pixels), str(_CPU_SECONDS))
    command = [sys.executable, "-m", heif_child.__name__, format, *numbers]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        raise Overloaded(_NO_ROOM) from error
    until = deadline.current()
    left = (
        _WALL_SECONDS if until is None else min(_WALL_SECONDS, max(0.0, until - time.monotonic()))
    )
    end = threading.Timer(left, process.kill)
    end.daemon = True
    end.start()
    try:
        with process:
            try:
                yield process
            finally:
                process.kill()
    finally:
        end.cancel()


def _check_end(process: subprocess.Popen[bytes]) -> None:
    """Return if the photo is why the process ended: its decoder crashed, or its limits ended it.

    Raises:
        TimedOut: the deadline came first.
        Overloaded: it was killed; by the kernel, when memory ended, or after `_WALL_SECONDS`.
    """
    ended = process.wait()
    deadline.check()
    if ended == -signal.SIGKILL:
        raise Overloaded(_NO_ROOM)


def _filled(buffer: bytearray, source: IO[bytes]) -> bool:
    """Read until the buffer is full; False: the source ended before."""
    view, at = memoryview(buffer), 0
    while at < len(buffer):
        count = source.readinto(view[at:])  # type: ignore[attr-defined]
        if not count:
            return False
        at += count
    return True
