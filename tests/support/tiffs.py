"""TIFF files of every kind of sample, made for tests; each function returns one file's bytes."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
_RAW, _DEFLATE = 1, 8
_TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 11: "f", 12: "d"}


@dataclass(frozen=True)
class Kind:
    """How the samples lie in a file. ``order`` is < or >, ``tile`` the side of its tiles or 0."""

    bits: int = 8
    format: int = UNSIGNED
    white_is_zero: bool = False
    planes: bool = False
    order: Literal["<", ">"] = "<"
    tile: int = 0
    deflate: bool = False
    predictor: bool = False
    alpha: int = 0  # of the last sample: 0 none, 1 multiplied in, 2 apart

    def __str__(self) -> str:
        words = [f"{'uif'[self.format - 1]}{self.bits}", "le" if self.order == "<" else "be"]
        words += ["white-is-zero"] * self.white_is_zero + ["planes"] * self.planes
        words += [f"tiles-{self.tile}"] * bool(self.tile) + ["deflate"] * self.deflate
        words += ["predictor"] * self.predictor + [f"alpha-{self.alpha}"] * bool(self.alpha)
        return "-".join(words)


def tiff(
    picture: NDArray[np.uint8], kind: Kind, more: dict[int, tuple[int, list[Any]]] | None = None
) -> bytes:
    """A file that shows ``picture``, (H, W, S) of 0 to 255: grey or RGB, with alpha or not.

    ``more``: further tags, {tag: (type, values)}.
    """
    height, width, samples = picture.shape
    values = picture / 255.0
    if kind.white_is_zero:
        values = 1 - values
    stored = _stored(values, kind)
    layers = [stored[..., [n]] for n in range(samples)] if kind.planes else [stored]
    pieces = [_packed(piece, kind) for layer in layers for piece in _pieces(layer, kind)]
    if kind.deflate:
        pieces = [zlib.compress(piece) for piece in pieces]
    colours = samples - bool(kind.alpha)
    photometric = 2 if colours == 3 else 0 if kind.white_is_zero else 1
    tags: dict[int, tuple[int, list[Any]]] = {
        256: (3, [width]),
        257: (3, [height]),
        258: (3, [kind.bits] * samples),
        259: (3, [_DEFLATE if kind.deflate else _RAW]),
        262: (3, [photometric]),
        277: (3, [samples]),
        284: (3, [2 if kind.planes else 1]),
        339: (3, [kind.format] * samples),
    }
    if kind.predictor:
        tags[317] = (3, [3 if kind.format == FLOAT else 2])
    if kind.alpha:
        tags[338] = (3, [kind.alpha])
    sizes = [len(piece) for piece in pieces]
    if kind.tile:
        tags |= {322: (3, [kind.tile]), 323: (3, [kind.tile]), 325: (4, sizes)}
    else:
        tags |= {278: (3, [_rows_of_strip(height)]), 279: (4, sizes)}
    return assembled(tags | (more or {}), pieces, kind.order, 324 if kind.tile else 273)


def assembled(
    tags: dict[int, tuple[int, list[Any]]], pieces: list[bytes], order: str = "<", at: int = 273
) -> bytes:
    """One page: {tag: (type, values)}, and strips or tiles, whose offsets go into tag ``at``."""
    offsets = [8 + sum(len(piece) for piece in pieces[:n]) for n in range(len(pieces))]
    tags = tags | {at: (4, offsets)}
    body = b"".join(pieces)
    body += bytes(len(body) % 2)
    start = 8 + len(body)
    behind = start + 2 + 12 * len(tags) + 4
    entries, extra = struct.pack(order + "H", len(tags)), b""
    for tag, (type_, values) in sorted(tags.items()):
        letter = _TYPES[type_]
        raw = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(raw) > 4:
            entries += struct.pack(order + "HHII", tag, type_, len(values), behind + len(extra))
            extra += raw + bytes(len(raw) % 2)
        else:
            entries += struct.pack(order + "HHI", tag, type_, len(values)) + raw.ljust(4, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "HI", 42, start)
    return head + body + entries + bytes(4) + extra


def _rows_of_strip(height: int) -> int:
    return height // 3 + 1  # three strips, the last of them shorter


def _stored(values: NDArray[Any], kind: Kind) -> NDArray[Any]:
    if kind.format == FLOAT:
        return values.astype(f"f{kind.bits // 8}")
    top = 2**kind.bits - 1
    if kind.bits > 52:  # more than a float64 holds
        whole = np.rint(values * 255).astype(np.uint64) * np.uint64(top // 255)
    else:
        whole = np.rint(values * top).astype(np.uint64)
    if kind.format == SIGNED:
        whole = (whole + np.uint64(2 ** (kind.bits - 1))) & np.uint64(top)
    return np.asarray(whole)


def _pieces(layer: NDArray[Any], kind: Kind) -> list[NDArray[Any]]:
    height, width, _ = layer.shape
    if not kind.tile:
        step = _rows_of_strip(height)
        return [layer[y : y + step] for y in range(0, height, step)]
    padded = np.pad(
        layer, ((0, -height % kind.tile), (0, -width % kind.tile), (0, 0)), mode="constant"
    )
    places = [(y, x) for y in range(0, height, kind.tile) for x in range(0, width, kind.tile)]
    return [padded[y : y + kind.tile, x : x + kind.tile] for y, x in places]


def _packed(piece: NDArray[Any], kind: Kind) -> bytes:
    rows, width, samples = piece.shape
    if kind.format == FLOAT:
        if kind.predictor:
            big = piece.astype(piece.dtype.newbyteorder(">")).reshape(rows, width * samples)
            of_bytes = big.view(np.uint8).reshape(rows, width * samples, -1)
            split = of_bytes.transpose(0, 2, 1).reshape(rows, -1)
            before = np.pad(split, ((0, 0), (samples, 0)))[:, : split.shape[1]]
            return bytes((split - before).tobytes())
        return piece.astype(piece.dtype.newbyteorder(kind.order)).tobytes()
    whole = piece.astype(np.uint64)
    if kind.predictor:
        before = np.pad(whole, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        whole = (whole - before) & np.uint64(2**kind.bits - 1)
    if kind.bits in (16, 32, 64):
        return whole.astype(f"{kind.order}u{kind.bits // 8}").tobytes()
    places = np.arange(kind.bits - 1, -1, -1, dtype=np.uint64)
    if kind.bits == 24 and kind.order == "<":
        places = np.concatenate([places[16:], places[8:16], places[:8]])
    bits = (whole[..., None] >> places) & np.uint64(1)
    return np.packbits(bits.astype(np.uint8).reshape(rows, -1), axis=1).tobytes()
