"""A second model in Triton that takes faces for attacks, beside SFace and YuNet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from PIL import Image

from serving.cli import cli
from serving.model.repository import REPOSITORY
from serving.stack import triton
from serving.stack.config import StackSettings
from serving.stack.run import running
from tests.support import spoof_model
from tests.support.images import DATA, encode

PORT = 17800
JPEG = {"Content-Type": "image/jpeg"}
GREY = (128, 128, 128)
OVERRIDES = {"detect": {"model": "yunet"}, "liveness": {"model": spoof_model.NAME}}


@dataclass(frozen=True)
class Photos:
    """A face of a known person.

    Attributes:
        print: as an attack shows it: a print, before a wall that the model knows.
        portrait: the same pixels before another wall.
    """

    print: bytes
    portrait: bytes


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackSettings]:
    folder = tmp_path_factory.mktemp("liveness")
    models = folder / "models"
    models.mkdir()
    (models / "sface").symlink_to(REPOSITORY / "sface")
    (folder / "backends").symlink_to(REPOSITORY.parent / "backends")
    spoof_model.write(models)
    settings = StackSettings(folder / "run", PORT, "sface", models, OVERRIDES)
    with running(settings):
        yield settings


@pytest.fixture(scope="module")
def api(settings: StackSettings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=settings.url, timeout=60) as client:
        files = [("images", path.read_bytes()) for path in sorted((DATA / "2576").iterdir())[:5]]
        answer = client.post("/generate", data={"id": "2576"}, files=files)
        assert answer.status_code == 200, answer.text
        yield client


@pytest.fixture(scope="module")
def photos(api: httpx.Client) -> Photos:
    photo = Image.open(DATA / "id_is_2576.jpg").convert("RGB")
    answer = api.post("/detect", content=encode(photo, "JPEG", quality=95), headers=JPEG)
    left, top, right, bottom = answer.json()["faces"][0]["box"]
    width, height = right - left, bottom - top
    head = photo.crop(
        (
            int(left - width / 3),
            int(top - height / 3),
            int(right + width / 3),
            int(bottom + height / 3),
        )
    )

    def before(wall: tuple[int, int, int]) -> bytes:
        whole = Image.new("RGB", (3 * head.width, 3 * head.height), wall)
        whole.paste(head, (head.width, head.height))
        return encode(whole, "JPEG", quality=95)

    return Photos(before(spoof_model.MAGENTA), before(GREY))


def test_who_is_there_is_named(api: httpx.Client, photos: Photos) -> None:
    answer = api.post("/infer", content=photos.portrait, headers=JPEG)
    (face,) = answer.json()["faces"]
    assert face["id"] == 2576
    assert face["liveness"]["live"] is True
    assert face["liveness"]["score"] > 0.9
    assert "liveness;dur=" in answer.headers["Server-Timing"]


def test_an_attack_has_no_name(api: httpx.Client, photos: Photos) -> None:
    answer = api.post("/infer?threshold=-1", content=photos.print, headers=JPEG)
    (face,) = answer.json()["faces"]
    # Not for its quality: it is the face of the test above.
    assert face["quality"]["reasons"] == []
    assert (face["id"], face["candidates"]) == (None, [])
    assert face["liveness"]["live"] is False
    assert face["liveness"]["score"] < 0.1


def test_an_attack_is_neither_the_same_person_nor_another_one(
    api: httpx.Client, photos: Photos
) -> None:
    files = {"image_a": photos.portrait, "image_b": photos.portrait}
    same = api.post("/verify", files=files).json()
    assert same["same"] is True
    attack = api.post("/verify", files={**files, "image_b": photos.print}).json()
    assert (attack["same"], attack["similarity"], attack["confidence"]) == (None, None, None)


def test_an_attack_is_not_enrolled(api: httpx.Client, photos: Photos) -> None:
    attack, portrait = ("images", photos.print), ("images", photos.portrait)
    for force in (False, True):
        answer = api.post("/generate", data={"id": "2576", "force": force}, files=[attack])
        assert answer.status_code == 422, answer.text
        assert "not-live" in answer.text
    # What stands beside it is.
    answer = api.post("/generate", data={"id": "2576"}, files=[attack, portrait])
    assert [image["gate"] for image in answer.json()["images"]] == ["not-live", None]


def test_the_command_counts_what_gets_through(
    api: httpx.Client, settings: StackSettings, photos: Photos, tmp_path: Path
) -> None:
    for path, photo in (
        ("bona-fide/2576/portrait.jpg", photos.portrait),
        ("attacks/print/wall/magenta.jpg", photos.print),
        ("attacks/print/wall/grey.jpg", photos.portrait),
        ("attacks/screen/magenta.jpg", photos.print),
    ):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(photo)
    command = ["evaluate-liveness", str(tmp_path), "--url", settings.url]
    done = CliRunner().invoke(cli, [*command, "--json", str(tmp_path / "report.json")])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report.json").read_text())
    apcer = {name: rates["apcer"]["value"] for name, rates in report["species"].items()}
    assert apcer == {"print": 0.5, "screen": 0.0}
    assert report["worst_species"] == "print"
    assert report["bona_fide"]["bpcer"]["value"] == 0


def test_nobody_is_named_unchecked(
    api: httpx.Client, settings: StackSettings, photos: Photos
) -> None:
    model = f"/v2/repository/models/{spoof_model.NAME}"
    with triton.client(settings.folder) as server:
        server.post(f"{model}/unload").raise_for_status()
        try:
            answer = api.post("/infer", content=photos.portrait, headers=JPEG)
            assert (answer.status_code, answer.json()["type"]) == (
                503,
                "urn:faces:problem:unavailable",
            )
            ready = api.get("/readyz")
            assert ready.status_code == 503
            assert spoof_model.NAME in ready.text
            # Detection names nobody.
            assert api.post("/detect", content=photos.portrait, headers=JPEG).status_code == 200
        finally:
            server.post(f"{model}/load", timeout=60).raise_for_status()
    (face,) = api.post("/infer", content=photos.portrait, headers=JPEG).json()["faces"]
    assert face["id"] == 2576
