"""Damaged image files of every format: an answer or an error of the tree, in bounded memory.

A longer run: FUZZ=30 python -m pytest tests/unit/vision/test_decode_fuzz.py
"""

from __future__ import annotations

import ctypes
import io
import os
import random
import time
import warnings

import numpy as np
import pytest
from PIL import Image

from serving.errors import TooLarge, UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from serving.vision.formats import heif
from tests.support import heics, images
from tests.support.fuzzing import TIMES, seconds
from tests.support.images import quadrants
from tests.support.tiffs import FLOAT, Kind, tiff

SECONDS = seconds(20)
SETTINGS = DecodeSettings(max_pixels=4_000_000, max_jpeg_pixels=16_000_000)
# A decoded photo of 4 million pixels, and the copies on the way to it.
GROWTH_MIB = 300
SLOW_SECONDS = 10.0
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def seeds() -> list[bytes]:
    rng = np.random.default_rng(7)
    rgb = Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[str, Image.Image, dict[str, object]]] = [
        ("JPEG", rgb, {"exif": exif}),
        ("JPEG", rgb, {"progressive": True}),
        ("JPEG", rgb.convert("CMYK"), {}),
        ("PNG", rgb.convert("RGBA"), {}),
        ("PNG", rgb.convert("P"), {"transparency": 3}),
        ("PNG", Image.fromarray(rng.integers(0, 65535, (20, 30), np.uint16)), {}),
        ("WEBP", rgb, {}),
        ("WEBP", rgb, {"lossless": True}),
        ("GIF", rgb.convert("P"), {"save_all": True, "append_images": [rgb.convert("P")]}),
        ("TIFF", rgb, {"compression": "tiff_lzw"}),
        ("TIFF", rgb, {"compression": "tiff_deflate"}),
        ("TIFF", rgb.convert("1"), {"compression": "group4"}),
        ("WEBP", rgb, {"save_all": True, "append_images": [rgb.convert("L")]}),
        ("TIFF", rgb, {"compression": "jpeg", "big_tiff": True}),
        ("TIFF", rgb, {"save_all": True, "append_images": [rgb], "tiffinfo": {254: 1}}),
        ("BMP", rgb, {}),
        ("BMP", rgb.convert("RGBA"), {}),
        ("BMP", rgb.quantize(16), {}),
    ]
    grey, colour = rng.integers(0, 255, (20, 33, 1), np.uint8), np.asarray(rgb)
    files = [
        images.flat_jpeg(60, 40, scans=3),
        tiff(grey, Kind(12)),
        tiff(grey, Kind(16, white_is_zero=True, order=">", tile=16)),
        tiff(grey, Kind(32, FLOAT, deflate=True, predictor=True)),
        tiff(colour, Kind(16, planes=True, deflate=True, predictor=True)),
        tiff(np.dstack([colour, colour[..., :1]]), Kind(64, alpha=2, tile=16)),
    ]
    for name, image, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, name, **options)
        files.append(buffer.getvalue())
    return files


def damaged(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A few damages; most near the beginning, where sizes and offsets are."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not out:
            break
        at = min(int(rng.expovariate(1 / 64)), len(out) - 1)
        if rng.random() < 0.3:
            at = rng.randrange(len(out))
        match rng.randrange(7):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                size = rng.choice((1, 2, 4))
                value = rng.choice(INTERESTING) & (256**size - 1)
                out[at : at + size] = value.to_bytes(size, rng.choice(("big", "little")))
            case 2:
                del out[at:]
            case 3:
                del out[at : at + rng.randrange(1, 64)]
            case 4:
                out[at:at] = out[at : at + rng.randrange(1, 256)] * rng.randrange(1, 4)
            case 5:
                cut = rng.randrange(len(other))
                out[at:] = other[cut:]
            case _:
                out[at:at] = rng.randbytes(rng.randrange(1, 32))
    return bytes(out)


def resident_mib() -> float:
    # Memory that is free but that glibc keeps for later is no growth.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.fuzz
@pytest.mark.timeout(SECONDS + 120)
def test_whatever_the_bytes_are_it_is_a_photo_or_refused() -> None:
    _fuzz(seeds(), SECONDS, least=100, slow=SLOW_SECONDS)


@pytest.mark.fuzz
@pytest.mark.timeout(SECONDS + 120)
def test_whatever_the_bytes_of_a_heic_or_an_avif_are() -> None:
    """Slower: each is decoded by a process of its own."""
    image = quadrants()
    files = [heics.avif(image), heics.avif(image.convert("RGBA"), save_all=True)]
    if heif.available("HEIC"):
        names = ("turned_6", "10_bits", "half_transparent")
        files += [heics.iphone(2, 2, turns=1), *(heics.sample(name) for name in names)]
    # Ten seconds of CPU and a minute by the clock are all that such a process has.
    _fuzz(files, SECONDS / 2, least=1, slow=65)


def _fuzz(files: list[bytes], length: float, least: int, slow: float) -> None:
    photos = refused = 0
    for data in files:
        assert decode(data, SETTINGS).width  # the seeds themselves are good
    usual = 1 if TIMES == 1 else random.randrange(2**32)
    seed = int(os.environ.get("FUZZ_SEED", "0")) or usual
    rng = random.Random(seed)
    before, end = resident_mib(), time.monotonic() + length
    with warnings.catch_warnings():
        # Pillow warns of odd metadata; the service ignores that as well.
        warnings.simplefilter("ignore")
        while time.monotonic() < end:
            data = damaged(rng.choice(files), rng.choice(files), rng)
            start = time.monotonic()
            try:
                photo = decode(data, SETTINGS)
            except (UnsupportedImage, TooLarge):
                refused += 1
            except BaseException as error:
                raise AssertionError(f"seed {seed}: {error!r} of {data.hex()}") from error
            else:
                photos += 1
                assert photo.pixels.dtype == np.uint8
                assert photo.pixels.shape[2] == 3
                assert photo.pixels.shape[0] * photo.pixels.shape[1] <= SETTINGS.max_pixels
            assert time.monotonic() - start < slow, f"seed {seed}: {data.hex()}"
    assert photos >= least
    assert refused >= least
    assert resident_mib() - before < GROWTH_MIB, f"seed {seed}"
