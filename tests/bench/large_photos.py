"""Small faces in photos of 12 megapixels: which `detect.max_side` finds them, and what it costs.

    python -m tests.bench.large_photos FOLDER    # FOLDER/<person>/<photo>

Each photo is reduced until its face has a given height, and stands in a photo of 4032 x 3024 pixels
before a busy background. Prints a table; docs/detection.md has it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.records import Photo
from tests.bench.scenes import background, photos_with_faces

WIDTH, HEIGHT = 4032, 3024
FACES = (60, 80)  # pixels
# max_side and min_face_size.
SETTINGS = ((1280, 20), (1360, 20), (1440, 20), (1600, 20), (1600, 24))

Pixels = NDArray[np.uint8]


def read(folder: Path) -> list[tuple[Pixels, NDArray[np.float32]]]:
    """The photos with the box of their largest face, float32 (4,)."""
    found = photos_with_faces(folder, FaceDetector())
    return [(photo.pixels, faces.boxes[0]) for _, photo, faces in found]


def scene(
    pixels: Pixels, box: NDArray[np.float32], face: int, n: int
) -> tuple[Pixels, NDArray[np.float32]]:
    """A large photo with this face somewhere in it, and where: float32 (4,)."""
    scale = face / float(box[3] - box[1])
    image = Image.fromarray(pixels)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    part = image.resize(size, Image.Resampling.BOX)
    rng = np.random.default_rng(n)
    left, top = (int(rng.integers(0, m)) for m in (WIDTH - size[0], HEIGHT - size[1]))
    whole = background(WIDTH, HEIGHT, 0)
    whole.paste(part, (left, top))
    there = box * np.float32(scale) + np.array([left, top] * 2, np.float32)
    return np.asarray(whole), there.astype(np.float32)


def measured(samples: Sequence[tuple[Pixels, NDArray[np.float32]]], face: int) -> list[str]:
    """How many faces of this height each of the settings finds, and the CPU time of a photo."""
    detectors = [
        FaceDetector(max_side=side, min_face_size=least, threads=1) for side, least in SETTINGS
    ]
    hits, seconds, count = [0] * len(SETTINGS), [0.0] * len(SETTINGS), 0
    for n, (pixels, box) in enumerate(samples):
        if box[3] - box[1] <= face:
            continue
        count += 1
        large, there = scene(pixels, box, face, n)
        photo = Photo(large, width=WIDTH, height=HEIGHT)
        for k, detector in enumerate(detectors):
            start = time.process_time()
            faces = find_faces(photo, detector)
            seconds[k] += time.process_time() - start
            hits[k] += bool((np.abs(faces.boxes - there).max(axis=1) < face / 2).any())
    return [
        f"| {face} | {count} | {side} | {least} | {hits[k] / count:.0%} "
        f"| {1000 * seconds[k] / count:.0f} |"
        for k, (side, least) in enumerate(SETTINGS)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    samples = read(parser.parse_args().folder)
    print("| height of the face | photos | `max_side` | `min_face_size` | found | CPU ms a photo |")
    print("|---:|---:|---:|---:|---:|---:|")
    for face in FACES:
        print("\n".join(measured(samples, face)), flush=True)


if __name__ == "__main__":
    main()
