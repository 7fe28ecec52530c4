from __future__ import annotations

from serving.gallery.check import check
from serving.gallery.erasure import erase
from serving.gallery.store import StoredObject
from tests.support.people import (
    MANIFEST,
    MODEL,
    put,
)
from tests.unit.gallery.bucket import Bucket, merge


def test_a_sound_gallery_has_no_problems(bucket: Bucket) -> None:
    bucket.write(put(1, 3), put(2), merge(1, 2))
    report = check(bucket.stored())
    assert (report.problems, report.orphans) == ([], [])
    assert (report.version, report.segments, report.operations, report.embeddings) == (3, 3, 3, 4)


def test_what_is_swept_while_it_is_checked_is_no_problem(bucket: Bucket) -> None:
    bucket.write(put(1), put(2))
    bucket.meanwhile(3, "get", lambda: erase(bucket.stored(), [2]))  # the second segment
    assert check(bucket.stored()).problems == []


def test_every_kind_of_damage_is_named(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(4)))
    keys = [
        f"galleries/default/{MODEL}/segments/{s.name}.safetensors"
        for s in bucket.manifest().segments
    ]
    objects = bucket.store.objects
    del objects[keys[0]]
    objects[keys[1]] = StoredObject(b"x" + objects[keys[1]].data[1:], '"x"')
    bucket.store.put(f"galleries/default/{MODEL}/segments/{'a' * 32}.safetensors", b"left")
    manifest = bucket.manifest()
    wrong = manifest.segments[3].model_copy(update={"first": 2, "operations": 9})
    broken = manifest.model_copy(update={"segments": (*manifest.segments[:3], wrong)})
    objects[MANIFEST] = StoredObject(broken.to_bytes(), '"y"')
    report = check(bucket.stored())
    text = "\n".join(report.problems)
    assert len(report.problems) == 4
    assert f"{keys[0]} is missing" in text
    assert f"{keys[1]} is damaged" in text
    assert "cover the same versions" in text
    assert f"other counts than the object {keys[3]}" in text
    assert report.orphans == ["a" * 32]
