"""HEIC and AVIF: upright, in a process of its own, whose limits hold whatever the file claims."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving import deadline
from serving.errors import Overloaded, TimedOut, TooLarge, UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from serving.vision.formats import heif, kinds
from tests.support import heics, images
from tests.support.images import BLUE, GREEN, GREY, RED, corners, quadrants

SETTINGS = DecodeSettings()
COLOURS: list[tuple[int, ...]] = [RED, GREEN, BLUE, GREY]
DEEP = [f"turned_{n}" for n in range(1, 9)] + ["10_bits"]
heic = pytest.mark.skipif(not heif.available("HEIC"), reason="pi-heif is not installed")
avif = pytest.mark.skipif(not heif.available("AVIF"), reason="Pillow is built without AVIF")


def near(pixels: NDArray[np.uint8], wanted: list[tuple[int, ...]] = COLOURS, off: int = 6) -> bool:
    return bool(np.abs(np.array(corners(pixels)) - np.array(wanted)).max() <= off)


@heic
class TestHeic:
    @pytest.mark.parametrize("name", DEEP)
    def test_upright_and_of_8_bits(self, name: str) -> None:
        photo = decode(heics.sample(name), SETTINGS)
        assert (photo.width, photo.height) == (64, 48)
        assert photo.pixels.flags.c_contiguous
        assert near(photo.pixels)

    def test_grey_and_half_transparent(self) -> None:
        grey = decode(heics.sample("grey"), SETTINGS).pixels
        assert np.ptp(grey.astype(int), axis=2).max() == 0
        half = decode(heics.sample("half_transparent"), SETTINGS).pixels
        on_white = [tuple(255 - (255 - v) // 2 for v in colour) for colour in COLOURS]
        assert near(half, on_white)

    @pytest.mark.parametrize("turns", range(4))
    def test_a_grid_of_tiles_as_an_iphone_writes_it(self, turns: int) -> None:
        """With a thumbnail, and an EXIF orientation that is not to be obeyed a second time."""
        photo = decode(heics.iphone(3, 2, turns=turns), SETTINGS)
        plain = decode(heics.iphone(3, 2, exif_orientation=1), SETTINGS)
        assert (plain.width, plain.height) == (192, 128)
        assert np.array_equal(photo.pixels, np.rot90(plain.pixels, turns))

    def test_pixels_are_counted_from_the_header(self) -> None:
        with pytest.raises(TooLarge, match="50 million"):
            decode(heics.iphone(2, 2, told=4096, size=(8192, 8192)), SETTINGS)
        with pytest.raises(TooLarge, match=r"0\.003 million"):
            decode(heics.sample("turned_6"), DecodeSettings(max_pixels=3000))

    def test_frames_that_are_larger_than_the_file_says_get_no_memory(self) -> None:
        flat = heics.Tile.of(heics.sample("flat_4096"))
        with pytest.raises(UnsupportedImage, match="HEIC"):
            decode(heics.iphone(4, 4, tile=flat), SETTINGS)

    def test_work_ends_after_its_seconds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """8 kB that make 4,000 million pixels for a picture of one million."""
        monkeypatch.setattr(heif, "_CPU_SECONDS", 1)
        flat = heics.Tile.of(heics.sample("flat_4096"))
        data = heics.iphone(16, 16, tile=flat, told=4096, size=(1024, 1024))
        assert len(data) < 20_000
        with pytest.raises(UnsupportedImage, match="HEIC"):
            decode(data, SETTINGS)

    def test_work_ends_at_the_deadline(self) -> None:
        flat = heics.Tile.of(heics.sample("flat_4096"))
        data = heics.iphone(16, 16, tile=flat, told=4096, size=(1024, 1024))
        start = time.monotonic()
        with deadline.until(time.monotonic() + 0.5), pytest.raises(TimedOut):
            decode(data, SETTINGS)
        assert time.monotonic() - start < 8

    def test_before_the_deadline_it_is_decoded(self) -> None:
        with deadline.until(time.monotonic() + 30):
            assert near(decode(heics.sample("turned_1"), SETTINGS).pixels)

    def test_cut_and_damaged_ones_are_named(self) -> None:
        data = heics.sample("turned_1")
        for bad in (data[:20], data[:300], data[:-20], data[:200] + bytes(100) + data[300:]):
            with pytest.raises(UnsupportedImage, match="HEIC, as iPhones write it, but"):
                decode(bad, SETTINGS)


@avif
class TestAvif:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_upright(self, orientation: int) -> None:
        photo = decode(images.turned(quadrants(), orientation, "AVIF"), SETTINGS)
        assert (photo.width, photo.height) == (64, 48)
        assert near(photo.pixels, off=12)

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    def test_modes(self, mode: str) -> None:
        image = quadrants().convert(mode)
        pixels = decode(heics.avif(image, quality=95), SETTINGS).pixels
        assert near(pixels, corners(np.asarray(image.convert("RGB"))), off=8)

    def test_of_an_animation_the_first_frame(self) -> None:
        other = Image.new("RGB", (64, 48), GREY)
        data = heics.avif(quadrants(), save_all=True, append_images=[other, other])
        assert near(decode(data, SETTINGS).pixels, off=12)

    def test_limits(self) -> None:
        data = heics.avif(quadrants())
        with pytest.raises(TooLarge):
            decode(data, DecodeSettings(max_pixels=3000))
        with pytest.raises(UnsupportedImage, match="AVIF, but"):
            decode(data[: len(data) // 2], SETTINGS)


def test_without_its_decoder_the_refusal_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "available", lambda format: False)
    for data, name in ((heics.sample("grey"), "HEIC, as iPhones write it"), (b"", "AVIF")):
        data = data or heics.box(b"ftyp", b"avif", bytes(4), b"mif1")
        with pytest.raises(UnsupportedImage, match=f"This is {name}, which is not read here"):
            decode(data, SETTINGS)


@avif
def test_the_process_gets_no_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen: list[dict[str, Any]] = []
    start = subprocess.Popen

    def recording(command: list[str], **options: Any) -> Any:
        seen.append(options["env"])
        return start(command, **options)

    monkeypatch.setattr(subprocess, "Popen", recording)
    assert decode(heics.avif(quadrants()), SETTINGS).width == 64
    assert set(seen[0]) <= {"PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "MALLOC_ARENA_MAX"}


@avif
class TestEndsOfTheProcess:
    @pytest.fixture
    def ended_by(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[signal.Signals], None]:
        """From now on each process is ended by this signal as soon as it has begun."""
        start = subprocess.Popen

        def ended_by(by: signal.Signals) -> None:
            def ended(command: list[str], **options: Any) -> Any:
                process = start(command, **options)
                process.send_signal(by)
                return process

            monkeypatch.setattr(subprocess, "Popen", ended)

        return ended_by

    def test_killed_as_when_memory_ends(self, ended_by: Callable[[signal.Signals], None]) -> None:
        ended_by(signal.SIGKILL)
        with pytest.raises(Overloaded, match="not enough memory or time") as caught:
            decode(heics.avif(quadrants()), SETTINGS)
        assert (caught.value.status, caught.value.retry_after) == (503, 1)

    @pytest.mark.parametrize("by", [signal.SIGSEGV, signal.SIGABRT, signal.SIGXCPU])
    def test_a_crash_is_of_the_photo(
        self, ended_by: Callable[[signal.Signals], None], by: signal.Signals
    ) -> None:
        ended_by(by)
        with pytest.raises(UnsupportedImage, match="AVIF, but"):
            decode(heics.avif(quadrants()), SETTINGS)

    def test_a_machine_too_busy_to_come_to_an_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(heif, "_WALL_SECONDS", 0.0)
        with pytest.raises(Overloaded):
            decode(heics.avif(quadrants()), SETTINGS)
        with deadline.until(time.monotonic() - 1), pytest.raises(TimedOut):
            decode(heics.avif(quadrants()), SETTINGS)

    def test_no_process_can_begin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def begin(command: list[str], **options: Any) -> Any:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        monkeypatch.setattr(subprocess, "Popen", begin)
        with pytest.raises(Overloaded):
            decode(heics.avif(quadrants()), SETTINGS)


@avif
def test_no_process_is_left() -> None:
    for data in (heics.avif(quadrants()), heics.avif(quadrants())[:200]):
        with contextlib.suppress(UnsupportedImage):
            decode(data, SETTINGS)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize(
    ("brands", "format"),
    [
        (b"heic....mif1heic", "HEIC"),
        (b"mif1....mif1heic", "HEIC"),
        (b"mif1....avifmif1miaf", "AVIF"),
        (b"avis....avif", "AVIF"),
        (b"heix....", "HEIC"),
        (b"isom....iso2avc1mp41", None),
    ],
)
def test_brands(brands: bytes, format: str | None) -> None:
    assert kinds.format_of(heics.box(b"ftyp", brands)) == format
