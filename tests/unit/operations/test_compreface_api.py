"""The client of CompreFace's API: addresses, keys, and answers that are none."""

from __future__ import annotations

import pytest

from serving.errors import InvalidInput, Unavailable
from serving.operations.compreface_api import CompreFaceApi, Refused
from tests.support.compreface_source import KEY, serving
from tests.support.service import NO_ANSWER, fake_service


def api(url: str, key: str = KEY) -> CompreFaceApi:
    return CompreFaceApi(url, key, "CompreFace", timeout_s=5, sleep=lambda seconds: None)


@pytest.mark.parametrize("url", ["", "host:8000", "ftp://host", "http://u:p@host", "http://h?x"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidInput):
        api(url)


def test_pages_are_followed_and_pictures_read() -> None:
    with serving({"Ada": [b"a", None], "Eve": [b"b"] * 600}) as source, api(source.url) as there:
        assert there.subjects() == ["Ada", "Eve"]
        examples = list(there.examples())
        assert len({example.image for example in examples}) == 602
        assert there.picture(examples[0].image) == b"a"
        assert there.picture(examples[1].image) is None


def test_a_wrong_key_is_told() -> None:
    with (
        serving({}) as source,
        api(source.url, "wrong") as there,
        pytest.raises(InvalidInput, match="api key"),
    ):
        there.subjects()


@pytest.mark.parametrize(
    "body",
    [b"<html>", [], {"subjects": "Ada"}, {"faces": [{}], "total_pages": 1}, {"faces": []}],
)
def test_what_does_not_answer_as_compreface(body: object) -> None:
    with fake_service() as service, api(service.url) as there:
        service.body = body
        for ask in (there.subjects, lambda: list(there.examples())):
            with pytest.raises(InvalidInput, match="does not answer as CompreFace"):
                ask()


def test_a_photo_is_not_sent_again_where_it_may_be_enrolled() -> None:
    with fake_service() as service, api(service.url) as there:
        service.answers = [(NO_ANSWER, b"")]
        with pytest.raises(Unavailable):
            there.add("Ada", b"photo")
        service.answers = [(503, {"message": "not confirmed", "code": 41})]
        with pytest.raises(Unavailable):
            there.add("Ada", b"photo")
        assert len(service.asked) == 2
        service.answers = [
            (429, {"message": "wait", "code": 0}),
            (409, {"message": "others were faster", "code": 0}, {"Retry-After": "1"}),
            (503, {"message": "busy", "code": 41}, {"Retry-After": "1"}),
            (201, {"image_id": "0-1", "subject": "Ada"}),
        ]
        assert there.add("Ada", b"photo") == "0-1"
        service.answers = [(400, {"message": "No face", "code": 28})]
        with pytest.raises(Refused, match="No face") as refused:
            there.add("Ada", b"photo")
        assert refused.value.code == 28
        service.answers = [(403, {}), (200, {})]
        assert [there.remove("0-1"), there.remove("0-1")] == [False, True]


def test_who_is_asked_to_wait_waits_as_long() -> None:
    slept: list[float] = []
    with fake_service() as service:
        there = CompreFaceApi(service.url, KEY, "It", timeout_s=5, sleep=slept.append)
        service.answers = [(429, {}, {"Retry-After": "40"})] * 4 + [(200, {"subjects": []})]
        with there:
            assert there.subjects() == []
        assert slept == [40] * 4


def test_what_stays_a_lost_race_is_no_refusal() -> None:
    with fake_service() as service, api(service.url) as there:
        service.answers = [(409, {"message": "faster"}, {"Retry-After": "1"})] * 5
        with pytest.raises(Unavailable, match="faster"):
            there.add("Ada", b"photo")


def test_a_key_out_of_a_file_has_a_line_end() -> None:
    with serving({}) as source, api(f"{source.url}\n", f"{KEY}\n") as there:
        assert there.subjects() == []
    for key in ("se\ncret", "schlüssel"):
        with pytest.raises(InvalidInput, match="characters that no key has") as refused:
            api("http://localhost", key)
        assert key not in str(refused.value)
