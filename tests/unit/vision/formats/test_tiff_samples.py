"""TIFF of every kind of sample: the decoded photo is the picture that was written, or it is named.

The whole table of combinations is behind `make fuzz`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.errors import TooLarge, UnsupportedImage
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from tests.support.fuzzing import TIMES
from tests.support.tiffs import FLOAT, SIGNED, UNSIGNED, Kind, tiff

SETTINGS = DecodeSettings()
SHORT, FLOAT32 = 3, 11
DEPTHS = [(bits, UNSIGNED) for bits in (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64)]
DEPTHS += [(bits, SIGNED) for bits in (8, 12, 16, 24, 32)]
DEPTHS += [(bits, FLOAT) for bits in (16, 32, 64)]
y, x = np.mgrid[0:19, 0:37]


def picture(colours: int, alpha: int = 0) -> NDArray[np.uint8]:
    """Ramps; with alpha the right half is half transparent, its colours multiplied by it or not."""
    ramps = np.dstack([x * 255 // 36, y * 255 // 18, (x + y) * 255 // 54])
    ramps = ramps if colours == 3 else ramps[..., 2:]
    if alpha:
        opacity = np.where(x < 18, 255, 128)[..., None]
        if alpha == 1:
            ramps = np.rint(ramps * (opacity / 255))
        ramps = np.concatenate([ramps, opacity], axis=2)
    return ramps.astype(np.uint8)


def shown(colours: int, alpha: int, bits: int) -> NDArray[np.float64]:
    """What a viewer shows: on white, three colours, no more levels than there are bits."""
    levels = min(255, 2**bits - 1)
    picked = np.rint(picture(colours) / 255 * levels) / levels * 255
    if alpha:
        opacity = np.where(x < 18, 255, 128)[..., None] / 255
        picked = picked * opacity + 255 * (1 - opacity)
    return np.broadcast_to(picked, (19, 37, 3))


def kinds(bits: int, format: int) -> Iterator[tuple[int, Kind]]:
    """Every combination; of those beside the depth one in seven unless more are asked for."""
    flags = itertools.product(*[(False, True)] * 6)
    for n, (rgb, white, planes, deflate, big, tiles) in enumerate(flags):
        for alpha, sums in itertools.product((0, 1, 2), (False, True)):
            samples = 1 + 2 * rgb + bool(alpha)
            if (white and (rgb or alpha)) or (planes and samples == 1) or (alpha and bits < 8):
                continue
            if sums and (not deflate or bits not in (8, 16, 32, 64)):
                continue
            order: Literal["<", ">"] = ">" if big else "<"
            kind = Kind(bits, format, white, planes, order, 16 * tiles, deflate, sums, alpha=alpha)
            if TIMES > 1 or (n + bits + 3 * alpha + 5 * sums) % 7 == 0:
                yield 3 if rgb else 1, kind


@pytest.mark.fuzz
@pytest.mark.parametrize(("bits", "format"), DEPTHS)
def test_every_kind_of_sample(bits: int, format: int) -> None:
    tried = 0
    for colours, kind in kinds(bits, format):
        photo = decode(tiff(picture(colours, kind.alpha), kind), SETTINGS)
        off = np.abs(photo.pixels - shown(colours, kind.alpha, bits)).mean()
        assert off < 3, (colours, str(kind), off)
        tried += 1
    assert tried >= 2


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_floats_of_three_ranges(top: float) -> None:
    values = (picture(1) / 255 * top).astype(np.float32)
    values[0, 0] = np.nan
    pixels = decode(_floats(values), SETTINGS).pixels
    assert pixels[0, 0, 0] == 0
    assert np.abs(pixels[1:].astype(float) - picture(1)[1:]).max() <= 1


@pytest.mark.parametrize("top", [3.0, 2000.0, 1e9])
def test_floats_whose_range_is_not_known_are_refused(top: float) -> None:
    values = (picture(1) / 255 * top).astype(np.float32)
    with pytest.raises(UnsupportedImage, match="SMaxSampleValue"):
        decode(_floats(values), SETTINGS)
    pixels = decode(
        _floats(values, {340: (FLOAT32, [0.0]), 341: (FLOAT32, [top])}), SETTINGS
    ).pixels
    assert np.abs(pixels.astype(float) - picture(1)).max() <= 1


def _floats(
    values: NDArray[np.float32], more: dict[int, tuple[int, list[Any]]] | None = None
) -> bytes:
    # The floats' bytes, as the samples of 32 bits that they are.
    whole = tiff(np.zeros_like(values, np.uint8), Kind(32, FLOAT), more)
    return whole[:8] + values.astype("<f4").tobytes() + whole[8 + values.nbytes :]


def test_the_largest_value_that_a_tag_tells_is_white() -> None:
    dark = (picture(1) // 16).astype(np.uint8)  # 12 bits, kept in 16
    pixels = decode(tiff(dark, Kind(16), {341: (SHORT, [4095])}), SETTINGS).pixels
    assert np.abs(pixels[..., 0] - dark[..., 0] * 16.0).max() <= 2
    assert decode(tiff(dark, Kind(16)), SETTINGS).pixels.max() <= 16


def test_what_cannot_be_read_is_named() -> None:
    for more, named in [
        ({339: (SHORT, [6])}, "16 complex bits"),
        ({258: (SHORT, [99])}, "99 bits"),
        ({262: (SHORT, [3])}, "palette"),
        ({262: (SHORT, [32844])}, r"unknown colours \(32844\)"),
        ({259: (SHORT, [34887])}, "compression 34887"),
        ({317: (SHORT, [7])}, "16 bits"),
    ]:
        with pytest.raises(UnsupportedImage, match=f"{named}.* cannot be read; send it"):
            decode(tiff(picture(1), Kind(16), more), SETTINGS)


def test_cut_ones_are_refused() -> None:
    data = tiff(picture(3), Kind(16, planes=True, deflate=True))
    with pytest.raises(UnsupportedImage):
        decode(data[:8] + bytes(100) + data[108:], SETTINGS)
    with pytest.raises(UnsupportedImage):
        decode(data[:-30], SETTINGS)


def test_deep_photos_have_a_limit_of_bytes() -> None:
    small = DecodeSettings(max_pixels=19 * 37)
    assert decode(tiff(picture(1), Kind(32)), small).width == 37
    for kind in (Kind(64), Kind(32, planes=True, alpha=2)):
        with pytest.raises(TooLarge, match="bits a sample"):
            decode(tiff(picture(1, kind.alpha), kind), small)


def test_tiles_that_lie_about_their_size_are_refused() -> None:
    for side in (0, 65_520, 2**31):
        with pytest.raises((UnsupportedImage, TooLarge)):
            decode(tiff(picture(1), Kind(16, tile=16), {323: (4, [side])}), SETTINGS)
        with pytest.raises((UnsupportedImage, TooLarge)):
            decode(tiff(picture(1), Kind(16, tile=16), {322: (4, [side])}), SETTINGS)
