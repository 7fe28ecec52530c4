"""The configuration of an operator's command."""

from __future__ import annotations

from serving.operations.config import Config
from serving.settings import AppArgs, GallerySettings

KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


def test_another_collection_keeps_the_rest() -> None:
    config = Config(AppArgs(gallery=GallerySettings(bucket="people")), KEYS)
    assert config.of_collection(None) is config
    staff = config.of_collection("staff")
    assert (staff.args.gallery.bucket, staff.args.gallery.collection) == ("people", "staff")
    assert staff.credentials == KEYS
    assert config.args.gallery.collection == "default"


def test_keys_are_not_printed() -> None:
    assert "SECRET" not in repr(Config(AppArgs(), KEYS))
