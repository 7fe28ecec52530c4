"""Drawing an answer of ``/infer`` into its photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

_KNOWN, _STRANGER, _INK = "#1a9850", "#d73027", "white"


def percent(confidence: float) -> str:
    """``98%``; never 100% or 0%, since an estimate is never certain."""
    if confidence < 0.01:
        return "<1%"
    return ">99%" if confidence > 0.99 else f"{confidence:.0%}"


def either_of(people: Sequence[Mapping[str, Any]]) -> str:
    """``Ada or Eve``, from the people of an ambiguous face; with ids where names do not do."""
    names = [str(one["name"] or one["id"]) for one in people]
    if len(set(names)) < len(names):
        names = [
            f"{one['name']} ({one['id']})" if one["name"] else str(one["id"]) for one in people
        ]
    # A key may learn of one person alone.
    return " or ".join(names if len(names) > 1 else [*names, "somebody else"])


def label_of(face: Mapping[str, Any]) -> str:
    """``Ada 98%``, ``7 98%`` for a person without a name, ``Ada or Eve`` where the model cannot
    decide, ``unknown``, ``too poor to say`` or ``not live``."""
    if not (face.get("liveness") or {}).get("live", True):
        return "not live"
    if not face.get("quality", {}).get("sufficient", True):
        return "too poor to say"
    if face.get("ambiguous"):
        return either_of(face["ambiguous"])
    if face["id"] is None:
        return "unknown"
    return f"{face['name'] or face['id']} {percent(face['confidence'])}"


def draw(photo: Path, faces: Sequence[Mapping[str, Any]]) -> Image.Image:
    """The photo, upright, with a box and a label for each face of the answer."""
    with Image.open(photo) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    canvas = ImageDraw.Draw(image)
    unit = max(image.size) / 600
    for face in reversed(faces):  # the largest last, on top
        color = _STRANGER if face["id"] is None else _KNOWN
        x1, y1, x2, y2 = face["box"]
        canvas.rectangle((x1, y1, x2, y2), outline=color, width=max(2, round(unit * 1.5)))
        # As wide as the face, within the sizes that are legible and not obtrusive.
        size = (x2 - x1) * 2 / len(label_of(face))
        font = ImageFont.load_default(max(11.0, min(max(size, 8 * unit), 16 * unit)))
        left, top, right, bottom = canvas.textbbox((0, 0), label_of(face), font=font)
        pad = 3 * unit
        height, width = bottom - top + 2 * pad, right - left + 2 * pad
        # Above the box if there is room, else inside it.
        y = y1 - height if y1 >= height else y1
        x = max(0, min(x1, image.width - width))
        canvas.rectangle((x, y, x + width, y + height), fill=color)
        canvas.text((x + pad - left, y + pad - top), label_of(face), font=font, fill=_INK)
    return image
