"""Hostile and odd input through HTTP: a clear 4xx or a right answer, never a 5xx."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support import images

BOX = np.array([222, 153, 502, 529])  # of the face in images.PORTRAIT


def portrait() -> Image.Image:
    return Image.open(images.PORTRAIT).convert("RGB")


def post(api: httpx.Client, photo: bytes) -> httpx.Response:
    return api.post("/infer", content=photo, headers={"content-type": "image/jpeg"})


def boxes_in(api: httpx.Client, photo: bytes) -> list[Any]:
    answer = post(api, photo)
    assert answer.status_code == 200, answer.text
    return [face["box"] for face in answer.json()["faces"]]


def animated() -> bytes:
    frames = [portrait().convert("P"), Image.new("P", portrait().size)]
    return images.encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


def transparent(mode: str) -> bytes:
    image = portrait().convert("RGBA")
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, image.width, 40))
    image.putalpha(alpha)
    if mode == "LA":
        return images.encode(image.convert("LA"), "PNG")
    if mode == "P":
        return images.encode(image.quantize(255), "PNG")
    return images.encode(image, "PNG")


def sixteen_bit() -> bytes:
    grey = np.asarray(portrait().convert("L"), np.uint16)
    return images.deep_png(grey * np.uint16(257))


FORMATS: dict[str, Callable[[], bytes]] = {
    "png rgba": lambda: transparent("RGBA"),
    "png la": lambda: transparent("LA"),
    "png palette": lambda: transparent("P"),
    "cmyk jpeg": lambda: images.encode(portrait().convert("CMYK"), "JPEG"),
    "16-bit png": sixteen_bit,
    "animated gif": animated,
    "webp": lambda: images.encode(portrait(), "WEBP"),
    "tiff": lambda: images.encode(portrait(), "TIFF"),
    "bmp": lambda: images.encode(portrait(), "BMP"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_face_is_found_in_every_format(api: httpx.Client, name: str) -> None:
    (box,) = boxes_in(api, FORMATS[name]())
    assert box == pytest.approx(BOX, abs=25)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_those_of_the_upright_photo(api: httpx.Client, orientation: int) -> None:
    (box,) = boxes_in(api, images.turned(portrait(), orientation))
    assert box == pytest.approx(BOX, abs=12)


def test_a_one_bit_image(api: httpx.Client) -> None:
    assert boxes_in(api, images.encode(portrait().convert("1"), "PNG")) is not None


def test_a_hundred_megapixel_jpeg_has_its_boxes_at_full_size(api: httpx.Client) -> None:
    scale = 12
    large = portrait().resize((722 * scale, 12_000))
    assert large.width * large.height > 100_000_000
    (box,) = boxes_in(api, images.encode(large, "JPEG", quality=60))
    factors = np.array([scale, 12_000 / 899] * 2)
    assert box == pytest.approx(BOX * factors, abs=12 * scale)


def test_sixty_faces_are_more_than_a_batch(api: httpx.Client) -> None:
    face = portrait().crop((100, 50, 640, 650)).resize((160, 178))
    wall = Image.new("RGB", (10 * 160, 6 * 178))
    for n in range(60):
        wall.paste(face, (n % 10 * 160, n // 10 * 178))
    assert len(boxes_in(api, images.encode(wall, "JPEG", quality=92))) == 60


@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_a_tight_crop_of_a_face_is_a_face(api: httpx.Client, margin: float) -> None:
    side = (BOX[2:] - BOX[:2]) * margin
    crop = portrait().crop(tuple(np.concatenate([BOX[:2] - side, BOX[2:] + side]).astype(int)))
    boxes = boxes_in(api, images.encode(crop, "JPEG"))
    assert len(boxes) == 1


@pytest.mark.parametrize("size", [(1, 1), (2000, 8), (8, 2000), (300, 300)])
def test_an_image_without_a_face_has_no_faces(api: httpx.Client, size: tuple[int, int]) -> None:
    assert boxes_in(api, images.encode(Image.new("RGB", size, "teal"), "PNG")) == []


PHOTO = images.PORTRAIT.read_bytes()
REFUSED = {
    "empty": (b"", 415),
    "text": (b"hello, I am no image", 415),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
    "truncated": (PHOTO[: len(PHOTO) // 3], 415),
    "bomb": (images.png_header(40_000, 40_000), 413),
    "zeros": (bytes(100_000), 415),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_photo_is_refused(api: httpx.Client, name: str) -> None:
    photo, status = REFUSED[name]
    problem(post(api, photo), status)


def test_a_body_that_is_too_long_is_refused(api: httpx.Client) -> None:
    problem(post(api, bytes(21 * 2**20)), 413)
    problem(post(api, bytes(65 * 2**20)), 413)


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:faces:problem:")
    assert body["request_id"]
    assert "Traceback" not in answer.text
    # No path of the service's: a slash is that of a media type.
    assert "/" not in re.sub(r"\b(image|application|multipart|text)/", "", body["detail"])
    return str(body["detail"])


GOOD = base64.b64encode(PHOTO).decode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"image"',
        b"{}",
        b'{"image": 7}',
        b'{"image": "***"}',
        b'{"image": "QUJDQ"}',
        b'{"image": "data:image/png,QUJD"}',
        b'{"image": "QUJD", "top_k": 0}',
        b'{"image": "QUJD", "threshold": 2}',
        b'{"image": "QUJD", "treshold": 0.5}',
        b"\xff\xfe\x00",
        b'{"image": ' + b"[" * 100_000,
    ],
)
def test_wrong_json_is_refused(api: httpx.Client, body: bytes) -> None:
    answer = api.post("/infer", content=body, headers={"content-type": "application/json"})
    problem(answer, 400)


@pytest.mark.parametrize(
    "change",
    [
        {"id": -1},
        {"id": "seven"},
        {"id": "7"},
        {"id": 7.5},
        {"id": True},
        {"id": None},
        {"id": 2**63},
        {"id": 10**400},
        {"images": []},
        {"images": None},
        {"images": ["abc"]},
        {"images": [{"image": "***"}]},
        {"name": ""},
        {"name": "x" * 201},
        {"mode": "upsert"},
    ],
    ids=lambda change: str(change)[:30],
)
def test_a_wrong_enrolment_is_refused(api: httpx.Client, change: dict[str, Any]) -> None:
    body = {"id": 7, "images": [{"image": GOOD}], **change}
    problem(api.post("/generate", json=body), 400)


def test_the_largest_id_is_taken(api: httpx.Client) -> None:
    answer = api.post("/generate", json={"id": 2**63 - 1, "images": [{"image": GOOD}]})
    assert answer.status_code == 200
    assert answer.json()["id"] == 2**63 - 1
    assert api.delete(f"/identities/{2**63 - 1}").status_code == 200


def test_too_many_photos_are_refused(api: httpx.Client) -> None:
    images_ = [{"image": "QUJD"}] * 101
    problem(api.post("/generate", json={"id": 7, "images": images_}), 413)


def test_the_wrong_content_type_is_refused_with_the_right_ones(api: httpx.Client) -> None:
    answer = api.post("/infer", content=PHOTO, headers={"content-type": "text/plain"})
    detail = problem(answer, 415)
    assert "text/plain" in detail
    assert "image/jpeg" in detail


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/infer", 405),
        ("POST", "/nowhere", 404),
        ("POST", "/collections/shop%2Finfer", 404),
        ("POST", "/v1/models/face-identification:predict", 404),
    ],
)
def test_what_does_not_exist(api: httpx.Client, method: str, path: str, status: int) -> None:
    problem(api.request(method, path), status)


def test_a_photo_saved_from_nothing_but_noise(api: httpx.Client, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "JPEG")
    assert boxes_in(api, out.getvalue()) == []
