"""Photos in every form that callers have them in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving.client import ClientError
from serving.client.photos import File, Photo, file_of, files_of
from serving.settings import DecodeSettings
from serving.vision.decode import decode
from tests.support import images


def seen(file: File) -> Any:
    """The pixels that the service sees."""
    return decode(file.data, DecodeSettings()).pixels


def close(file: File, *expected: tuple[int, int, int]) -> None:
    np.testing.assert_allclose(images.corners(seen(file)), expected, atol=6)


COLOURS = (images.RED, images.GREEN, images.BLUE, images.GREY)


def test_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    path.write_bytes(b"any bytes")
    expected = File("a.webp", b"any bytes", "image/webp")
    assert file_of(path) == file_of(str(path)) == expected


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "\udcff.jpg"
    path.write_bytes(b"photo")
    file_of(path).name.encode()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_bytes_are_sent_as_they_are(kind: Any) -> None:
    assert file_of(kind(b"any bytes")).data == b"any bytes"


def test_an_open_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    with open(tmp_path / "a.jpg", "rb") as opened:
        assert file_of(opened).data == b"photo"


def test_base64_is_no_path() -> None:
    with pytest.raises(ClientError, match="A text of 9000 characters is no path of a file"):
        file_of("/9j/4AAQS" * 1000)


def test_a_file_that_is_open_for_text(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0")  # no UTF-8
    with open(tmp_path / "b.jpg") as opened, pytest.raises(TypeError, match="'rb'"):
        file_of(opened)  # type: ignore[arg-type]
    with open(tmp_path / "a.jpg") as opened, pytest.raises(TypeError, match="'rb'"):
        file_of(opened)  # type: ignore[arg-type]


def test_an_array_becomes_a_jpeg_that_looks_the_same(portrait: Any) -> None:
    file = file_of(portrait)
    assert (file.name, file.kind) == ("photo.jpeg", "image/jpeg")
    pixels = seen(file)
    assert pixels.shape == portrait.shape
    assert np.abs(pixels.astype(int) - portrait).mean() < 1.5


def test_an_array_that_is_a_view(portrait: Any) -> None:
    mirrored = portrait[::2, ::-2]
    assert seen(file_of(mirrored)).shape == mirrored.shape


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_photo(array: Any) -> None:
    with pytest.raises(ValueError, match=r"uint8 RGB \(H, W, 3\), not "):
        file_of(array)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "YCbCr", "HSV", "RGBa", "RGBX"])
def test_an_image_of_any_colours_becomes_a_jpeg(mode: str) -> None:
    image = images.quadrants()
    image = image.convert("RGBA").convert("RGBa") if mode == "RGBa" else image.convert(mode)
    file = file_of(image)
    assert file.kind == "image/jpeg"
    close(file, *COLOURS)


def test_what_is_transparent_becomes_what_the_service_makes_of_it() -> None:
    image = images.quadrants().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 32, 24))
    file = file_of(image)
    assert file.kind == "image/png"
    white = (255, 255, 255)
    assert images.corners(seen(file)) == [white, *COLOURS[1:]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I", "I;16", "F"])
def test_other_images(mode: str) -> None:
    image = Image.new(mode, (8, 8))
    assert seen(file_of(image)).shape == (8, 8, 3)


@pytest.mark.parametrize(("mode", "most"), [("I", 255), ("I", 65_535), ("I;16", 65_535)])
def test_an_image_of_numbers_is_as_bright_as_what_they_hold(mode: str, most: int) -> None:
    image = Image.new(mode, (8, 8), most)
    image.paste(0, (0, 0, 4, 8))
    pixels = seen(file_of(image))
    assert pixels[:, :4].max() == 0
    assert pixels[:, 4:].min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_sent_upright(orientation: int) -> None:
    file = images.turned(images.quadrants(), orientation)
    with Image.open(io.BytesIO(file)) as image:
        close(file_of(image), *COLOURS)


def test_an_image_is_left_as_it_was() -> None:
    with Image.open(io.BytesIO(images.turned(images.quadrants(), 6))) as image:
        file_of(image)
        assert image.getexif()[0x0112] == 6


def test_an_image_whose_file_is_damaged() -> None:
    data = images.PORTRAIT.read_bytes()[:5000]
    with (
        Image.open(io.BytesIO(data)) as image,
        pytest.raises(ClientError, match="cannot be encoded"),
    ):
        file_of(image)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"\0"])
def test_an_image_with_a_damaged_exif_block(exif: bytes) -> None:
    image = images.quadrants()
    image.info["exif"] = exif
    close(file_of(image), *COLOURS)


def test_an_image_that_is_too_wide_for_a_jpeg() -> None:
    with pytest.raises(ClientError, match="cannot be encoded"):
        file_of(np.zeros((1, 65_501, 3), np.uint8))


@pytest.mark.parametrize("nothing", [None, 7, [b"photo"], {"image": b"photo"}])
def test_what_is_no_photo(nothing: Any) -> None:
    with pytest.raises(TypeError, match="A photo is a path"):
        file_of(nothing)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_that_is_none(path: str) -> None:
    with pytest.raises(ClientError, match="cannot be read"):
        file_of(path)


def test_several_photos_and_a_single_one() -> None:
    one = np.zeros((8, 8, 3), np.uint8)
    assert len(files_of(one)) == len(files_of(b"photo")) == len(files_of(io.BytesIO(b"a"))) == 1
    several: list[Photo] = [one, b"photo"]
    assert len(files_of(iter(several))) == 2
    assert files_of([]) == []
    with pytest.raises(TypeError, match="not NoneType"):
        files_of(None)  # type: ignore[arg-type]


def test_a_file_without_an_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.client.photos._MOST_BYTES", 1000)
    with pytest.raises(ClientError, match="/dev/zero is no photo: it has more than 1,000 bytes"):
        file_of("/dev/zero")
