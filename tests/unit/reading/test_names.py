"""Names: text of any script, and nothing that misleads who reads it."""

from __future__ import annotations

import pytest

from serving.reading.names import name_problem
from tests.support.names import INVISIBLE, SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS.values(), ids=list(SCRIPTS))
def test_any_script_is_taken(name: str) -> None:
    assert name_problem(name) is None
    assert name_problem(f"  {name} ") is None


@pytest.mark.parametrize("name", INVISIBLE.values(), ids=list(INVISIBLE))
def test_a_name_is_seen(name: str) -> None:
    assert name_problem(name) == "A name needs a character that can be seen."


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029])
def test_no_control_characters(code: int) -> None:
    assert name_problem(f"A{chr(code)}b") == "A name has no control characters."
    assert name_problem(f"é{chr(code)}") == "A name has no control characters."


@pytest.mark.parametrize(
    "code", [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
def test_no_bidirectional_controls(code: int) -> None:
    assert "direction of the text" in str(name_problem(f"Ada{chr(code)}txt"))


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert "surrogate" in str(name_problem("Ada\ud800"))


def test_lengths_are_counted_in_characters() -> None:
    assert name_problem("") == "A name has 1 to 200 characters."
    assert name_problem("王" * 200) is None
    assert name_problem("王" * 201) == "A name has 1 to 200 characters."


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_is_no_step_in_a_path(name: str) -> None:
    """DELETE of /subjects/. reaches a server as one of /subjects, which removes everybody."""
    assert name_problem(name) == f"A name is not {name}, which has another meaning in a path."
    assert name_problem(f"{name}a") is None
    assert name_problem("...") is None
