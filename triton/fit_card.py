"""Measure a model's threshold and calibration on photos of people, and write them down.

    python triton/fit_card.py FOLDER                      # FOLDER/<person>/<photo>.jpg
    python triton/fit_card.py FOLDER --name my-facenet
    python triton/trace_model.py --weights casia-webface  # takes them into the card

Every photo goes the way of the service (decode, detect, crop, the traced model); its largest face
counts. Each is then compared, as in a gallery, with the centroid of every person's other photos.

Threshold. Wanted: at most 1% of the unknown people who are looked up among 1,000 enrolled ones get
a name. Were the 1,000 comparisons of a lookup independent, one comparison might then go wrong with
probability 1 - 0.99^(1/1000), about 1 in 100,000; they are not (some faces resemble many), and that
makes the share of lookups with an error smaller still. A few thousand comparisons show no such
quantile, so it is taken from a normal distribution fitted to the strangers' cosines. Their
distribution is one in practice: cosines of strangers in many dimensions are sums of many small
terms, and skewness and kurtosis are printed to be checked (0 and 3). A generalised Pareto tail
needs hundreds of independent extremes; with few people it finds a bounded tail and a threshold that
is too low.

Calibration. The confidence of an answer is the probability that the best candidate is the person on
the photo, when half of the people looked up are enrolled and the gallery holds 1,000. Strangers'
best cosines are the quantiles of the maximum of 1,000 of the normal distribution; the enrolled
person's own cosine is as measured, once against one photo and once against all the others, and is
the best only where it beats them. A logistic curve is fitted to that by Newton's method, with
Platt's smoothed targets so that few people give no certainty.

Verification. Two photos are compared with each other and with nobody else, so both numbers are
found anew from pairs of single photos. Wanted: at most 0.1% of the pairs of strangers are taken for
one person; their cosines are normal, too. The confidence is the probability that a pair is one
person when half of the pairs that are asked about are.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from serving.decode import decode
from serving.detect import find_faces
from serving.errors import ServingError
from serving.mtcnn import FaceDetector
from serving.settings import DecodeSettings

ROOT = Path(__file__).resolve().parent
GALLERY = 1000  # people
FALSE_POSITIVES = 0.01  # of the lookups of unknown people
ENROLLED = 0.5  # the share of lookups of enrolled people: the prior
FALSE_MATCHES = 0.001  # of the pairs of strangers
ONE_PERSON = 0.5  # the share of pairs of one person: the prior

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Cosines of photos.

    Attributes:
        single: with each other photo of the same person.
        centroid: with the centroid of all other photos of the same person.
        strangers: with the centroid of each other person.
        strange_pairs: with each photo of each other person.
    """

    single: Floats
    centroid: Floats
    strangers: Floats
    strange_pairs: Floats


def score(vectors: Floats, people: NDArray[np.intp]) -> Scores:
    """Compare each photo with its own person and with all others.

    Args:
        vectors: (n, D), unit length.
        people: (n,), whose photo each is; everybody has at least two.
    """
    single: list[float] = []
    centroid: list[float] = []
    strangers: list[float] = []
    strange_pairs: list[float] = []
    for i, vector in enumerate(vectors):
        for person in np.unique(people):
            members = people == person
            members[i] = False
            mean = vectors[members].mean(axis=0)
            cosine = float(vector @ mean / np.linalg.norm(mean))
            if person == people[i]:
                single.extend(vectors[members] @ vector)
                centroid.append(cosine)
            else:
                strangers.append(cosine)
                strange_pairs.extend(vectors[members] @ vector)
    return Scores(
        np.array(single), np.array(centroid), np.array(strangers), np.array(strange_pairs)
    )


def threshold_of(strangers: NormalDist) -> float:
    """The cosine that the best of `GALLERY` strangers exceeds in `FALSE_POSITIVES` of lookups."""
    return strangers.inv_cdf((1 - FALSE_POSITIVES) ** (1 / GALLERY))


def fit_calibration(scores: Scores, strangers: NormalDist) -> tuple[float, float]:
    """Slope and intercept of the confidence as a function of the best candidate's cosine."""
    levels = (np.arange(400) + 0.5) / 400
    best = np.array([strangers.inv_cdf(level ** (1 / GALLERY)) for level in levels])
    # One photo enrolled counts as much as all of them.
    own = np.concatenate([scores.single, scores.centroid])
    weight = np.concatenate(
        [np.full(len(s), 0.5 / len(s)) for s in (scores.single, scores.centroid)]
    )
    wins = (own[:, None] > best).mean(axis=1)
    lost = (weight[:, None] * (own[:, None] <= best)).sum(axis=0) / len(best)
    x = np.concatenate([own, best])
    right = np.concatenate([ENROLLED * weight * wins, np.zeros_like(best)])
    wrong = np.concatenate([np.zeros_like(own), ENROLLED * lost + (1 - ENROLLED) / len(best)])
    target = _targets(own, best, len(scores.centroid))
    return fit_logistic(x, target, right + wrong)


def fit_pairs(scores: Scores) -> tuple[float, float]:
    """Slope and intercept of the confidence as a function of the cosine of two photos."""
    one, two = scores.single, scores.strange_pairs
    weight = np.concatenate(
        [np.full(len(one), ONE_PERSON / len(one)), np.full(len(two), (1 - ONE_PERSON) / len(two))]
    )
    target = _targets(one, two, len(scores.centroid))
    return fit_logistic(np.concatenate([one, two]), target, weight)


def _targets(right: Floats, wrong: Floats, photos: int) -> Floats:
    """Platt's: as if one more photo of each kind had been seen on the wrong side."""
    low = 1 / (photos + 2)
    return np.concatenate([np.full_like(right, 1 - low), np.full_like(wrong, low)])


def fit_logistic(x: Floats, target: Floats, weight: Floats) -> tuple[float, float]:
    """Weighted logistic regression of ``target`` (0 to 1) on ``x``, by damped Newton steps."""
    design = np.stack([x - x.mean(), np.ones_like(x)], axis=1)
    found = np.zeros(2)

    def loss(at: Floats) -> float:
        z = design @ at
        return float(weight @ (np.logaddexp(0, z) - target * z))

    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ found, -500, 500)))
        gradient = design.T @ (weight * (p - target))
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while loss(found - step) > loss(found) and np.abs(step).max() > 1e-9:
            step = step / 2
        found = found - step
        if np.abs(step).max() < 1e-9:
            break
    slope, at_mean = found
    return float(slope), float(at_mean - slope * x.mean())


def embed_folder(folder: Path, model: Path) -> tuple[Floats, NDArray[np.intp], int]:
    """Embeddings (n, D) of people with two usable photos or more, whose each is, and how many
    photos had no face."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit", FutureWarning)
        network = torch.jit.load(str(model), map_location="cpu")  # type: ignore[no-untyped-call]
    detector, settings = FaceDetector(), DecodeSettings()
    vectors: list[NDArray[np.float32]] = []
    people: list[int] = []
    without = 0
    for number, person in enumerate(sorted(p for p in folder.iterdir() if p.is_dir())):
        crops: list[NDArray[np.uint8]] = []
        for path in sorted(p for p in person.iterdir() if p.is_file()):
            try:
                faces = find_faces(decode(path.read_bytes(), settings), detector)
            except ServingError:
                continue  # no photo
            crops.extend(faces.crops[:1])
            without += not len(faces)
        if len(crops) >= 2:
            with torch.inference_mode():
                vectors.extend(network(torch.from_numpy(np.stack(crops))).numpy())
            people.extend([number] * len(crops))
    return np.array(vectors, np.float64), np.array(people, np.intp), without


def entry(scores: Scores, people: int) -> dict[str, Any]:
    """What ``calibration.json`` holds for one model."""
    strangers = NormalDist.from_samples(scores.strangers.tolist())
    slope, intercept = fit_calibration(scores, strangers)
    strange_pairs = NormalDist.from_samples(scores.strange_pairs.tolist())
    pair_slope, pair_intercept = fit_pairs(scores)
    return {
        "threshold": round(threshold_of(strangers), 2),
        "calibration": {
            "slope": round(slope, 1),
            "intercept": round(intercept, 1),
            "measured_on": (
                f"{len(scores.centroid)} photos of {people} people: "
                f"{len(scores.single) // 2} pairs of one person, "
                f"{len(scores.strangers)} comparisons with strangers; "
                f"extrapolated to a gallery of {GALLERY} people, "
                f"{ENROLLED:.0%} of the faces being of enrolled people, and "
                f"{FALSE_POSITIVES:.0%} of the others named at the threshold"
            ),
        },
        "verification": {
            "threshold": round(strange_pairs.inv_cdf(1 - FALSE_MATCHES), 2),
            "calibration": {
                "slope": round(pair_slope, 1),
                "intercept": round(pair_intercept, 1),
                "measured_on": (
                    f"{len(scores.centroid)} photos of {people} people: "
                    f"{len(scores.single) // 2} pairs of one person, "
                    f"{len(scores.strange_pairs) // 2} pairs of strangers; "
                    f"{ONE_PERSON:.0%} of the pairs being of one person, and "
                    f"{FALSE_MATCHES:.1%} of the others taken for one at the threshold"
                ),
            },
        },
    }


def report(scores: Scores, without: int, found: dict[str, Any]) -> str:
    s = scores.strangers
    z = (s - s.mean()) / s.std()
    t, curve = found["threshold"], found["calibration"]
    pair = found["verification"]["threshold"]

    def confidence(cosine: float) -> str:
        logit = curve["slope"] * cosine + curve["intercept"]
        return f"{1 / (1 + math.exp(-logit)):.3f} at {cosine:.2f}"

    return "\n".join(
        [
            f"measured on {curve['measured_on']}; {without} photos without a face",
            f"strangers: mean {s.mean():.3f}, deviation {s.std():.3f}, highest {s.max():.3f}, "
            f"skewness {(z**3).mean():.2f}, kurtosis {(z**4).mean():.2f}",
            f"one person: lowest {scores.single.min():.3f} with one photo, "
            f"{scores.centroid.min():.3f} with all others",
            f"threshold {t}: names {(scores.single >= t).mean():.3f} with one photo enrolled, "
            f"{(scores.centroid >= t).mean():.3f} with all others",
            "confidence " + ", ".join(map(confidence, (0.4, 0.5, t, 0.7, 0.8))),
            f"pairs of photos, threshold {pair}: {(scores.single >= pair).mean():.3f} of one "
            f"person are accepted, {(scores.strange_pairs >= pair).mean():.4f} of strangers",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="FOLDER/<person>/<photo>")
    parser.add_argument("--name", default="facenet-casia-webface", help="the traced model")
    parser.add_argument("--repository", type=Path, default=ROOT / "models")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    args = parser.parse_args()
    model = args.repository / args.name / "1" / "model.pt"
    if not model.is_file() or not args.folder.is_dir():
        missing = args.folder if model.is_file() else model
        print(f"fit_card: there is no {missing}", file=sys.stderr)
        return 1
    vectors, people, without = embed_folder(args.folder, model)
    count = len(np.unique(people))
    if count < 2:
        print("fit_card: two people with two usable photos each are the least.", file=sys.stderr)
        return 1
    scores = score(vectors, people)
    found = entry(scores, count)
    print(report(scores, without, found))
    if not args.dry_run:
        path = ROOT / "calibration.json"
        known = json.loads(path.read_text())
        path.write_text(json.dumps(known | {args.name: found}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
