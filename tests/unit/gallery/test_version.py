from __future__ import annotations

import json
import pickle

from serving.gallery.version import Version


def test_it_is_a_number_wherever_only_that_counts() -> None:
    version = Version(17, "ab")
    assert version == 17
    assert (json.dumps(version), f"{version}", f"{version:03d}") == ("17", "17", "017")
    assert Version.of(17).commit is None
    assert Version.of(version) is version


def test_it_keeps_its_commit_on_the_way_to_another_process() -> None:
    received = pickle.loads(pickle.dumps(Version(17, "ab")))
    assert (received, received.commit) == (17, "ab")
