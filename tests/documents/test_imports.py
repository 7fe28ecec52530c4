"""The folders of tests/ stand for themselves: what two of them need lies in tests/support."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
SHARED = "support"


@functools.cache
def imported(file: Path) -> tuple[str, ...]:
    """Full names of the modules that a file imports, inside functions too."""
    return tuple(_imported(file))


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: write the whole name of what is imported"
            yield node.module
            # `from tests import service` names the folder only here.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder_of(module: str) -> str:
    """The folder of tests/ that a module lies in, or an empty string."""
    parts = module.split(".")
    return parts[1] if parts[0] == "tests" and len(parts) > 1 else ""


def test_no_folder_of_tests_imports_from_another() -> None:
    across = {
        f"{file.relative_to(ROOT)} imports {module}"
        for file in TESTS.rglob("*.py")
        for module in imported(file)
        if folder_of(module) not in {"", SHARED, file.relative_to(TESTS).parts[0]}
    }
    assert sorted(across) == []


def test_no_test_file_imports_another() -> None:
    """A test that moves or goes takes nothing with it that others need."""
    among = {
        f"{file.relative_to(ROOT)} imports {module}"
        for file in TESTS.rglob("*.py")
        for module in imported(file)
        if module.startswith("tests.")
        and (TESTS.parent / Path(*module.split("."))).with_suffix(".py").is_file()
        and module.rpartition(".")[2].startswith("test_")
    }
    assert sorted(among) == []


def test_the_package_imports_no_test() -> None:
    for folder in ("serving", "triton", "helm", "data"):
        for file in (ROOT / folder).rglob("*.py"):
            assert [m for m in imported(file) if m.split(".")[0] == "tests"] == [], file
