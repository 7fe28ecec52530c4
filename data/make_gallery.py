"""Make the synthetic gallery, or compare its cosines with those of real people.

    python data/make_gallery.py            # writes data/gallery/synthetic-1000.safetensors
    python data/make_gallery.py --stats    # measures that file; with --photos FOLDER other photos

It is made without photos. The last layer of FaceNet reaches only about a hundred of its 512
dimensions, and the embeddings of all faces lie there. So people are drawn at random in that
subspace, and only five numbers (below) were measured on real people.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from serving.settings import DecodeSettings
from serving.vision.decode import decode
from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector

ROOT = Path(__file__).resolve().parent
MODEL = ROOT.parent / "triton" / "models" / "facenet-casia-webface"
GALLERY = ROOT / "gallery" / "synthetic-1000.safetensors"
FORMAT = "faces-export/1"

SEED = 1000
PEOPLE = 1000
FIRST_ID = 10001  # the folder's real people have smaller ids
# The number of people in a hundred with 1, 2, 3, 4 and 5 photos.
PHOTOS_PERCENT = (25, 25, 20, 15, 15)

# The five numbers, chosen so that the cosines are spread like those of 90 photos of 22 real people.
# Real photos use the first directions of the layer more than its weights alone suggest.
SPECTRUM_POWER = 2
# Photos from one source (a series, an event, an archive) make even strangers a little similar.
SOURCES, SOURCE_SHARE = 8, 0.1
# Variance of a photo over that of its person: log-normal, so some photos are bad.
PHOTO_VARIANCE, PHOTO_VARIANCE_SIGMA = 0.36, 0.8

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Gallery:
    """ids int64 (N,), counts int32 (N,), embeddings float16 (sum of counts, 512), by person."""

    ids: NDArray[np.int64]
    counts: NDArray[np.int32]
    embeddings: NDArray[np.float16]


def last_layer(model: torch.jit.ScriptModule) -> Rows:
    """The weights of FaceNet's last layer, batch norm folded in: (512, 1792)."""
    found = []
    for node in model.graph.nodes():
        if node.kind() == "prim::Constant":
            value = node.output().toIValue()
            if isinstance(value, torch.Tensor) and value.shape == (512, 1792):
                found.append(value)
    if len(found) != 1:
        raise SystemExit(f"model.pt has {len(found)} layers of 512 x 1792, and not one.")
    weights: Rows = found[0].numpy().astype(np.float64)
    return weights


def make(layer: Rows) -> Gallery:
    """Draw the people; the same layer gives the same gallery."""
    # RandomState: the only generator of numpy whose numbers are promised never to change.
    rng = np.random.RandomState(SEED)
    # A symmetric root instead of eigenvectors, whose signs differ between BLAS versions.
    shape = np.linalg.matrix_power(layer @ layer.T, SPECTRUM_POWER)
    sources = rng.standard_normal((SOURCES, 512))[np.arange(PEOPLE) % SOURCES]
    own = rng.standard_normal((PEOPLE, 512))
    people = np.sqrt(SOURCE_SHARE) * sources + np.sqrt(1 - SOURCE_SHARE) * own

    counts = np.repeat(np.arange(1, 6, dtype=np.int32), np.array(PHOTOS_PERCENT) * PEOPLE // 100)
    rng.shuffle(counts)
    total = int(counts.sum())
    spread = PHOTO_VARIANCE * np.exp(PHOTO_VARIANCE_SIGMA * rng.standard_normal(total))
    photos = people.repeat(counts, axis=0)
    photos += np.sqrt(spread)[:, None] * rng.standard_normal((total, 512))
    embeddings = unit(photos @ shape).astype(np.float16)
    return Gallery(np.arange(FIRST_ID, FIRST_ID + PEOPLE), counts, embeddings)


def unit(rows: Rows) -> Rows:
    lengths: Rows = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / lengths


def write(gallery: Gallery, path: Path, model_id: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, NDArray[Any]] = {
        "ids": gallery.ids,
        "counts": gallery.counts,
        "embeddings": gallery.embeddings,
    }
    # Not save_file, which makes the file readable by its owner alone.
    data = save(tensors, metadata={"format": FORMAT, "model": model_id})
    # safetensors writes metadata in random order, but the same gallery must be the same file.
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":"))
    path.write_bytes(data[:8] + header.encode().ljust(end - 8) + data[end:])


def embed_photos(paths: list[Path], model: torch.jit.ScriptModule) -> Rows:
    """Embeddings of the largest face of each photo, by the service's own steps: (P, 512)."""
    detector = FaceDetector()
    rows = []
    for path in paths:
        faces = find_faces(decode(path.read_bytes(), DecodeSettings()), detector)
        if not len(faces):
            raise SystemExit(f"No face is found in {path}.")
        with torch.inference_mode():
            rows.append(model(torch.from_numpy(faces.crops[:1])).numpy())
    embeddings: Rows = np.concatenate(rows).astype(np.float64)
    return embeddings


def pairs(rows: Rows, people: NDArray[np.int64]) -> tuple[Rows, Rows]:
    """Cosines of the pairs of one person, and of the pairs of two."""
    cosines = rows @ rows.T
    upper = np.triu(np.ones_like(cosines, dtype=np.bool_), 1)
    same = people[:, None] == people[None, :]
    return cosines[upper & same], cosines[upper & ~same]


def line(name: str, cosines: Rows) -> str:
    values = [cosines.mean(), cosines.std(), *np.quantile(cosines, (0.05, 0.5, 0.999))]
    numbers = " | ".join(f"{value:.3f}" for value in (*values, cosines.max()))
    return f"| {name} | {cosines.size} | {numbers} |"


def print_stats(
    gallery: Gallery, photos: list[Path], probe: Path, model: torch.jit.ScriptModule
) -> None:
    """A table in Markdown: the gallery, the photos, and each against the other."""
    rows = gallery.embeddings.astype(np.float64)
    people = np.repeat(gallery.ids, gallery.counts)
    same, different = pairs(rows, people)
    centroids = unit(np.array([rows[people == key].mean(axis=0) for key in gallery.ids]))
    _, different_people = pairs(centroids, gallery.ids)
    folders = sorted({path.parent for path in photos})
    real = embed_photos(photos, model)
    real_people = np.array([folders.index(path.parent) for path in photos], np.int64)
    real_same, real_different = pairs(real, real_people)

    print("| cosine of | pairs | mean | std | 5% | 50% | 99.9% | max |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    print(line("different people, synthetic", different))
    print(line("different people, real", real_different))
    print(line("synthetic with real", rows @ real.T))
    print(line("one person, synthetic", same))
    print(line("one person, real", real_same))
    print(line("different people's centroids, synthetic", different_people))
    print(line("a real photo with its nearest of the gallery", (real @ centroids.T).max(axis=1)))
    cosines = (centroids @ embed_photos([probe], model).T)[:, 0]
    nearest = int(cosines.argmax())
    print(f"\nNearest to {probe.name}: id {gallery.ids[nearest]}, cosine {cosines[nearest]:.3f}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=MODEL, help="the folder with model.json")
    parser.add_argument("--out", type=Path, default=GALLERY)
    parser.add_argument("--stats", action="store_true", help="measure the file and write nothing")
    parser.add_argument(
        "--photos", type=Path, default=ROOT / "people", help="with one folder for each person"
    )
    parser.add_argument("--probe", type=Path, default=ROOT / "id_is_2576.jpg")
    args = parser.parse_args()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit", FutureWarning)
        model = torch.jit.load(  # type: ignore[no-untyped-call]
            args.model / "1" / "model.pt"
        )
    if args.stats:
        photos = sorted(p for p in args.photos.glob("*/*") if p.suffix in (".jpg", ".png"))
        print_stats(Gallery(**load_file(args.out)), photos, args.probe, model)
        return
    gallery = make(last_layer(model))
    write(gallery, args.out, json.loads((args.model / "model.json").read_text())["id"])
    print(f"{len(gallery.ids)} people, {len(gallery.embeddings)} photos -> {args.out}")


if __name__ == "__main__":
    main()
