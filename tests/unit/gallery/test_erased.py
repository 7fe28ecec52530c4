"""What the manifest remembers of the erased."""

from __future__ import annotations

from dataclasses import replace

from serving.gallery.erased import remembering
from serving.gallery.erasure import erase
from serving.gallery.limits import DEFAULT_LIMITS
from tests.support.people import MANIFEST, put
from tests.unit.gallery.bucket import Bucket


def test_the_manifest_remembers_the_erased_for_a_while(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(9)))
    erase(bucket.stored(), [7, 8])
    bucket.now += 86_400
    erase(bucket.stored(), [6])
    erased = bucket.manifest().erased
    assert erased is not None
    assert erased.among(range(9)) == {6, 7, 8}
    assert b'"7"' not in bucket.store.objects[MANIFEST].data
    few = replace(DEFAULT_LIMITS, remembered_erased=2)
    assert remembering(erased, [5], 12, bucket.now, few).among(range(9)) == {5, 6}
    later = remembering(erased, [5], 12, bucket.now + few.erased_life_s, DEFAULT_LIMITS)
    assert later.among(range(9)) == {5, 6}


def test_another_salt_makes_other_hashes() -> None:
    one, other = (remembering(None, [7], 1, 1.0, DEFAULT_LIMITS) for _ in range(2))
    assert one.among([7, 8]) == other.among([7, 8]) == {7}
    assert one.hash_of(7) != other.hash_of(7)
    assert one.among([7], but=one) == set()
    assert one.among([7], but=other) == {7}
