"""The commands in the documents: code blocks that a reader would paste into a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.chart.helm import ROOT

# Document -> the headings of its part about Kubernetes; None: all of it.
DOCUMENTS: dict[str, str | None] = {
    "README.md": "## Kubernetes",
    "k8s/README.md": None,
    "k8s/SCALING.md": None,
    "k8s/UPGRADES.md": None,
    "k8s/RUNBOOK.md": None,
}
_COMMAND = re.compile(
    r"^\s*(\w+=\$?\(?)?\"?(kubectl|helm|make|faces|curl|docker|aws|k8s/\S+\.sh) ", re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """The indented lines of a document between two lines that are not indented.

    Attributes:
        text: without the indentation.
    """

    document: str
    text: str

    @property
    def name(self) -> str:
        """The document, and the first line as far as it tells the block from the others."""
        return f"{self.document}: {self.text.splitlines()[0]}"


def commands() -> list[Block]:
    """The blocks that hold commands, in the order of the documents."""
    return [block for name in DOCUMENTS for block in _blocks(name) if _COMMAND.search(block.text)]


def block(start: str) -> Block:
    """The one whose name begins so."""
    (found,) = [block for block in commands() if block.name.startswith(start)]
    return found


def shell(text: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run it as a reader would, in the checkout and with `faces`, for so long at most.

    What it starts in the background ends with it.
    """
    end = "trap 'jobs -p | xargs -r kill' EXIT"
    return subprocess.run(
        ["timeout", str(seconds), "bash", "-euc", f"{end}\n{text}"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def _blocks(document: str) -> Iterator[Block]:
    lines: list[str] = []
    for line in [*_part(document), "end"]:
        if line.startswith("    ") or (lines and not line):
            lines.append(line)
        elif lines:
            yield Block(document, textwrap.dedent("\n".join(lines)).rstrip())
            lines = []


def _part(document: str) -> list[str]:
    lines = (ROOT / document).read_text().splitlines()
    if heading := DOCUMENTS[document]:
        lines = lines[lines.index(heading) + 1 :]
        after = [number for number, line in enumerate(lines) if line.startswith("## ")]
        lines = lines[: after[0]]
    return lines
