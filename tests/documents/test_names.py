"""Names of the code exist: every `serving.…` in back-ticks, and every path below serving/.

In docstrings, comments, documents, the chart and the notebook. Read by syntax, since importing
everything would take Ray and torch.
"""

from __future__ import annotations

import ast
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = {".py", ".md", ".yaml", ".yml", ".tpl", ".txt", ".json", ".toml", ".sh", ".ipynb", ""}
MADE = {"1", "weights", "__pycache__", "facenet_serving.egg-info"}
# Generated, or of other projects; and this file, which has names that do not exist.
SKIPPED = (
    "requirements.lock",
    "serving/locks/",
    "tests/chart/golden/",
    "tests/documents/test_names",
)

_NAME = re.compile(r"`(serving(?:\.\w+)+)(?:\(\))?`")
_PATH = re.compile(r"(?<![\w./-])(?:\.\./)*(serving/[\w./-]*[\w/])")
# Of Kubernetes, which has a group of the same name: serving.kserve.io.
_GROUPS = ("serving.kserve", "serving.knative")
# The logger of requests, which is an interface of its own.
_LOGGERS = {"serving.access"}


def texts() -> Iterator[tuple[str, str]]:
    """Path and text of the files of this repository."""
    for folder, folders, names in os.walk(ROOT):
        # What is installed, fetched or made lies in hidden folders, and beside the models' cards.
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in MADE)
        for file in (Path(folder, name) for name in sorted(names)):
            path = str(file.relative_to(ROOT))
            if file.suffix in KINDS and not path.startswith(SKIPPED):
                yield path, file.read_text(errors="replace")


def where_it_lies(module: str) -> Path | None:
    """The file of a module or package, by its full name."""
    path = ROOT.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


@functools.cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something that a module defines or imports."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        if file := where_it_lies(".".join(parts[:size])):
            return size == len(parts) or has(file, parts[size:])
    return False


def has(file: Path, names: list[str]) -> bool:
    """Whether the names, each inside of the one before, are defined in a file."""
    body: list[ast.stmt] = tree(file).body
    for n, name in enumerate(names):
        node = next((each for each in statements(body) if name in defines(each)), None)
        if node is None:
            return False
        if isinstance(node, ast.ImportFrom) and node.module:
            alias = next(a for a in node.names if (a.asname or a.name) == name)
            return exists(".".join([node.module, alias.name, *names[n + 1 :]]))
        body = node.body if isinstance(node, ast.ClassDef) else []
    return True


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a body, and those below its ``if`` and ``try``."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from statements([*node.body, *node.orelse])


def defines(node: ast.stmt) -> set[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {node.name}
        case ast.Assign():
            names = (each for target in node.targets for each in ast.walk(target))
            return {each.id for each in names if isinstance(each, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case ast.ImportFrom():
            return {alias.asname or alias.name for alias in node.names}
    return set()


def test_every_name_in_back_ticks_exists() -> None:
    wrong = {
        f"{file}: `{name}`"
        for file, text in texts()
        for name in _NAME.findall(text)
        if not name.startswith(_GROUPS) and name not in _LOGGERS and not exists(name)
    }
    assert sorted(wrong) == []


def test_every_path_exists() -> None:
    wrong = {
        f"{file}: {path}"
        for file, text in texts()
        for path in _PATH.findall(text)
        if not (ROOT / path).exists()
    }
    assert sorted(wrong) == []


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("serving.settings.AppArgs", True),
        ("serving.settings.AppArgs.limits", True),
        ("serving.gallery.Gallery.commit", True),  # by way of the package's own import
        ("serving.stack.run", True),
        ("serving.__version__", True),
        ("serving.nowhere", False),
        ("serving.settings.Nothing", False),
        ("serving.settings.AppArgs.nothing", False),
    ],
)
def test_a_name_is_looked_up(name: str, there: bool) -> None:
    assert exists(name) is there
