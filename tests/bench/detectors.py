"""The face detectors beside each other: what they find, and the processor time that it takes.

    python -m tests.bench.detectors FOLDER...    # FOLDER/**/<photo>

Each photo is searched as the service does, also turned where nothing is surely a face. Then as
close-ups, cut into the box of its largest face, and reduced until that face has a given height.
What only one detector finds is counted, and with `--sheet FILE` drawn, for a person to judge which
of it is no face. Prints a table; docs/detection.md has it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.errors import ServingError
from serving.settings import DecodeSettings, DetectSettings
from serving.vision.decode import decode
from serving.vision.detector import Detector, is_same
from serving.vision.faces import detector_of
from serving.vision.turning import find_upright, in_photo

CUTS = (0.0, 0.05, 0.1, 0.15)
HEIGHTS = (16, 20, 24, 32, 48)
CLOSE_UP = 600  # pixels of the longest side
TILE = 96
Pixels = NDArray[np.uint8]
Boxes = NDArray[np.float32]


class Timed:
    """A detector as the service calls it, and the processor time it has taken."""

    def __init__(self, name: str, **settings: int) -> None:
        self.name = name
        self._detector: Detector = detector_of(
            DetectSettings.model_validate({"model": name, **settings}), threads=1
        )
        self._detector.detect(np.zeros((640, 640, 3), np.uint8))  # the first pass allocates
        self.seconds = 0.0

    def boxes(self, pixels: Pixels) -> Boxes:
        start = time.process_time()
        found = find_upright(pixels, self._detector, turn=True)
        self.seconds += time.process_time() - start
        return in_photo(found.found.boxes, found.turns, (pixels.shape[0], pixels.shape[1]))


def photos_in(folders: Sequence[Path]) -> dict[Path, Pixels]:
    photos = {}
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            try:
                photos[path] = decode(path.read_bytes(), DecodeSettings()).pixels
            except (OSError, ServingError):
                continue
    return photos


def largest(boxes: Boxes) -> Boxes:
    box: Boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).prod(axis=1).argmax()]
    return box


def is_ordinary(box: Boxes, pixels: Pixels) -> bool:
    """A tenth of the box is left around it, so that the photo is no close-up yet."""
    margin = np.tile((box[2:] - box[:2]) / 10, 2) * (-1, -1, 1, 1)
    x1, y1, x2, y2 = (box + margin).tolist()
    return bool(x1 >= 0 and y1 >= 0 and x2 <= pixels.shape[1] and y2 <= pixels.shape[0])


def close_up(pixels: Pixels, box: Boxes, cut: float) -> Pixels:
    into = np.tile((box[2:] - box[:2]) * cut, 2) * (1, 1, -1, -1)
    x1, y1, x2, y2 = np.rint(box + into).astype(int).tolist()
    image = Image.fromarray(pixels[y1:y2, x1:x2])
    scale = CLOSE_UP / max(image.size)
    return np.asarray(image.resize((round(image.width * scale), round(image.height * scale))))


def small(pixels: Pixels, box: Boxes, height: int) -> tuple[Pixels, Boxes]:
    scale = height / float(box[3] - box[1])
    image = Image.fromarray(pixels)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.BOX)), box * np.float32(scale)


def measured(
    photos: Mapping[Path, Pixels], detectors: Sequence[Timed], alone: list[tuple[str, Pixels]]
) -> list[str]:
    """The table; and into ``alone`` what one detector only finds."""
    found = {d.name: [d.boxes(pixels) for pixels in photos.values()] for d in detectors}
    lines = [
        "| | " + " | ".join(d.name for d in detectors) + " |",
        "|---|" + "---:|" * len(detectors),
    ]

    def row(title: str, values: Sequence[object]) -> None:
        lines.append(f"| {title} | " + " | ".join(map(str, values)) + " |")
        print(lines[-1], flush=True)

    milliseconds = [f"{1000 * d.seconds / len(photos):.0f} ms" for d in detectors]
    row("processor time for a photo, one thread", milliseconds)
    row(
        f"photos with a face, of {len(photos)}",
        [sum(map(bool, map(len, found[d.name]))) for d in detectors],
    )
    row("faces", [sum(map(len, found[d.name])) for d in detectors])
    counts = []
    for detector in detectors:
        count = 0
        for n, pixels in enumerate(photos.values()):
            others = [boxes[n] for name, boxes in found.items() if name != detector.name]
            own = found[detector.name][n]
            known = is_same(own, np.concatenate(others)).any(axis=1)
            for box in own[~known]:
                count += 1
                alone.append((detector.name, tile_of(pixels, box)))
        counts.append(count)
    row("faces that the other one does not find", counts)

    blank = [painted(p, [b[n] for b in found.values()]) for n, p in enumerate(photos.values())]
    rates = [sum(len(d.boxes(pixels)) for pixels in blank) for d in detectors]
    row("found in the photos with these faces painted over", rates)

    both = [
        (pixels, largest(found[detectors[0].name][n]))
        for n, pixels in enumerate(photos.values())
        if all(len(boxes[n]) for boxes in found.values())
    ]
    ordinary = [(p, b) for p, b in both if is_ordinary(b, p)]
    for cut in CUTS:
        rates = []
        for detector in detectors:
            hits = 0
            for pixels, box in ordinary:
                view = close_up(pixels, box, cut)
                boxes = detector.boxes(view)
                sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
                hits += bool((sides > 0.6 * CLOSE_UP).any())
            rates.append(hits)
        row(f"close-ups, {cut:.0%} into the box, of {len(ordinary)}", rates)
    fine = [Timed(d.name, min_face_size=12) for d in detectors]
    for height in HEIGHTS:
        probes = [(p, b) for p, b in both if b[3] - b[1] > height]
        rates = []
        for detector in fine:
            hits = 0
            for pixels, box in probes:
                view, wanted = small(pixels, box, height)
                hits += bool(is_same(detector.boxes(view), wanted[None]).any())
            rates.append(hits)
        row(f"faces {height} pixels high, of {len(probes)}", rates)
    return lines


def painted(pixels: Pixels, boxes: Sequence[Boxes]) -> Pixels:
    """The photo with all of these boxes, and half of their size around, in its mean colour."""
    blank = pixels.copy()
    for x1, y1, x2, y2 in np.concatenate(boxes).tolist():
        dx, dy = (x2 - x1) / 2, (y2 - y1) / 2
        rows = slice(max(0, round(y1 - dy)), max(0, round(y2 + dy)))
        columns = slice(max(0, round(x1 - dx)), max(0, round(x2 + dx)))
        blank[rows, columns] = pixels.reshape(-1, 3).mean(axis=0)
    return blank


def tile_of(pixels: Pixels, box: Boxes) -> Pixels:
    x1, y1, x2, y2 = box.tolist()
    half = max(x2 - x1, y2 - y1)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    place = tuple(round(v) for v in (x - half, y - half, x + half, y + half))
    return np.asarray(Image.fromarray(pixels).crop(place).resize((TILE, TILE)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--sheet", type=Path, help="a picture of what one detector only finds")
    args = parser.parse_args()
    alone: list[tuple[str, Pixels]] = []
    detectors = [Timed("mtcnn"), Timed("yunet")]
    print("\n".join(["", *measured(photos_in(args.folders), detectors, alone)]))
    if args.sheet and alone:
        rows = [[t for name, t in alone if name == d.name] for d in detectors]
        sheet = np.zeros((len(rows) * TILE, max(map(len, rows)) * TILE, 3), np.uint8)
        for y, tiles in enumerate(rows):
            for x, tile in enumerate(tiles):
                sheet[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] = tile
        Image.fromarray(sheet).save(args.sheet)


if __name__ == "__main__":
    main()
