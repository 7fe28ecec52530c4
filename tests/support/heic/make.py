"""Write the HEIC files of this folder: tests read them, and nothing that is installed writes HEIC.

    pip install --target /tmp/heic pillow-heif==1.8.1
    PYTHONPATH=/tmp/heic:. python tests/support/heic/make.py

All but two show `quadrants`. The wheel of pillow-heif holds x265 (GPL), so it is no dependency of
the project.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.support.images import DATA, RED, quadrants, turned_back

HERE = Path(__file__).resolve().parent


def main() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    image = quadrants()
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = turned_back(image, orientation)
        stored.save(HERE / f"turned_{orientation}.heic", exif=exif.tobytes(), quality=90)
    half = image.convert("RGBA")
    half.putalpha(128)
    half.save(HERE / "half_transparent.heic", quality=90)
    image.convert("L").save(HERE / "grey.heic", quality=90)
    flat = Image.new("RGB", (4096, 4096), RED)
    flat.save(HERE / "flat_4096.heic", quality=10)  # 4 kB that make 17 million pixels
    two_faces().save(HERE / "two_faces.heic", quality=60)
    deep = pillow_heif.from_bytes(
        mode="RGB;16", size=image.size, data=b"".join(bytes([v, v]) for v in image.tobytes())
    )
    deep.save(HERE / "10_bits.heic", quality=90)


def two_faces() -> Image.Image:
    """Eileen Collins, and to the right of her, smaller, Barack Obama."""
    both = Image.new("RGB", (360, 220), "teal")
    people = (
        ("104/collins.jpg", (120, 10, 340, 230), 220),
        ("102/obama.jpg", (40, 20, 640, 620), 130),
    )
    for n, (path, cut, side) in enumerate(people):
        with Image.open(DATA / "people" / path) as photo:
            both.paste(photo.convert("RGB").resize((side, side), box=cut), (n * 225, 0))
    return both


if __name__ == "__main__":
    main()
