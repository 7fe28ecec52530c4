"""Dockerfiles and .dockerignore read as far as the tests need them, without Docker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        return self.rest.split()


def instructions(dockerfile: Path) -> list[Instruction]:
    """In order, with continued lines joined and comments left out."""
    text = "\n".join(
        line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")
    )
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [Instruction(*line.strip().split(maxsplit=1)) for line in lines if line.strip()]


def arguments(dockerfile: Path) -> dict[str, str]:
    """The defaults of its build arguments."""
    # One without a default takes over that of an ARG before the first stage.
    words = [i.rest for i in instructions(dockerfile) if i.name == "ARG" and "=" in i.rest]
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def expanded(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)


def bases(dockerfile: Path) -> list[str]:
    """The images that its stages start from, other stages left out."""
    froms = [i.words for i in instructions(dockerfile) if i.name == "FROM"]
    stages = {words[-1] for words in froms if "AS" in words}
    images = (expanded(words[0], arguments(dockerfile)) for words in froms)
    return [image for image in images if image not in stages]


def copied(dockerfile: Path) -> list[str]:
    """What it copies out of its build context: paths relative to it."""
    sources = []
    for instruction in instructions(dockerfile):
        words = instruction.words
        if instruction.name != "COPY" or any(word.startswith("--from=") for word in words):
            continue
        paths = [word for word in words if not word.startswith("--")]
        sources += [expanded(path, arguments(dockerfile)).rstrip("/") for path in paths[:-1]]
    return sources


@dataclass(frozen=True)
class Ignore:
    """A .dockerignore: the last pattern that matches a path or a folder above it decides."""

    patterns: tuple[tuple[re.Pattern[str], bool], ...]

    @classmethod
    def read(cls, path: Path) -> Ignore:
        lines = [line.strip() for line in path.read_text().splitlines()]
        wanted = [line for line in lines if line and not line.startswith("#")]
        return cls(tuple((_pattern(line.lstrip("!")), not line.startswith("!")) for line in wanted))

    def ignores(self, path: str) -> bool:
        ignored = False
        for pattern, ignore in self.patterns:
            if pattern.match(path):
                ignored = ignore
        return ignored

    def files(self, context: Path, source: str) -> Iterator[Path]:
        """The files below a source that the builder gets."""
        root = context / source
        found = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
        return (p for p in found if not self.ignores(p.relative_to(context).as_posix()))


def _pattern(glob: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob.strip("/"))
    return re.compile("".join(parts.get(p, re.escape(p)) for p in pieces) + "(?:/.*)?$")
