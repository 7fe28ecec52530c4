"""An operator's work on the bucket that a configuration names."""

from __future__ import annotations

import dataclasses

import pytest

from serving.errors import InvalidInput
from serving.gallery.check import check
from serving.gallery.location import Location
from serving.operations.bucket import Bucket
from serving.operations.config import Config
from serving.settings import AppArgs, GallerySettings
from tests.support.memory_store import MemoryStore
from tests.support.operations import OneBucket
from tests.support.people import DIMENSION, MODEL, put


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(MemoryStore(), GallerySettings(), "facenet-test")


def write(bucket: Bucket, collection: str, *models: str) -> None:
    for model in models:
        bucket.gallery(Location(collection, model, DIMENSION)).commit([put(1)])


def test_there_is_none(bucket: Bucket) -> None:
    write(bucket, "staff", MODEL)
    with pytest.raises(InvalidInput, match="'faces' holds no gallery of default and any model"):
        bucket.one(None)
    assert bucket.galleries("staff", "facenet-x@1") == []
    assert "no gallery of staff and facenet-x@1" in bucket.none("staff", "facenet-x@1")


def test_the_only_one(bucket: Bucket) -> None:
    write(bucket, "default", "facenet-other@ffffffffffff")
    assert bucket.one(None).model == "facenet-other@ffffffffffff"


def test_of_several_the_one_that_is_configured_or_asked_for(bucket: Bucket) -> None:
    other = "facenet-other@ffffffffffff"
    write(bucket, "default", MODEL, other)
    assert bucket.one(None).model == MODEL
    assert bucket.one(other).model == other
    assert check(bucket.stored(bucket.one(other))).embeddings == 1


@pytest.mark.parametrize("suffix", ["-openvino", "-fp16"])
def test_the_configured_one_is_the_same_whatever_runs_it(bucket: Bucket, suffix: str) -> None:
    write(bucket, "default", MODEL, "facenet-other@ffffffffffff")
    same = dataclasses.replace(bucket, served=f"{bucket.served}{suffix}")
    assert same.one(None).model == MODEL


def test_of_several_that_might_be_meant_none_is_guessed(bucket: Bucket) -> None:
    write(bucket, "default", "facenet-test@111111111111", "facenet-test@222222222222")
    with pytest.raises(InvalidInput, match=r"--model: .*1@?.*, .*222222222222"):
        bucket.one(None)


def test_it_is_opened_with_the_keys_of_the_configuration() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    opened = OneBucket(MemoryStore())
    bucket = Bucket.of(Config(AppArgs(), keys), "staff", connect=opened)
    assert (opened.settings.collection, opened.credentials) == ("staff", keys)
    assert (bucket.settings, bucket.served) == (opened.settings, AppArgs().triton.model)
