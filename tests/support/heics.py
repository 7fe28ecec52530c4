"""HEIC files made for tests, of the pictures in heic/: as an iPhone lays them out, or lying."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).resolve().parent / "heic"
TILE = 64  # pixels a side


def sample(name: str) -> bytes:
    return (FOLDER / f"{name}.heic").read_bytes()


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def full(kind: bytes, *content: bytes, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", flags), *content)


@dataclass(frozen=True)
class Tile:
    """A coded picture of 64 x 64 pixels: its configuration and its frame."""

    config: bytes
    frame: bytes

    @staticmethod
    def of(data: bytes) -> Tile:
        at = data.index(b"hvcC") - 4
        config = data[at : at + int.from_bytes(data[at : at + 4], "big")]
        place = data.index(b"iloc") + 4 + 8  # behind the sizes and the count
        base, _, offset, length = struct.unpack_from(">IHII", data, place + 4)
        start = base + offset
        return Tile(config, data[start : start + length])


def iphone(
    columns: int = 2,
    rows: int = 2,
    *,
    size: tuple[int, int] | None = None,
    turns: int = 0,
    tile: Tile | None = None,
    told: int = TILE,
    exif_orientation: int = 6,
) -> bytes:
    """A grid of tiles with ``turns`` quarter turns to the left, EXIF and a thumbnail.

    ``size``: of the grid; ``told``: the side that each tile says it has.
    """
    tile = tile or Tile.of(sample("turned_1"))
    width, height = size or (columns * TILE, rows * TILE)
    count = columns * rows
    grid, exif, thumb = count + 1, count + 2, count + 3
    exif_data = Image.Exif()
    exif_data[0x0112] = exif_orientation
    exif_block = struct.pack(">I", 6) + b"Exif\0\0" + exif_data.tobytes()[6:]
    grid_block = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)

    kinds = [(n, b"hvc1", 1) for n in range(1, count + 1)]
    kinds += [(grid, b"grid", 0), (exif, b"Exif", 1), (thumb, b"hvc1", 1)]
    items = [
        full(b"infe", struct.pack(">HH4sB", n, 0, k, 0), flags=2 << 24 | f) for n, k, f in kinds
    ]
    properties = box(
        b"ipco",
        tile.config,
        full(b"ispe", struct.pack(">II", told, told)),
        full(b"ispe", struct.pack(">II", width, height)),
        box(b"irot", bytes([turns])),
    )
    uses = [(n, b"\x81\x02") for n in range(1, count + 1)] + [
        (grid, b"\x03\x84"),
        (thumb, b"\x81\x02"),
    ]
    associations = b"".join(struct.pack(">HB", n, len(p)) + p for n, p in uses)
    parts = struct.pack(f">HH{count}H", grid, count, *range(1, count + 1))
    references = full(
        b"iref",
        box(b"dimg", parts),
        box(b"cdsc", struct.pack(">HHH", exif, 1, grid)),
        box(b"thmb", struct.pack(">HHH", thumb, 1, grid)),
    )

    def meta(start: int) -> bytes:
        frame = (start, len(tile.frame))
        behind = start + len(tile.frame)
        places = dict.fromkeys((*range(1, count + 1), thumb), frame)
        places |= {grid: (behind, len(grid_block))}
        places |= {exif: (behind + len(grid_block), len(exif_block))}
        entries = b"".join(struct.pack(">HHHII", n, 0, 1, *places[n]) for n in sorted(places))
        return full(
            b"meta",
            full(b"hdlr", struct.pack(">I4s13s", 0, b"pict", b"")),
            full(b"pitm", struct.pack(">H", grid)),
            full(b"iloc", b"\x44\0", struct.pack(">H", len(places)), entries),
            full(b"iinf", struct.pack(">H", len(items)), *items),
            box(b"iprp", properties, full(b"ipma", struct.pack(">I", len(uses)), associations)),
            references,
        )

    head = box(b"ftyp", b"heic", bytes(4), b"mif1", b"MiHE", b"heic")
    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", tile.frame, grid_block, exif_block)


def avif(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "AVIF", **options)
    return out.getvalue()
