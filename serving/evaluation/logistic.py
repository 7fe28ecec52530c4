"""Logistic regression of one variable."""

from __future__ import annotations

import numpy as np

from serving.evaluation.metrics import Floats


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
