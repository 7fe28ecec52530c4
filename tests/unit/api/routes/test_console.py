from __future__ import annotations

import re
from pathlib import Path

import pytest

from serving.api.routes import console
from serving.keys import hash_of
from serving.settings import KeySettings
from serving.valid_keys import Keys
from tests.support.api import Api, detail_of

FOLDER = Path(console.__file__).parents[1] / "console"
FILES = sorted(FOLDER.iterdir())
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def path_of(file: Path) -> str:
    return "/" if file.name == "index.html" else f"/console/{file.name}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_every_file_is_served_as_what_it_is(file: Path) -> None:
    answer = Api().get(path_of(file))
    assert answer.status_code == 200
    assert answer.content == file.read_bytes()
    assert answer.headers["content-type"] == TYPES[file.suffix]


def test_nothing_else_is_served() -> None:
    api = Api()
    for path in ("/console", "/console/", "/console/index.html", "/console/..%2fpage.py"):
        detail_of(api.get(path), 404)
    assert api.post("/").status_code == 405


@pytest.mark.parametrize("path", ["/", "/console/app.js"])
def test_what_is_there_already_is_not_sent_again(path: str) -> None:
    api = Api()
    first = api.get(path)
    assert first.headers["cache-control"] == "no-cache"
    for tags in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
        again = api.get(path, headers={"If-None-Match": tags})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert api.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    assert api.request("HEAD", path).headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("path", ["/", "/console/app.js", "/console/icon.svg"])
def test_the_page_may_load_nothing_of_others_and_run_nothing_inline(path: str) -> None:
    headers = Api().get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_nobody_needs_a_key_for_it() -> None:
    text = f"keys: [{{name: k, hash: '{hash_of('k')}', scopes: [admin]}}]"
    api = Api(keys=Keys(KeySettings(required=True), {"FACES_KEYS": text}.get))
    assert {api.get(path_of(file)).status_code for file in FILES} == {200}
    assert api.post("/").status_code == 401
    assert api.get("/console/a/b").status_code == 401


def test_it_can_be_turned_off() -> None:
    api = Api(console=False)
    for path in ("/", "/console/app.js"):
        detail_of(api.get(path), 404)


def test_it_is_no_part_of_the_api() -> None:
    paths = Api().get("/openapi.json").json()["paths"]
    assert not {"/", "/console/{name}"} & paths.keys()


def test_it_is_small() -> None:
    assert sum(len(file.read_bytes()) for file in FILES) < 200_000


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_it_names_no_other_host_and_makes_no_markup_of_text(file: Path) -> None:
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")
    assert "//" not in re.sub(r"^\s*//.*$|(?<=\s)// .*$", "", text, flags=re.MULTILINE)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    if file.suffix == ".html":
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", text)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_what_it_loads_is_there(file: Path) -> None:
    names = {f.name for f in FILES}
    text = file.read_text()
    assert set(re.findall(r"from '\./([^']+)'", text)) <= names
    assert set(re.findall(r'"console/([^"]+)"', text)) <= names


def test_the_audit_has_words_for_what_is_recorded() -> None:
    serving = Path(console.__file__).parents[2]
    recorded = {
        action
        for file in serving.rglob("*.py")
        for action in re.findall(
            r"""(?:change\(request, |audit\.changed\(|_record\(request, )"([a-z-]+)\"""",
            file.read_text(),
        )
    }
    assert {"enrol", "remove", "identify", "import"} <= recorded
    kinds = re.search(r"const KINDS = \{(.*?)\};", (FOLDER / "audit.js").read_text(), re.DOTALL)
    assert kinds is not None
    assert recorded <= set(re.findall(r"'?([a-z-]+)'?: '", kinds[1]))
