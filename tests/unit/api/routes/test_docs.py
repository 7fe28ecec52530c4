from __future__ import annotations

from pathlib import Path

import fastapi_offline
import pytest

from serving.api.routes import docs
from tests.support.api import Api, detail_of

THEIRS = Path(fastapi_offline.__file__).parent / "static"
OURS = Path(docs.__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    "file",
    [THEIRS / "swagger-ui-bundle.js", THEIRS / "swagger-ui.css", OURS / "start.js"],
    ids=lambda file: file.name,
)
def test_its_parts_come_from_the_service(file: Path) -> None:
    answer = Api().get(f"/docs/{file.name}")
    assert answer.status_code == 200
    assert answer.content == file.read_bytes()


def test_it_shows_the_description_and_keeps_no_key() -> None:
    script = Api().get("/docs/start.js").text
    assert "url: 'openapi.json'" in script
    assert "persistAuthorization: false" in script
    assert "validatorUrl: null" in script


def test_nothing_else_is_served() -> None:
    api = Api()
    for path in ("/docs/", "/docs/index.html", "/docs/oauth2-redirect", "/docs/redoc.js", "/redoc"):
        detail_of(api.get(path), 404)


def test_it_can_be_turned_off() -> None:
    api = Api(docs=False)
    for path in ("/docs", "/docs/swagger-ui.css"):
        detail_of(api.get(path), 404)
    assert api.get("/openapi.json").status_code == 200
