"""Non-maximum suppression, compiled by numba.

The results are those of ``torchvision.ops.nms`` and of facenet-pytorch's ``batched_nms_numpy``
with ``Min``. Importing torchvision for the first one alone costs a replica's start seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.vision.compiled import compiled
from serving.vision.mtcnn.boxes import Array, sides


def nms(boxes: Array, scores: Array, overlap: float) -> NDArray[np.int64]:
    """Suppress boxes by intersection over union.

    Args:
        boxes: float32 (N, 4), x1 y1 x2 y2; scores: float32 (N,); overlap: the largest part that
            two boxes that are kept may share.

    Returns:
        The indices of the boxes that are kept, int64, best first; of equal scores the earlier.
    """
    order = np.argsort(-scores, kind="stable")
    extents = boxes[:, 2:] - boxes[:, :2]
    areas: Array = extents.prod(axis=1)
    return order[_kept(boxes[order], areas[order], overlap, np.float32(0), False)]


def nms_by_smaller(boxes: Array, scores: Array, overlap: float) -> NDArray[np.int64]:
    """Suppress boxes by the shared part of the smaller one: no face lies in another.

    As `nms`, but a box's edges are counted as pixels of its own (facenet-pytorch's convention), and
    of equal scores the later is better.
    """
    order = np.argsort(scores, kind="stable")[::-1]
    areas: Array = sides(boxes).prod(axis=1)
    return order[_kept(boxes[order], areas[order], overlap, np.float32(1), True)]


def compile_loop() -> None:
    """Compile the loop now: no caller should wait for that at the first use."""
    nms(np.zeros((1, 4), np.float32), np.zeros(1, np.float32), 0.5)


# Two boxes without an area share nothing: NaN is no overlap.
@compiled(error_model="numpy")
def _kept(
    boxes: Array, areas: Array, overlap: float, edge: np.float32, smaller: bool
) -> NDArray[np.int64]:
    """Indices of the boxes that no better one suppresses; all are sorted, best first."""
    suppressed = np.zeros(len(boxes), np.bool_)
    kept = np.empty(len(boxes), np.int64)
    count = 0
    zero = np.float32(0)
    for i in range(len(boxes)):
        if suppressed[i]:
            continue
        kept[count] = i
        count += 1
        for j in range(i + 1, len(boxes)):
            if suppressed[j]:
                continue
            width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0]) + edge
            height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1]) + edge
            shared = max(zero, width) * max(zero, height)
            whole = min(areas[i], areas[j]) if smaller else areas[i] + areas[j] - shared
            suppressed[j] = shared / whole > overlap
    return kept[:count]
