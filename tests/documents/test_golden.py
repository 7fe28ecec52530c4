"""/openapi.json and the help of every command are what was committed."""

from __future__ import annotations

import difflib

import pytest

from tests.documents.golden import FOLDER, documents


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return documents()


@pytest.mark.parametrize("name", ["openapi.json", "openapi-keys.json", "help.txt"])
def test_a_document_is_the_committed_one(written: dict[str, str], name: str) -> None:
    committed = (FOLDER / name).read_text()
    difference = difflib.unified_diff(
        committed.splitlines(), written[name].splitlines(), "committed", "written", lineterm=""
    )
    if shown := "\n".join(difference):
        pytest.fail(f"look at the difference, then run `make golden`:\n{shown}", pytrace=False)


def test_nothing_is_left_over(written: dict[str, str]) -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(written)
