"""Photos, forms and JSON that users of such services report, sent to the real one.

The files are no part of the project, and not everybody has them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.cli import cli
from tests.support.images import DATA

FILES = DATA.parents[1] / "shared" / "findings" / "inputs"
PERSON = 900_400
FORM = "multipart/form-data; boundary=FORM"

pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason=f"{FILES} is not there")

# What is answered: boxes of faces, or the status and words of the sentence.
Answer = list[tuple[int, ...]] | tuple[int, str]


def each(cases: dict[str, Answer]) -> dict[str, Answer]:
    """An answer for each file of a text with several."""
    return {file: answer for files, answer in cases.items() for file in files.split()}


# Of the face in the photos of 160 and of 80 pixels.
MIDDLE, SMALL = (46, 39, 108, 119), (18, 18, 58, 69)
DETECT = each(
    {
        """
        f6_png_good.png f6_png_ztxt_1.8mb.png f6_png_itxt_1.8mb.png f6_png_iccp_1.8mb.png
        f6_png_bad_crc_text.png f6_png_bad_crc_time.png
        f7_bmp_alpha_0.bmp f7_bmp_alpha_255.bmp f7_bmp_no_alpha.bmp
        f7_tiff_grey16.tif f7_tiff_grey16_white_is_zero.tif f7_tiff_grey8_white_is_zero.tif
        f7_tiff_grey12.tif f7_tiff_rgb16.tif f7_tiff_rgb16_planes.tif f7_tiff_rgb8_planes.tif
        f7_tiff_uint32.tif f7_tiff_float_255.tif f7_tiff_float_65535.tif
        d5_tiff_thumbnail_first.tif
        """: [SMALL],
        """
        f6_jpeg_good.jpg f6_jpeg_grey_good.jpg f6_jpeg_no_eoi.jpg f6_jpeg_half_eoi.jpg
        d1_webp_2nd_frame_cut.webp d3_exif_short.jpg d3_exif_byte.jpg d3_exif_ascii.jpg
        f9_form_no_filename.bin f9_form_filename_star.bin d8_form_preamble.bin h1_form_text.bin
        """: [MIDDLE],
        "f3_closeup.jpg": [(0, 0, 480, 658)],
        "f3_closeup_and_small.jpg": [(0, 0, 480, 658), (416, 29, 447, 69)],
        "f6_tiff_float_rgb.tif": [(9, 9, 29, 34)],
        "d2_jpeg_cmyk_no_marker.jpg d5_gif_blank_first.gif d6_gif_screen_7000.gif": [],
        "d13_drawn_face.png": [(60, 40, 340, 360)],
        "f6_png_damaged.png": (415, "damaged"),
        "f6_jpeg_12bit.jpg": (415, "12 bits"),
        "f9_bmp_width_minus_64.bmp": (415, "-64"),
        "d1_jpeg_last_row_cut.jpg": (415, "last rows are missing"),
        "d4_heic.heic": (415, "HEIC"),
        "f9_form_no_end.bin": (400, "no end"),
        "f9_form_image_brackets.bin": (400, "image[]"),
        "f2_form_option_twice.bin": (400, "max_faces"),
        "f2_form_unknown_option.bin": (400, "max_face"),
    }
)
INFER = each(
    {
        "f13_threshold_true.json": (400, "threshold"),
        "f13_top_k_text.json": (400, "top_k"),
        "f13_base64_8_plus_lost.json": (400, "a + was lost"),
        """
        f13_base64_in_lines.json d7_base64url.json d7_base64_no_padding.json
        d7_data_url_capitals.json d8_json_bom.json
        """: [MIDDLE],
    }
)
GENERATE = each(
    {
        "f1_form_whole.bin f1_form_blank_behind_end.bin": (200, ""),
        """
        f1_form_cut_before_end.bin f1_form_cut_in_last_field.bin f1_form_two_photos_cut.bin
        """: (400, "no end"),
        "f1_form_ends_twice.bin": (400, "follows"),
        "f1_form_bare_lf_before_last_part.bin": (400, "damaged"),
        "f2_form_id_twice.bin": (400, "id is given twice"),
        "f10_form_name_cp1251.bin": (400, "name is not UTF-8"),
        "f10_form_name_cp1251_said.bin": (400, "windows-1251"),
    }
)
PATCH = each(
    {
        """
        f10_name_blanks.json f10_name_zero_width.json f10_name_right_to_left_override.json
        """: (400, "name"),
        "f10_metadata_3612_bytes.json f10_metadata_2012_bytes.json": (200, ""),
    }
)


def sent(api: httpx.Client, path: str, file: str, method: str = "POST") -> httpx.Response:
    kinds = {".bin": FORM, ".json": "application/json"}
    kind = kinds.get(Path(file).suffix, "application/octet-stream")
    content = (FILES / file).read_bytes()
    return api.request(method, path, content=content, headers={"content-type": kind})


def wrong(answer: httpx.Response, expected: Answer) -> str | None:
    """What is not as expected."""
    told = answer.json()
    if isinstance(expected, tuple):
        status, words = expected
        fits = answer.status_code == status and (status == 200 or words in told["detail"])
        return None if fits else f"{answer.status_code} {told}"
    boxes = [face["box"] for face in told.get("faces", [])]
    fits = answer.status_code == 200 and len(boxes) == len(expected)
    if fits and all(overlap(a, b) > 0.6 for a, b in zip(boxes, expected, strict=True)):
        return None
    return f"{answer.status_code} {told.get('detail', boxes)}"


def overlap(a: Any, b: Any) -> float:
    """Intersection over union."""
    width, height = (max(0, min(a[n + 2], b[n + 2]) - max(a[n], b[n])) for n in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(width * height / (sum(areas) - width * height))


@pytest.mark.parametrize(
    ("path", "cases"), [("/detect", DETECT), ("/infer", INFER)], ids=["detect", "infer"]
)
def test_photos_are_read_or_refused_with_the_reason(
    api: httpx.Client, path: str, cases: dict[str, Answer]
) -> None:
    found = {file: wrong(sent(api, path, file), expected) for file, expected in cases.items()}
    assert {file: what for file, what in found.items() if what} == {}


def test_forms_that_are_not_whole_change_nothing(api: httpx.Client) -> None:
    photos = [("images", ("a.jpg", (FILES / "f6_jpeg_good.jpg").read_bytes()))] * 3
    enrolled = api.post("/generate", data={"id": str(PERSON)}, files=photos)
    assert enrolled.raise_for_status().json()["photos"] == 3
    version = enrolled.json()["gallery_version"]
    for file, expected in GENERATE.items():
        answer = sent(api, "/generate", file)
        assert wrong(answer, expected) is None, (file, answer.text)
        version += answer.is_success
        assert api.get("/identities").json()["gallery_version"] == version, file
    assert api.get(f"/identities/{PERSON}").json()["photos"] == 5

    for file, patched in PATCH.items():
        answer = sent(api, f"/identities/{PERSON}", file, "PATCH")
        assert wrong(answer, patched) is None, (file, answer.text)
    note = json.loads((FILES / "f10_metadata_2012_bytes.json").read_text())["metadata"]
    person = api.get(f"/identities/{PERSON}").json()
    assert (person["name"], person["metadata"]) == (None, note)


def test_a_body_that_is_compressed_is_named(api: httpx.Client) -> None:
    for file, kind in (("f9_face.jpg.gz", "image/jpeg"), ("f9_face.json.gz", "application/json")):
        headers = {"content-type": kind, "content-encoding": "gzip"}
        answer = api.post("/infer", content=(FILES / file).read_bytes(), headers=headers)
        assert wrong(answer, (415, "Content-Encoding")) is None, answer.text


def test_the_charset_of_a_form_is_named(api: httpx.Client) -> None:
    for charset in ("undefined", "punycode"):
        headers = {"content-type": f"{FORM}; charset={charset}"}
        body = (FILES / "h1_form_text.bin").read_bytes()
        answer = api.post("/detect", content=body, headers=headers)
        assert wrong(answer, (400, charset)) is None, answer.text


def test_folders_are_enrolled_as_people(
    api: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    api.delete("/identities", params={"confirm": "all"}).raise_for_status()
    cli(["enroll", str(FILES / "f11_enrol"), "--url", str(api.base_url)], standalone_mode=False)
    told = capsys.readouterr().out
    assert "2 of 2 people are enrolled." in told
    assert "1 in sub-folders (8/deeper)" in told
    people = api.get("/identities").json()["identities"]
    assert [(person["id"], person["photos"]) for person in people] == [(7, 2), (8, 2)]


def same(api: httpx.Client, a: str, b: str) -> Any:
    files = {"image_a": (FILES / a).read_bytes(), "image_b": (FILES / b).read_bytes()}
    return api.post("/verify", files=files).raise_for_status().json()


def test_upright_strangers_are_told_apart(api: httpx.Client) -> None:
    told = same(api, "f4_upright_101.jpg", "f4_upright_102.jpg")
    assert told["same"] is False
    assert told["similarity"] == pytest.approx(0.12, abs=0.05)
    blurred = (FILES / "f5_blur_101.jpg").read_bytes()
    answer = api.post("/generate", data={"id": "1"}, files={"images": blurred})
    assert answer.status_code == 422
    assert answer.json()["images"][0]["gate"] == "too-blurred"


def test_strangers_of_whom_little_is_seen_are_neither_the_same_nor_different(
    api: httpx.Client,
) -> None:
    for kind, gates in (("mosaic", {"pixelated", "uninformative"}), ("blur", {"uninformative"})):
        told = same(api, f"f5_{kind}_101.jpg", f"f5_{kind}_102.jpg")
        assert (told["same"], told["similarity"], told["confidence"]) == (None, None, None)
        for image in ("image_a", "image_b"):
            quality = told[image]["quality"]
            assert quality["sufficient"] is False
            assert gates <= {reason["gate"] for reason in quality["reasons"]}


def test_a_mosaic_is_neither_enrolled_nor_named(api: httpx.Client) -> None:
    """Also if it was: by force, and as another such face."""
    one, other = ((FILES / f"f5_mosaic_{n}.jpg").read_bytes() for n in (101, 102))
    refused = api.post("/generate", data={"id": "900401"}, files={"images": one})
    assert refused.status_code == 422
    assert refused.json()["images"][0]["gate"] == "pixelated"
    forced = api.post("/generate", data={"id": "900401", "force": "true"}, files={"images": one})
    assert forced.status_code == 200, forced.text
    for options in ({}, {"threshold": "-1"}):
        told = api.post("/infer", files={"image": other}, data=options).raise_for_status().json()
        (face,) = told["faces"]
        assert (face["id"], face["candidates"]) == (None, [])
        assert face["quality"]["sufficient"] is False
    api.delete("/identities/900401").raise_for_status()


def test_people_who_stand_upside_down_are_told_apart_and_known_again(api: httpx.Client) -> None:
    told = same(api, "f4_turned_180_101.jpg", "f4_turned_180_102.jpg")
    assert told["same"] is False
    assert told["similarity"] == pytest.approx(0.12, abs=0.1)
    assert [told[image]["turn"] for image in ("image_a", "image_b")] == [180, 180]
    for person in ("101", "102"):
        own = same(api, f"f4_upright_{person}.jpg", f"f4_turned_180_{person}.jpg")
        assert own["same"] is True
        assert (own["image_a"]["turn"], own["image_b"]["turn"]) == (0, 180)
