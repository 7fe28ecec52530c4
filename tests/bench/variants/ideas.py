"""The variants under test, each a line of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.operations.offline import LocalModel
from serving.vision.faces import MARGIN
from tests.bench.variants import comparing, quality
from tests.bench.variants.bfloat16 import Bfloat16
from tests.bench.variants.comparing import Embedded, Rows, averaged
from tests.bench.variants.crops import (
    Cut,
    Face,
    aligned,
    as_served,
    boxed,
    clipped,
    mirrored,
    reduced,
)

MARGINS = (0, 7, 14, 22, 32, 44)


@dataclass(frozen=True)
class Variant:
    """One line of a table; ``against`` is the name of the line that it is compared with."""

    name: str
    found: Embedded
    against: str


class Embeddings:
    """Embeddings of the faces by kind of crop; each is computed once."""

    def __init__(self, faces: Sequence[Face], local: LocalModel) -> None:
        self._faces, self._local = faces, local
        self._known: dict[Cut, Rows] = {}

    def __call__(self, cut: Cut) -> Rows:
        if cut not in self._known:
            self._known[cut] = self._local.embed(self.crops(cut))
        return self._known[cut]

    def crops(self, cut: Cut) -> NDArray[np.uint8]:
        return np.stack([cut(face).transpose(2, 0, 1) for face in self._faces])


def crops(embed: Embeddings) -> list[Variant]:
    """Margins, shapes and alignment. Crops that cross the edges of a photo are compared with the
    crop that only does that."""
    edges = "margin 14, edges repeated"
    variants = [plain(f"margin {m}", embed(clipped(m))) for m in MARGINS if m != MARGIN]
    variants.append(plain(edges, embed(boxed(MARGIN))))
    cuts: dict[str, Cut] = {
        **{f"margin {m}, edges repeated": boxed(m) for m in (7, 22, 32)},
        **{f"square on the longer side, margin {m}": boxed(m, "square") for m in (0, 14, 32)},
        **{f"square of the same area, margin {m}": boxed(m, "same area") for m in (0, 14, 32)},
        **{f"eyes level, margin {m}": boxed(m, rotated=True) for m in (14, 32)},
        **{f"5 points, eyes {e} pixels apart": aligned(e) for e in (50, 56, 62, 68)},
        **{f"5 points, 1.2 times wider, eyes {e}": aligned(e, 1.2) for e in (56, 62, 68)},
    }
    return variants + [plain(name, embed(cut), edges) for name, cut in cuts.items()]


def plain(name: str, rows: Rows, against: str = "as served") -> Variant:
    return Variant(name, Embedded(rows, rows, np.ones(len(rows))), against)


def mirrors(embed: Embeddings, served: Rows) -> list[Variant]:
    flipped = averaged(served, embed(mirrored(as_served)))
    ones = np.ones(len(served))
    return [
        Variant("mirrored, enrolled", Embedded(flipped, served, ones), "as served"),
        Variant("mirrored, looked up", Embedded(served, flipped, ones), "as served"),
        Variant("mirrored, both", Embedded(flipped, flipped, ones), "as served"),
    ]


def weights(faces: Sequence[Face], embed: Embeddings, served: Rows) -> list[Variant]:
    """Weights in the centroid; also where every other enrolled photo is a poor one."""
    crops_ = embed.crops(as_served)
    poor = reduced(as_served, 20)
    worse = np.arange(len(faces)) % 2 == 1
    mixed = np.where(worse[:, None], embed(poor), served)
    mixed_crops = np.where(worse[:, None, None, None], embed.crops(poor), crops_)
    sizes = quality.sizes(faces)
    variants = []
    for base, rows, pixels, size in (
        ("as served", served, crops_, sizes),
        (
            "half of the enrolled photos at 20 pixels",
            mixed,
            mixed_crops,
            np.where(worse, 20, sizes),
        ),
    ):
        if rows is mixed:
            variants.append(Variant(base, Embedded(rows, served, np.ones(len(rows))), "as served"))
        by = {
            "score": quality.by_score(faces),
            "size": quality.by_size(size),
            "sharpness": quality.by_sharpness(pixels),
            "frontal": quality.by_pose(faces),
        }
        by["size x sharpness x frontal"] = by["size"] * by["sharpness"] * by["frontal"]
        prefix = "" if rows is served else "20 pixels, "
        variants += [
            Variant(f"{prefix}weight by {name}", Embedded(rows, served, weight), base)
            for name, weight in by.items()
        ]
    return variants


def centroids(served: Rows) -> list[Variant]:
    rules = {
        "most alike photo": comparing.nearest,
        "two centroids": comparing.two_centroids,
        "mean of centroid and most alike": comparing.both,
    }
    ones = np.ones(len(served))
    return [
        Variant(name, Embedded(served, served, ones, rule), "as served")
        for name, rule in rules.items()
    ]


def precision(embed: Embeddings, model: Path, served: Rows) -> list[Variant]:
    network = Bfloat16(model)
    rows = network.vectors(embed.crops(as_served))
    ones = np.ones(len(served))
    cosines = np.einsum("ij,ij->i", rows, served)
    print(
        f"bfloat16 ({network.precision} it is): cosine to the float32 embedding min "
        f"{cosines.min():.6f}, median {np.median(cosines):.6f}\n"
    )
    return [
        Variant("bfloat16", Embedded(rows, rows, ones), "as served"),
        Variant("bfloat16 looked up in float32", Embedded(served, rows, ones), "as served"),
    ]


def combined(embed: Embeddings) -> list[Variant]:
    """The variants that gained on their own, with mirrored crops."""
    variants = []
    for name, cut in {
        "margin 14, edges repeated": boxed(MARGIN),
        "5 points, 1.2 times wider, eyes 62": aligned(62, 1.2),
    }.items():
        flipped = averaged(embed(cut), embed(mirrored(cut)))
        variants.append(plain(f"{name}, mirrored, both", flipped, name))
    return variants
