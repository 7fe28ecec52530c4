"""Every page that the service serves, whichever route it is of."""

from __future__ import annotations

import re

import pytest
from starlette.routing import Route

from serving.api.build import ROUTERS
from serving.api.routes import console, docs
from tests.support.api import Api


def html_paths(api: Api) -> set[str]:
    """The paths that answer a browser with HTML; parameters are left out, since pages have none."""
    routers = (*ROUTERS, console.router, docs.router)
    routes = [*api.app.routes, *(route for router in routers for route in router.routes)]
    paths = {
        route.path
        for route in routes
        if isinstance(route, Route) and "GET" in (route.methods or ()) and "{" not in route.path
    }
    browser = {"Accept": "text/html"}
    return {p for p in paths if "html" in api.get(p, headers=browser).headers["content-type"]}


@pytest.fixture(scope="module")
def api() -> Api:
    return Api()


def test_these_are_the_pages(api: Api) -> None:
    assert html_paths(api) == {"/", "/docs"}


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_may_load_nothing_of_others_and_run_nothing_inline(api: Api, path: str) -> None:
    page = api.get(path)
    parts = re.findall(r"(?:src|href)=\"([^\"#]+)\"", page.text)
    local = [p for p in parts if not p.startswith("data:")]
    answers = [page, *(api.get(f"/{part}") for part in local if part != "docs")]
    assert len(answers) > 2
    for answer in answers:
        assert answer.status_code == 200, answer.url
        if answer.headers["content-type"] == "application/json":
            continue
        policy = answer.headers["content-security-policy"]
        directives = dict(part.split(" ", 1) for part in policy.split("; "))
        assert directives["default-src"] == "'none'"
        for kind in ("script-src", "style-src", "connect-src"):
            assert directives[kind] == "'self'"
        for kind in ("frame-ancestors", "form-action", "base-uri"):
            assert directives[kind] == "'none'"
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_names_no_other_host(api: Api, path: str) -> None:
    text = api.get(path).text
    assert "//" not in text
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", text)
