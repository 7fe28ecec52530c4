"""Encoded slashes in the address of a request."""

from __future__ import annotations

import pytest

from tests.support.api import Api
from tests.support.images import PORTRAIT

JPEG = {"Content-Type": "image/jpeg"}


@pytest.mark.parametrize(
    "path",
    [
        "/collections/shop%2Finfer",
        "/collections%2fshop/infer",
        "/collections%2Fshop%2Finfer",
        "/%2Finfer",
        "/infer%2F",
    ],
)
def test_nothing_is_served_under_a_path_with_an_encoded_slash(path: str) -> None:
    api = Api()
    answer = api.post(path, content=PORTRAIT.read_bytes(), headers=JPEG)
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:faces:problem:not-found"
    assert api.pipeline.collections == []


def test_one_before_the_name_of_a_subject_is_none_of_it() -> None:
    with_subjects, path = Api(compreface=True), "/api/v1/recognition/subjects/O%2Fo"
    assert with_subjects.request("DELETE", f"/collections%2Fshop{path}").status_code == 404
    assert Api().request("DELETE", path).status_code == 404


def test_other_characters_may_be_encoded() -> None:
    api = Api()
    answer = api.post("/%69nfer", content=PORTRAIT.read_bytes(), headers=JPEG)
    assert answer.status_code == 200
