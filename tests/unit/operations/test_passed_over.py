"""The sentence on files that are no photos, of a few or of a million."""

from __future__ import annotations

from serving.operations.passed_over import PassedOver


def test_nothing_is_no_sentence() -> None:
    assert PassedOver().sentence() is None
    assert PassedOver().total == 0


def test_kinds_and_places() -> None:
    passed_over = PassedOver()
    for name in ("a.txt", "B.TXT", "README"):
        passed_over.add(name)
    for place in ("z", "b", "c", "a", "a"):
        passed_over.add_deeper(place)
    assert passed_over.total == 8
    assert passed_over.sentence() == (
        "8 files were passed over: 2 .txt, 1 without a suffix, 5 in sub-folders (a, b, c, …)."
    )


def test_a_million_suffixes_are_not_remembered() -> None:
    passed_over = PassedOver()
    for number in range(1000):
        passed_over.add(f"log.{number}")
        passed_over.add_deeper(f"{number}")
    assert passed_over.total == 2000
    assert "950 of other kinds" in str(passed_over.sentence())
    assert len(str(passed_over.sentence())) < 700
