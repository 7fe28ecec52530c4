"""The estimate of a decoder's memory, compared with the peaks of processes that decode."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.errors import TooLarge, UnsupportedImage
from serving.settings import DecodeSettings, LimitSettings
from serving.vision.decode import decode, peak_bytes
from serving.vision.formats import heif, memory
from tests.support import heics, tiffs
from tests.support.images import encode, quadrants

SETTINGS = DecodeSettings()
WIDTH, HEIGHT = 1600, 1250
MIB = 2**20

# Prints the growth at the peak of decoding each file, with the process that decodes a HEIC or AVIF.
# A fork for each, since memory that a decoder has freed would not grow again for the next one.
_PEAKS = """
import json, os, sys, threading, time
from pathlib import Path
from serving.settings import DecodeSettings
from serving.vision.decode import decode

def status_of(pid, key):
    try:
        lines = open(f"/proc/{pid}/status").read().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), 0)

def children():
    return open(f"/proc/self/task/{os.getpid()}/children").read().split()

def peak(path):
    data = path.read_bytes()
    open("/proc/self/clear_refs", "w").write("5")
    before, most, done = status_of("self", "VmRSS"), [0], threading.Event()

    def watch():
        while not done.wait(0.002):
            both = ["self", *children()]
            most[0] = max(most[0], sum(status_of(pid, "VmRSS") for pid in both))

    watching = threading.Thread(target=watch)
    watching.start()
    decode(data, DecodeSettings())
    done.set()
    watching.join()
    return max(most[0], status_of("self", "VmHWM")) - before

for path in map(Path, sys.argv[1:]):
    if os.fork() == 0:
        print(json.dumps([path.name, peak(path)]), flush=True)
        os._exit(0)
    os.wait()
"""


def files() -> Iterator[tuple[str, bytes]]:
    """A photo of each format and of each mode that takes another amount of memory."""
    ramp = np.linspace(0, 255, WIDTH * HEIGHT).astype(np.uint8).reshape(HEIGHT, WIDTH)
    rgb = Image.fromarray(np.dstack([ramp, ramp.T.reshape(ramp.shape), ramp[::-1]]))
    grey, alpha, palette = rgb.getchannel(0), rgb.copy(), rgb.quantize(32)
    alpha.putalpha(grey)
    cmyk = rgb.convert("CMYK")
    yield "JPEG", encode(rgb, "JPEG")
    yield "JPEG L", encode(grey, "JPEG")
    yield "JPEG progressive", encode(rgb, "JPEG", progressive=True, subsampling="4:2:0")
    yield "JPEG progressive, dense", encode(rgb, "JPEG", progressive=True, subsampling="4:4:4")
    yield "JPEG progressive, CMYK", encode(cmyk, "JPEG", progressive=True)
    for image in (rgb, grey, alpha, palette, grey.convert("LA")):
        yield f"PNG {image.mode}", encode(image, "PNG", compress_level=1)
    deep = Image.fromarray(ramp.astype(np.uint16) * 257)
    yield "PNG I;16", encode(deep, "PNG", compress_level=1)
    yield "PNG P, transparent", encode(palette, "PNG", compress_level=1, transparency=3)
    for image in (rgb, alpha):
        yield f"WEBP {image.mode}", encode(image, "WEBP", method=0)
    yield "WEBP lossless", encode(alpha, "WEBP", method=0, lossless=True, quality=0)
    yield "GIF", encode(palette, "GIF")
    for image in (rgb, palette, alpha):  # the last has masks
        yield f"BMP {image.mode}", encode(image, "BMP")
    yield "BMP masked", masked_bmp(alpha)
    for image in (rgb, alpha, cmyk, deep, grey.convert("F"), rgb.convert("YCbCr")):
        one_strip = {278: HEIGHT}
        yield (
            f"TIFF {image.mode}",
            encode(image, "TIFF", tiffinfo=one_strip)
            if image.mode in ("F", "YCbCr")
            else encode(image, "TIFF", compression="tiff_lzw", tiffinfo=one_strip),
        )
    if heif.available("AVIF"):
        for image in (rgb, alpha):
            dense = encode(image, "AVIF", speed=10, subsampling="4:4:4")
            yield f"AVIF {image.mode}", dense
    if heif.available("HEIC"):
        for name in ("turned_1", "10_bits", "half_transparent"):
            tile = heics.Tile.of(heics.sample(name))
            yield f"HEIC {name}", heics.iphone(25, 19, tile=tile)


def masked_bmp(image: Image.Image) -> bytes:
    raw = image.tobytes()
    head = struct.pack("<IiiHHIIiiII", 56, *image.size, 1, 32, 3, len(raw), 0, 0, 0, 0)
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    return struct.pack("<2sIHHI", b"BM", 70 + len(raw), 0, 0, 70) + head + masks + raw


@pytest.fixture(scope="module")
def photos() -> dict[str, bytes]:
    return dict(files())


def test_the_estimate_is_above_the_peak_and_not_far(
    photos: dict[str, bytes], tmp_path: Path
) -> None:
    for name, data in photos.items():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", _PEAKS, *(str(tmp_path / name) for name in photos)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    peaks = dict(json.loads(line) for line in done.stdout.splitlines())
    assert peaks.keys() == photos.keys(), done.stderr
    off = {}
    for name, peak in peaks.items():
        estimate = peak_bytes(photos[name], SETTINGS)
        if not peak <= estimate <= 1.6 * peak + 64 * MIB:
            off[name] = (peak / MIB, estimate / MIB)
    assert not off


def test_a_photo_of_50_million_pixels_with_transparency_takes_no_gigabyte() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (7071, 7071)).save(out, "PNG", compress_level=1)
    assert peak_bytes(out.getvalue(), SETTINGS) < 400 * MIB


def test_no_photo_takes_more_than_the_chart_counts_on(photos: dict[str, bytes]) -> None:
    largest = memory.of_largest(SETTINGS.max_pixels, LimitSettings().max_image_bytes)
    assert largest <= SETTINGS.memory_bytes
    for name, data in photos.items():
        assert peak_bytes(data, SETTINGS) <= memory.of_largest(WIDTH * HEIGHT, len(data)), name


def test_a_jpeg_counts_as_it_is_decoded() -> None:
    """Reduced where it is, and with all coefficients where it is not."""
    settings = DecodeSettings(reduce_above_side=500)
    image = quadrants(4000, 3000)
    baseline = peak_bytes(encode(image, "JPEG"), settings)
    assert baseline < peak_bytes(encode(image, "JPEG"), SETTINGS) - 60 * MIB
    assert peak_bytes(encode(image, "JPEG", progressive=True), settings) > baseline + 60 * MIB


@pytest.mark.skipif(not heif.available("HEIC"), reason="pi-heif is not installed")
class TestHeic:
    def test_its_pixels_are_told_by_its_boxes(self) -> None:
        assert heif.pixels_told(heics.iphone(3, 2), 10**6) == 192 * 128
        assert heif.pixels_told(heics.iphone(3, 2), 100) == 100
        assert heif.pixels_told(b"no box", 100) == 100

    def test_one_that_is_larger_than_it_told_is_refused(self) -> None:
        """Its process is given the pixels that were counted, and no more."""
        data = heics.iphone(3, 2)
        told = struct.pack(">II", 192, 128)
        assert data.count(told) >= 1
        small = data.replace(b"ispe\0\0\0\0" + told, b"ispe\0\0\0\0" + struct.pack(">II", 8, 8))
        decode(data, SETTINGS)
        with pytest.raises(UnsupportedImage, match="HEIC"):
            decode(small, SETTINGS)


def test_the_header_is_refused_as_the_decoder_refuses_it() -> None:
    few = DecodeSettings(max_pixels=3000, max_jpeg_pixels=3000)
    kind = tiffs.Kind(bits=16, planes=True)
    deep = tiffs.tiff(np.zeros((48, 64, 3), np.uint8), kind)
    for data in (deep, *(encode(quadrants(), f) for f in ("JPEG", "PNG", "WEBP", "GIF", "BMP"))):
        with pytest.raises(TooLarge):
            peak_bytes(data, few)
        with pytest.raises(UnsupportedImage, match=r"damaged|cut off"):
            peak_bytes(data[:20], SETTINGS)
    with pytest.raises(UnsupportedImage, match="empty"):
        peak_bytes(b"", SETTINGS)
