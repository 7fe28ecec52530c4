"""Ways in which a photo loses what a face is recognised by; for faces 200 pixels high."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

Damage = Callable[[Image.Image], Image.Image]
Part = tuple[float, float, float, float]  # x1 y1 x2 y2 in widths and heights of the photo


def mosaic(image: Image.Image, tile: int, *, offset: int = 0, smooth: bool = False) -> Image.Image:
    """Tiles of one colour; ``smooth``: with their edges blurred."""
    moved = ImageOps.expand(image, (offset, offset, 0, 0), fill="grey")
    size = (max(1, moved.width // tile), max(1, moved.height // tile))
    tiles = moved.resize(size, Image.Resampling.BOX).resize(moved.size, Image.Resampling.NEAREST)
    tiles = tiles.crop((offset, offset, *moved.size))
    return tiles.filter(ImageFilter.GaussianBlur(tile / 5)) if smooth else jpeg(tiles, 75)


def blurred(image: Image.Image, sigma: float, grain: float = 0) -> Image.Image:
    return noisy(image.filter(ImageFilter.GaussianBlur(sigma)), grain)


def noisy(image: Image.Image, sigma: float) -> Image.Image:
    grain = np.random.default_rng(0).normal(0, sigma, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def black_and_white(image: Image.Image, level: int) -> Image.Image:
    return image.convert("L").point([255 * (v > level) for v in range(256)]).convert("RGB")


def tiny(image: Image.Image, height: int) -> Image.Image:
    """As a face of this height looks after it was made large again."""
    scale = height / 200
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def shaken(image: Image.Image, pixels: int, axis: int) -> Image.Image:
    values = np.asarray(image).astype(np.float32)
    moved = [np.roll(values, n - pixels // 2, axis) for n in range(pixels)]
    return Image.fromarray(np.mean(moved, axis=0).astype(np.uint8))


def covered(image: Image.Image, part: Part, colour: str) -> Image.Image:
    """A bar over a part of the photo, whose middle half the face fills."""
    image = image.copy()
    width, height = image.size
    box = (part[0] * width, part[1] * height, part[2] * width, part[3] * height)
    ImageDraw.Draw(image).rectangle(box, fill=colour)
    return image


def turned(image: Image.Image, degrees: int) -> Image.Image:
    return image.rotate(degrees, resample=Image.Resampling.BICUBIC, expand=True)


DAMAGES: dict[str, Damage] = {
    **{f"mosaic of {t}": partial(mosaic, tile=t) for t in (6, 8, 10, 12, 16, 20)},
    **{f"mosaic of {t}, moved": partial(mosaic, tile=t, offset=t // 2) for t in (10, 16)},
    **{f"mosaic of {t}, smooth": partial(mosaic, tile=t, smooth=True) for t in (12, 16, 20)},
    **{f"blur {s}": partial(blurred, sigma=s) for s in (3, 4, 5, 6, 7, 9, 12, 16)},
    **{f"blur {s}, grain": partial(blurred, sigma=s, grain=8) for s in (6, 9, 12)},
    **{f"{h} pixels high": partial(tiny, height=h) for h in (8, 10, 12, 14, 16, 20, 24, 28, 32)},
    **{f"JPEG {q}": partial(jpeg, quality=q) for q in (1, 3, 5)},
    **{f"black and white at {v}": partial(black_and_white, level=v) for v in (85, 110, 140, 170)},
    **{f"{n} pixels upwards": partial(shaken, pixels=n, axis=0) for n in (25, 35)},
    **{f"{n} pixels sideways": partial(shaken, pixels=n, axis=1) for n in (25, 35)},
    **{f"noise {s}": partial(noisy, sigma=s) for s in (40, 80, 120)},
    "two levels": partial(ImageOps.posterize, bits=1),
    "bar over the eyes": partial(covered, part=(0, 0.36, 1, 0.5), colour="black"),
    "lower half black": partial(covered, part=(0, 0.52, 1, 1), colour="black"),
    "lower half blue": partial(covered, part=(0, 0.52, 1, 1), colour="lightblue"),
    "left half black": partial(covered, part=(0, 0, 0.5, 1), colour="black"),
    **{f"turned {d}": partial(turned, degrees=d) for d in (90, 120, 150, 165, 180, 270)},
}
# Of these the directions of degenerate embeddings are made: hardly anybody is recognised on them.
_KINDS = ("black", "two levels", "turned", "mosaic of 1", "mosaic of 2", "25 pixels", "35 pixels")
_SINGLE = ("blur 6", "blur 7", "blur 9", "blur 12", "blur 16", "JPEG 1", "noise 80", "noise 120")
_HEIGHTS = tuple(f"{h} pixels high" for h in (8, 10, 12, 14))
DEGENERATE = frozenset(
    name
    for name in DAMAGES
    if name.startswith(_KINDS) or name.endswith("grain") or name in _SINGLE + _HEIGHTS
)
